/*
 * args: a command line, taken apart by the table of commands.
 *
 *     switch (args_parse(ctx, argc, argv, &vocabulary, &args)) {
 *     case ARGS_RUN:    ... args->command->run(cli, args, e)
 *     case ARGS_HELP:   ... help_print(stdout, args->topic)
 *     case ARGS_WRONG:  ... args->wrong says what, naming the word
 *
 * Options may stand before, between and after the words; --name=value and --name value are the same; "--" ends them.
 * Every value has been checked against its row before a command sees it: asking for an option that the command's row
 * does not have is a broken invariant.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "services/cli/command.h"

enum args_outcome { ARGS_RUN, ARGS_HELP, ARGS_VERSION, ARGS_WRONG };

struct args_value {
	const struct option_spec *option;
	const char *text; /* NULL for a flag */
	int64_t number;   /* of numbers, and of durations in milliseconds */
};

struct args {
	const struct command *command; /* of ARGS_RUN; of the others where it is known */
	const char **words;            /* the arguments behind the path */
	size_t word_count;
	struct args_value *values;
	size_t value_count;
	const char *topic; /* the words of a path, as far as they were given */
	const char *wrong;
};

/* Everything hangs on ctx or is argv's. */
enum args_outcome args_parse(TALLOC_CTX *ctx, int argc, const char *const *argv, const struct vocabulary *v,
                             struct args *args);

bool args_flag(const struct args *args, const char *name);
const char *args_text(const struct args *args, const char *name); /* the last one; NULL if not given */
int64_t args_number(const struct args *args, const char *name, int64_t if_missing); /* also durations */

/* All values of a repeatable option, on ctx. */
size_t args_texts(const struct args *args, TALLOC_CTX *ctx, const char *name, const char ***texts);

/* How many arguments a row takes: *least, and *most (SIZE_MAX: any number). */
void args_count(const char *arguments, size_t *least, size_t *most);

/* The word of a row's arguments that says what its argument number i is, as in struct argument_spec: of "[NAME]" and
 * "NAME..." it is NAME. Its length; 0 when there is none. */
size_t args_word(const char *arguments, size_t i, const char **word);
const struct argument_spec *args_spec(const struct argument_spec *list, const char *word, size_t len);

#endif
