/* Any bytes as a files document. What reads to its end must, written again, read the same. */
#include "proto/document/files.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err_code collect(void *arg, const void *bytes, size_t len, struct err *e)
{
	(void)e;
	buf_add(arg, bytes, len);
	return ERR_OK;
}

static bool copy(const char *bytes, size_t len, struct buf *out)
{
	SCRATCH_CTX(ctx);
	struct files_memory memory = {bytes, len, 0};
	struct files_source source = files_memory_source(&memory);
	struct files_reader *reader = files_reader_new(ctx, &source);
	struct files_writer *writer = files_writer_new(ctx, collect, out);
	const struct files_entry *entry;
	struct err e;

	do {
		if (files_reader_next(reader, &entry, &e) != ERR_OK)
			return false;
		if (entry && files_writer_add(writer, entry, &e) != ERR_OK)
			return false;
	} while (entry);
	return files_writer_end(writer, &e) == ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_release) struct buf first, second;

	buf_init(&first, 64 * MIB);
	buf_init(&second, 64 * MIB);
	if (!copy((const char *)data, size, &first))
		return 0;
	ASSERT(copy(first.bytes, first.len, &second));
	ASSERT(first.len == second.len && memcmp(first.bytes, second.bytes, first.len) == 0);
	return 0;
}
