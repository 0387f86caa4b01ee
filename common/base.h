/*
 * base: the few words that every file uses.
 *
 * ASSERT is for what must be true whatever the outside does: it stays on in every build and ends the process. A peer's,
 * a file's or the environment's fault is an error (common/err.h), never an assertion.
 */
#ifndef COMMON_BASE_H
#define COMMON_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <talloc.h>

#define PRINTF(text, first) __attribute__((format(printf, text, first)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define CLEANUP(function) __attribute__((cleanup(function)))
#define UNUSED __attribute__((unused))
#define NORETURN __attribute__((noreturn))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(__FILE__, __LINE__, #condition))

/* Writes the place and the condition to stderr and aborts. */
void assert_failed(const char *file, int line, const char *condition) NORETURN;

/* a + b and a * b, or false when the result does not fit. */
static inline bool size_add(size_t a, size_t b, size_t *sum)
{
	return !__builtin_add_overflow(a, b, sum);
}

static inline bool size_mul(size_t a, size_t b, size_t *product)
{
	return !__builtin_mul_overflow(a, b, product);
}

/* Cleanup helpers for what libc hands out: `CLEANUP(fd_cleanup) int fd = -1;` and so on. */
void fd_cleanup(int *fd);
void free_cleanup(void *pointer_to_pointer);
void talloc_cleanup(void *pointer_to_context);

/* A talloc context that dies with the block it is declared in. */
#define SCRATCH_CTX(name) CLEANUP(talloc_cleanup) TALLOC_CTX *name = talloc_new(NULL)

#endif
