/*
 * command: what `stowage` can do, as one table of rows. The parser (args.h) and the help are read off it.
 *
 * A row's path is the words that name it ("image add"), arguments what follows them: "REF", "IMAGE...", "[NAME]".
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "common/err.h"

struct cli;
struct args;

enum option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_NUMBER,   /* within least..most */
	OPTION_DURATION, /* 250ms, 10s, 5m, 2h; a bare number is seconds */
};

struct option_spec {
	const char *name; /* without the dashes; NULL ends a list */
	enum option_kind kind;
	const char *value; /* what stands for it in the help: "FILE" */
	bool repeatable;
	const char *const *choices; /* NULL-terminated; NULL: anything */
	int64_t least, most;        /* of a number */
	const char *help;
};

struct command {
	const char *path; /* NULL ends the table */
	const char *arguments;
	const struct option_spec *options; /* may be NULL */
	enum err_code (*run)(struct cli *cli, const struct args *args, struct err *e);
	const char *help;
};

extern const struct command commands[];
extern const struct option_spec global_options[]; /* may stand anywhere on the command line */

#endif
