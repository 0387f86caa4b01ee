#include "services/cli/help.h"

#include "services/cli/args.h"

#include <string.h>

#define COLUMN 34 /* where explanations begin */
#define LINE 80   /* where lines end */

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

/* Words from column `from` on; at is where the first of them goes. A newline in the text begins a line. */
static void print_wrapped(FILE *out, const char *text, size_t at, size_t from)
{
	bool first = true;

	while (*text) {
		size_t len = strcspn(text, " \n");

		if (!first && at + 1 + len > LINE) {
			fprintf(out, "\n%*s", (int)from, "");
			at = from;
			first = true;
		}
		fprintf(out, "%s%.*s", first ? "" : " ", (int)len, text);
		at += len + !first;
		first = false;
		text += len;
		if (*text == '\n') {
			fprintf(out, "\n%*s", text[1] == '\n' ? 0 : (int)from, "");
			at = from;
			first = true;
		}
		text += *text != '\0';
	}
	fputc('\n', out);
}

/* "  left      right", or in two lines where left is long. */
static void print_row(FILE *out, const char *left, const char *right)
{
	if (strlen(left) + 4 > COLUMN)
		fprintf(out, "  %s\n%*s", left, COLUMN, "");
	else
		fprintf(out, "  %-*s", COLUMN - 2, left);
	print_wrapped(out, right, COLUMN, COLUMN);
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

static void print_commands(FILE *out, const struct command *table, const char *topic)
{
	const struct command *before = NULL;

	for (const struct command *c = table; c->path; c++) {
		size_t noun = strcspn(c->path, " ");

		if (!is_below(c, topic))
			continue;
		if (before && strncmp(before->path, c->path, noun + 1) != 0)
			fputc('\n', out);
		print_command(out, c);
		before = c;
	}
}

static void print_usage(FILE *out, const struct command *c)
{
	fprintf(out, "usage: stowage %s%s%s%s\n", c->path, c->options ? " [OPTION]..." : "", *c->arguments ? " " : "",
	        c->arguments);
}

void help_usage(FILE *out, const struct vocabulary *v, const char *topic)
{
	const struct command *one = only_one(v->commands, topic);

	if (one) {
		print_usage(out, one);
		fprintf(out, "`stowage %s --help` says more\n", one->path);
		return;
	}
	fprintf(out, "usage: stowage [OPTION]... COMMAND [ARGUMENT]...\n");
	if (*topic)
		print_commands(out, v->commands, topic);
	fprintf(out, "`stowage%s%s --help` says more\n", *topic ? " " : "", topic);
}

static void print_arguments(FILE *out, const struct vocabulary *v, const struct command *c)
{
	const char *word = NULL, *last;
	bool any = false;
	size_t len;

	for (size_t i = 0;; i++) {
		const struct argument_spec *spec;

		last = word;
		len = args_word(c->arguments, i, &word);
		if (!len || word == last)
			break;
		spec = args_spec(v->arguments, word, len);
		if (!spec)
			continue;
		fputs(any ? "" : "\nArguments:\n", out);
		any = true;
		print_row(out, spec->word, spec->help);
	}
}

static void help_command(FILE *out, const struct vocabulary *v, const struct command *c)
{
	print_usage(out, c);
	fputc('\n', out);
	print_wrapped(out, c->help, 0, 0);
	if (c->details) {
		fputc('\n', out);
		print_wrapped(out, c->details, 0, 0);
	}
	print_arguments(out, v, c);
	if (c->options) {
		fprintf(out, "\nOptions:\n");
		print_options(out, c->options);
	}
	fprintf(out, "\nOptions of all commands:\n");
	print_options(out, v->globals);
}

void help_print(FILE *out, const struct vocabulary *v, const char *topic)
{
	const struct command *one = only_one(v->commands, topic);

	if (one) {
		help_command(out, v, one);
		return;
	}
	fprintf(out, "stowage: analyses container images and keeps what it finds\n\n");
	fprintf(out, "usage: stowage [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n");
	print_commands(out, v->commands, topic);
	fprintf(out, "\nOptions of all commands:\n");
	print_options(out, v->globals);
	if (!*topic)
		fprintf(out, "\nTo begin with:\n"
		             "  stowage image add registry.example/shop/web:1.2 --wait\n"
		             "  stowage image content registry.example/shop/web:1.2 packages\n"
		             "  stowage find package openssl --version '3.0.*'\n");
	fprintf(out, "\n`stowage COMMAND --help` explains a command.\n"
	             "IMAGE is a digest (sha256:...) or a reference with a tag.\n"
	             "Exit status: 0 done, 1 the request failed, 2 wrong usage or configuration,\n"
	             "3 no service reachable.\n");
}
