/* Any text as an image reference: what is read must print as something that reads as the same. */
#include "common/reference.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCRATCH_CTX(ctx);
	char *text = talloc_strndup(ctx, (const char *)data, size), *printed;
	struct reference first, second;
	struct err e;

	if (reference_parse(text, &first, &e) != ERR_OK)
		return 0;
	printed = reference_print(ctx, &first);
	ASSERT(reference_parse(printed, &second, &e) == ERR_OK);
	ASSERT(strcmp(printed, reference_print(ctx, &second)) == 0);
	return 0;
}
