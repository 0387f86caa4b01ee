/*
 * fault: places at which a test may have the process die.
 *
 *     FAULT_POINT("chunk-after-intent");
 *
 * In builds for tests (STOWAGE_FAULTS), the environment variable STOWAGE_FAULT=NAME[:N] makes the N-th pass (the first
 * if absent) raise SIGKILL. In release builds the macro is nothing.
 */
#ifndef COMMON_FAULT_H
#define COMMON_FAULT_H

#ifdef STOWAGE_FAULTS
#define FAULT_POINT(name) fault_point(name)
void fault_point(const char *name);
#else
#define FAULT_POINT(name) ((void)0)
#endif

#endif
