/* file: files that a command reads or writes. */
#ifndef CLI_FILE_H
#define CLI_FILE_H

#include "common/err.h"

#include <stdio.h>

/* A small file as text, on ctx, with a NUL behind it. ERR_INVALID if it has a NUL within, ERR_TOO_LARGE beyond max. */
enum err_code file_read(TALLOC_CTX *ctx, const char *path, size_t max, const char **text, size_t *len,
                        struct err *e) MUST_CHECK;

/*
 * Where a result goes: stdout for a NULL path; else a new file beside path that takes its place in file_commit, so that
 * a failure leaves what was there.
 */
struct file_out {
	FILE *out;
	const char *path, *temporary; /* NULL for stdout */
};

enum err_code file_open_out(TALLOC_CTX *ctx, const char *path, struct file_out *out, struct err *e) MUST_CHECK;
enum err_code file_commit(struct file_out *out, struct err *e) MUST_CHECK;
void file_discard(struct file_out *out); /* also the cleanup helper; no effect after file_commit */

/* True when nobody reads stdout any more: there is no point in going on. */
bool file_reader_is_gone(FILE *out);

#endif
