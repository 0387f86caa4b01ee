/*
 * walk: a layer's sorted records, path by path: what unpacking them in the order of the tar would leave at each.
 */
#ifndef ANALYZER_PARSER_WALK_H
#define ANALYZER_PARSER_WALK_H

#include "services/analyzer-worker/parser/sorter.h"

struct walk_group {
	const char *path; /* terminated */
	size_t path_len;
	bool whiteout, opaque;
	bool found;           /* an entry survives: the record, whose strings are terminated */
	struct record record; /* its path is path */
};

struct walk_visitor {
	/* Each record before its group, those that do not survive and requests included. May be NULL. */
	enum err_code (*record)(void *arg, const struct record *record, struct err *e);
	enum err_code (*group)(void *arg, const struct walk_group *group, struct err *e);
	void *arg;
};

/* From the first record to the last. An error of the visitor ends the walk and is passed on. */
enum err_code walk(struct sorter *sorter, const struct walk_visitor *visitor, struct err *e) MUST_CHECK;

#endif
