#include "common/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void assert_failed(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
	abort();
}

void fd_cleanup(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void free_cleanup(void *pointer_to_pointer)
{
	void **pointer = pointer_to_pointer;

	free(*pointer);
	*pointer = NULL;
}

void talloc_cleanup(void *pointer_to_context)
{
	TALLOC_CTX **ctx = pointer_to_context;

	talloc_free(*ctx);
	*ctx = NULL;
}
