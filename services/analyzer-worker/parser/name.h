/*
 * name: what an entry's name in a tar means as a path of the root file system.
 */
#ifndef ANALYZER_PARSER_NAME_H
#define ANALYZER_PARSER_NAME_H

#include "proto/document/files.h"

struct name {
	char path[FILES_PATH_MAX + 1]; /* normalised, "." is the root */
	size_t len;
};

enum name_kind {
	NAME_ENTRY,
	NAME_WHITEOUT, /* the path is what is whited out */
	NAME_OPAQUE,   /* the path is the directory */
	NAME_IGNORED,  /* aufs' own files */
};

/* Takes away leading slashes, empty and "." components, and resolves "..". ERR_INVALID: the name leads out of the root,
 * is empty or too long. */
enum err_code name_normalise(const char *raw, size_t raw_len, struct name *out, struct err *e) MUST_CHECK;

/* What an entry of that name is; changes the path of a whiteout or an opaque marker into what it is about. */
enum err_code name_classify(struct name *name, enum name_kind *kind, struct err *e) MUST_CHECK;

/* The length of the path's directory: 0 for a path in the root. */
size_t name_parent_len(const char *path, size_t len);

#endif
