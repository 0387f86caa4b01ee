/*
 * command: what `stowage` can do, as one table of rows. The parser (args.h) and the help are read off it.
 *
 * A row's path is the words that name it ("image add"), arguments what follows them: "REF", "IMAGE...", "[NAME]". What
 * a word of the arguments stands for, and how it is checked, is said once for all commands by a struct argument_spec.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "common/err.h"

struct cli;
struct args;

/* ERR_INVALID, quoting the text and saying what is expected, when it cannot be a value of its kind. */
typedef enum err_code value_check(const char *text, struct err *e);

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
	value_check *check;         /* of a text; NULL: anything */
	const char *help;
};

struct argument_spec {
	const char *word;   /* "IMAGE"; NULL ends the list */
	value_check *check; /* NULL: anything but nothing */
	const char *help;
};

struct command {
	const char *path; /* NULL ends the table */
	const char *arguments;
	const struct option_spec *options; /* may be NULL */
	enum err_code (*run)(struct cli *cli, const struct args *args, struct err *e);
	const char *help;    /* one line, in the list of commands */
	const char *details; /* paragraphs for the command's own help; may be NULL */
};

/* All that a command line is read by. */
struct vocabulary {
	const struct command *commands;
	const struct option_spec *globals; /* may stand anywhere on the command line */
	const struct argument_spec *arguments;
};

extern const struct vocabulary vocabulary;
extern const struct command commands[];
extern const struct option_spec global_options[];

#endif
