/* file: files that a command reads or writes. */
#ifndef CLI_FILE_H
#define CLI_FILE_H

#include "common/err.h"

#include <stdio.h>

/* A small file as text, on ctx, with a NUL behind it. ERR_INVALID if it has a NUL within, ERR_TOO_LARGE beyond max. */
enum err_code file_read(TALLOC_CTX *ctx, const char *path, size_t max, const char **text, size_t *len,
                        struct err *e) MUST_CHECK;

/*
 * Where a result goes: stdout for a NULL path or "-"; else a new file beside path that takes its place in file_commit,
 * so that a failure leaves what was there. A path that leads to something else than a file (a pipe, a device) is
 * written to as it is; a link stays one, and what it leads to is replaced.
 */
struct file_out {
	FILE *out;
	const char *path;      /* NULL for stdout, and after file_commit */
	const char *temporary; /* NULL: path itself was opened */
};

enum err_code file_open_out(TALLOC_CTX *ctx, const char *path, struct file_out *out, struct err *e) MUST_CHECK;
enum err_code file_commit(struct file_out *out, struct err *e) MUST_CHECK;
void file_discard(struct file_out *out); /* also the cleanup helper; no effect after file_commit */

/* True when nobody reads stdout any more: there is no point in going on. */
bool file_reader_is_gone(FILE *out);

#endif
