#include "common/fault.h"

#ifdef STOWAGE_FAULTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void fault_point(const char *name)
{
	static _Atomic long passes;
	const char *wanted = getenv("STOWAGE_FAULT");
	size_t len = strlen(name);
	long nth = 1;

	if (!wanted || strncmp(wanted, name, len) != 0 || (wanted[len] != '\0' && wanted[len] != ':'))
		return;
	if (wanted[len] == ':')
		nth = strtol(wanted + len + 1, NULL, 10);
	if (atomic_fetch_add(&passes, 1) + 1 == nth)
		raise(SIGKILL);
}
#else
typedef int fault_is_not_built;
#endif
