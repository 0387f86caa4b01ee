#include "services/cli/help.h"

#include <string.h>

#define COLUMN 40 /* where explanations begin */

static bool is_below(const struct command *c, const char *topic)
{
	size_t len = strlen(topic);

	return len == 0 || (strncmp(c->path, topic, len) == 0 && (c->path[len] == ' ' || c->path[len] == '\0'));
}

static const struct command *only_one(const struct command *table, const char *topic)
{
	for (const struct command *c = table; c->path; c++)
		if (strcmp(c->path, topic) == 0)
			return c;
	return NULL;
}

/* "  left      right", or in two lines where left is long. */
static void print_row(FILE *out, const char *left, const char *right)
{
	if (strlen(left) + 4 > COLUMN)
		fprintf(out, "  %s\n%*s%s\n", left, COLUMN, "", right);
	else
		fprintf(out, "  %-*s%s\n", COLUMN - 2, left, right);
}

static void print_options(FILE *out, const struct option_spec *options)
{
	SCRATCH_CTX(scratch);

	for (const struct option_spec *o = options; o && o->name; o++) {
		char *left =
		    talloc_asprintf(scratch, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
		char *right = talloc_asprintf(scratch, "%s%s", o->help, o->repeatable ? " (repeatable)" : "");

		for (const char *const *c = o->choices; c && *c; c++)
			right = talloc_asprintf_append(right, "%s%s", c == o->choices ? ": " : ", ", *c);
		ASSERT(left && right);
		print_row(out, left, right);
	}
}

static void print_command(FILE *out, const struct command *c)
{
	SCRATCH_CTX(scratch);
	char *left = talloc_asprintf(scratch, "%s%s%s", c->path, *c->arguments ? " " : "", c->arguments);

	ASSERT(left);
	print_row(out, left, c->help);
}

void help_usage(FILE *out, const struct command *table, const char *topic)
{
	const struct command *one = only_one(table, topic);

	if (one) {
		fprintf(out, "usage: stowage %s%s%s%s\n", one->path, one->options ? " [OPTION]..." : "",
		        *one->arguments ? " " : "", one->arguments);
		fprintf(out, "`stowage %s --help` says more\n", one->path);
		return;
	}
	fprintf(out, "usage: stowage [OPTION]... COMMAND [ARGUMENT]...\n");
	for (const struct command *c = table; *topic && c->path; c++)
		if (is_below(c, topic))
			print_command(out, c);
	fprintf(out, "`stowage%s%s --help` says more\n", *topic ? " " : "", topic);
}

void help_print(FILE *out, const struct command *table, const struct option_spec *globals, const char *topic)
{
	const struct command *one = only_one(table, topic);

	if (one) {
		fprintf(out, "stowage %s%s%s: %s\n", one->path, *one->arguments ? " " : "", one->arguments, one->help);
		if (one->options) {
			fprintf(out, "\nOptions:\n");
			print_options(out, one->options);
		}
		fprintf(out, "\nOptions of all commands:\n");
		print_options(out, globals);
		return;
	}
	fprintf(out, "stowage: analyses container images and keeps what it finds\n\n");
	fprintf(out, "usage: stowage [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n");
	for (const struct command *c = table; c->path; c++)
		if (is_below(c, topic))
			print_command(out, c);
	fprintf(out, "\nOptions of all commands:\n");
	print_options(out, globals);
	fprintf(out,
	        "\n`stowage --version` says which version this is. IMAGE is a digest (sha256:...) or a tag reference.\n"
	        "Exit status: 0 done, 1 the request failed, 2 wrong usage, 3 no service reachable.\n");
}
