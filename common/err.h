/*
 * err: what went wrong, once, in words that name the thing.
 *
 * A function that can fail returns an err_code and takes a struct err last. On success it leaves the struct alone. On
 * failure it fills it where the fault was seen, and that is one line:
 *
 *     if (status == 404)
 *             return ERR(e, ERR_NOT_FOUND, "no manifest for %s", reference);
 *
 * Whoever passes it up may put context before the text with err_wrap; whoever decides what to do about it logs it,
 * once. Texts are lower case, have no full stop, and hold the object and the value.
 *
 * The caller owns the struct; it holds no pointers and may be copied. A NULL struct err is allowed: the code alone is
 * then returned.
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include "common/base.h"

#include <errno.h>

enum err_code {
	ERR_OK = 0,
#define ERROR(name, wire, text, retry, http, exit) name = (wire),
#include "common/errors.def"
#undef ERROR
};

enum err_retry {
	ERR_RETRY_NEVER,
	ERR_RETRY_LATER,
	ERR_RETRY_FRESH,
};

struct err {
	enum err_code code;
	int sys;           /* errno at the fault, 0 if none */
	unsigned retry_ms; /* when LATER: not before this many milliseconds; 0 is "the caller's own back-off" */
	const char *file;  /* static text; "peer" for an error that came by message */
	int line;
	char text[512]; /* always terminated; longer texts are cut */
};

/* Passes a failure on: `TRY(step(..., e));` in a function that returns err_code. */
#define TRY(expression)                                                                                                \
	do {                                                                                                           \
		enum err_code try_code_ = (expression);                                                                \
		if (try_code_ != ERR_OK)                                                                               \
			return try_code_;                                                                              \
	} while (0)

/* ?: is never taken: it tells an analyzer, which sees one file at a time, that a failure is not ERR_OK. */
#define ERR(e, code, ...) (err_set((e), (code), 0, __FILE__, __LINE__, __VA_ARGS__) ?: ERR_INTERNAL)

/* As ERR, and adds ": <strerror(errno)>". */
#define ERR_SYS(e, code, ...) (err_set((e), (code), errno, __FILE__, __LINE__, __VA_ARGS__) ?: ERR_INTERNAL)

/* Fills *e and returns code. */
enum err_code err_set(struct err *e, enum err_code code, int sys, const char *file, int line, const char *fmt, ...)
    PRINTF(6, 7);

/* Puts "context: " before the text; the code stays, and is returned. */
enum err_code err_wrap(struct err *e, const char *fmt, ...) PRINTF(2, 3);

/* The code for an errno of a file operation: ENOSPC and EDQUOT are ERR_EXHAUSTED, ENOENT ERR_NOT_FOUND, EACCES
 * ERR_FORBIDDEN, everything else ERR_INTERNAL. */
enum err_code err_from_errno(int sys);

const char *err_name(enum err_code code);     /* "not found"; "unknown" for a number that no row has */
enum err_retry err_retry(enum err_code code); /* unknown: NEVER */
int err_http(enum err_code code);
int err_exit(enum err_code code);
bool err_from_wire(int64_t number, enum err_code *code); /* false: no such number */
bool err_from_name(const char *name, enum err_code *code);

#endif
