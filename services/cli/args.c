#include "services/cli/args.h"

#include <stdlib.h>
#include <string.h>

struct parser {
	TALLOC_CTX *ctx;
	const struct vocabulary *v;
	const char *const *next, *const *end; /* of argv */
	const char **words;                   /* all that are no options */
	size_t word_count;
	const char **options; /* names and values, in pairs; looked up when the command is known */
	size_t option_count;
	struct args *args;
};

static void push(TALLOC_CTX *ctx, const char ***list, size_t *count, const char *text)
{
	*list = talloc_realloc(ctx, *list, const char *, *count + 1);
	ASSERT(*list);
	(*list)[(*count)++] = text;
}

static bool wrong(struct parser *p, const char *fmt, ...) PRINTF(2, 3);

static bool wrong(struct parser *p, const char *fmt, ...)
{
	va_list list;

	va_start(list, fmt);
	p->args->wrong = talloc_vasprintf(p->ctx, fmt, list);
	va_end(list);
	ASSERT(p->args->wrong);
	return false;
}

/* ---- words ---- */

static size_t word_len(const char *at)
{
	return strcspn(at, " ");
}

/* How many of the words are the first words of path; *whole when they are all of it. */
static size_t match_path(const char *path, const char *const *words, size_t count, bool *whole)
{
	size_t n = 0;

	while (*path && n < count && strlen(words[n]) == word_len(path) &&
	       strncmp(path, words[n], word_len(path)) == 0) {
		path += word_len(path);
		path += *path == ' ';
		n++;
	}
	*whole = !*path;
	return n;
}

/* The command with the longest path that the words begin with; *known: words that begin some path. */
static const struct command *find_command(const struct parser *p, size_t *used, size_t *known)
{
	const struct command *found = NULL;

	*used = *known = 0;
	for (const struct command *c = p->v->commands; c->path; c++) {
		bool whole;
		size_t n = match_path(c->path, p->words, p->word_count, &whole);

		*known = MAX(*known, n);
		if (whole && n > *used) {
			*used = n;
			found = c;
		}
	}
	return found;
}

static const char *join(TALLOC_CTX *ctx, const char *const *words, size_t count)
{
	char *text = talloc_strdup(ctx, "");

	for (size_t i = 0; i < count; i++)
		text = talloc_asprintf_append(text, "%s%s", i ? " " : "", words[i]);
	ASSERT(text);
	return text;
}

void args_count(const char *arguments, size_t *least, size_t *most)
{
	*least = *most = 0;
	while (*arguments) {
		size_t len = word_len(arguments);

		if (len >= 3 && strncmp(arguments + len - 3, "...", 3) == 0)
			*most = SIZE_MAX;
		else if (*most != SIZE_MAX)
			++*most;
		*least += *arguments != '[';
		arguments += len;
		arguments += *arguments == ' ';
	}
}

size_t args_word(const char *arguments, size_t i, const char **word)
{
	size_t len;

	for (;; i--) {
		*word = arguments;
		len = word_len(arguments);
		arguments += len;
		arguments += *arguments == ' ';
		if (i == 0 || !*arguments)
			break;
	}
	*word += **word == '[';
	len = strspn(*word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789|");
	return len;
}

const struct argument_spec *args_spec(const struct argument_spec *list, const char *word, size_t len)
{
	for (; list && list->word; list++)
		if (strlen(list->word) == len && strncmp(list->word, word, len) == 0)
			return list;
	return NULL;
}

/* ---- options ---- */

static const struct option_spec *find_in(const struct option_spec *list, const char *name, size_t len)
{
	for (; list && list->name; list++)
		if (strlen(list->name) == len && strncmp(list->name, name, len) == 0)
			return list;
	return NULL;
}

/* Does any command have an option of this name that takes a value? A name means the same kind everywhere, so that the
 * words can be told from the values before the command is known. */
static const struct option_spec *find_anywhere(const struct parser *p, const char *name, size_t len)
{
	const struct option_spec *found = find_in(p->v->globals, name, len);

	for (const struct command *c = p->v->commands; c->path && !found; c++)
		found = find_in(c->options, name, len);
	return found;
}

static bool take_option(struct parser *p, const char *text)
{
	size_t len = strcspn(text, "=");
	const struct option_spec *option = find_anywhere(p, text, len);
	const char *value = text[len] ? text + len + 1 : NULL;

	if (!option)
		return wrong(p, "unknown option --%.*s", (int)len, text);
	if (option->kind == OPTION_FLAG && value)
		return wrong(p, "option --%s takes no value", option->name);
	if (option->kind != OPTION_FLAG && !value) {
		if (p->next == p->end)
			return wrong(p, "option --%s needs a value (%s)", option->name, option->value);
		value = *p->next++;
	}
	push(p->ctx, &p->options, &p->option_count, option->name);
	push(p->ctx, &p->options, &p->option_count, value);
	return true;
}

static bool split_words(struct parser *p)
{
	bool only_words = false;

	while (p->next != p->end) {
		const char *text = *p->next++;

		if (!only_words && strcmp(text, "--") == 0) {
			only_words = true;
		} else if (!only_words && strcmp(text, "-h") == 0) {
			push(p->ctx, &p->options, &p->option_count, "help");
			push(p->ctx, &p->options, &p->option_count, NULL);
		} else if (!only_words && strncmp(text, "--", 2) == 0) {
			if (!take_option(p, text + 2))
				return false;
		} else if (!only_words && text[0] == '-' && text[1]) {
			return wrong(p, "unknown option %s", text);
		} else {
			push(p->ctx, &p->words, &p->word_count, text);
		}
	}
	return true;
}

static bool read_number(struct parser *p, struct args_value *v)
{
	const struct option_spec *o = v->option;
	char *rest;

	errno = 0;
	v->number = strtoll(v->text, &rest, 10);
	if (errno || rest == v->text || *rest)
		return wrong(p, "option --%s: \"%s\" is no number", o->name, v->text);
	if (v->number < o->least || v->number > o->most)
		return wrong(p, "option --%s: %s is not within %lld and %lld", o->name, v->text, (long long)o->least,
		             (long long)o->most);
	return true;
}

static bool read_duration(struct parser *p, struct args_value *v)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	char *rest;

	errno = 0;
	v->number = strtoll(v->text, &rest, 10);
	if (errno == 0 && rest != v->text && v->number > 0)
		for (size_t i = 0; i < ARRAY_SIZE(units); i++)
			if (strcmp(rest, units[i].unit) == 0)
				return !__builtin_mul_overflow(v->number, units[i].ms, &v->number) ||
				       wrong(p, "option --%s: %s is too long", v->option->name, v->text);
	return wrong(p, "option --%s: \"%s\" is no time: 500ms, 10s, 5m, 1h", v->option->name, v->text);
}

static bool check_choice(struct parser *p, const struct args_value *v)
{
	char *list = talloc_strdup(p->ctx, "");

	for (const char *const *c = v->option->choices; *c; c++) {
		if (strcmp(*c, v->text) == 0)
			return true;
		list = talloc_asprintf_append(list, "%s%s", *list ? ", " : "", *c);
	}
	return wrong(p, "option --%s: \"%s\" is none of %s", v->option->name, v->text, list);
}

static bool check_value(struct parser *p, struct args_value *v)
{
	struct err e = {0};

	for (size_t i = 0; i < p->args->value_count; i++)
		if (p->args->values[i].option == v->option && !v->option->repeatable)
			return wrong(p, "option --%s is given twice", v->option->name);
	if (v->option->kind == OPTION_NUMBER)
		return read_number(p, v);
	if (v->option->kind == OPTION_DURATION)
		return read_duration(p, v);
	if (v->option->check && v->option->check(v->text, &e) != ERR_OK)
		return wrong(p, "option --%s: %s", v->option->name, e.text);
	return !v->option->choices || check_choice(p, v);
}

/* Now that the command is known: its own options, and those for all. */
static bool read_options(struct parser *p)
{
	const struct command *c = p->args->command;

	p->args->values = talloc_zero_array(p->ctx, struct args_value, p->option_count / 2 + 1);
	ASSERT(p->args->values);
	for (size_t i = 0; i < p->option_count; i += 2) {
		const char *name = p->options[i];
		struct args_value v = {.option = find_in(p->v->globals, name, strlen(name)), .text = p->options[i + 1]};

		if (!v.option && c)
			v.option = find_in(c->options, name, strlen(name));
		if (!v.option && !c)
			continue; /* what is wrong is the command */
		if (!v.option)
			return wrong(p, "%s has no option --%s", c->path, name);
		if (!check_value(p, &v))
			return false;
		p->args->values[p->args->value_count++] = v;
	}
	return true;
}

/* ---- the whole ---- */

static bool check_word(struct parser *p, size_t i)
{
	struct args *a = p->args;
	const char *word;
	size_t len = args_word(a->command->arguments, i, &word);
	const struct argument_spec *spec = args_spec(p->v->arguments, word, len);
	struct err e = {0};

	if (!*a->words[i])
		return wrong(p, "%s: an empty argument for %.*s", a->command->path, (int)len, word);
	if (spec && spec->check && spec->check(a->words[i], &e) != ERR_OK)
		return wrong(p, "%s: %s", a->command->path, e.text);
	return true;
}

static bool check_words(struct parser *p, size_t used)
{
	struct args *a = p->args;
	size_t least, most;

	a->words = p->words + used;
	a->word_count = p->word_count - used;
	args_count(a->command->arguments, &least, &most);
	if (a->word_count < least)
		return wrong(p, "%s needs %s", a->command->path, a->command->arguments);
	if (a->word_count > most)
		return wrong(p, "%s: what is \"%s\"", a->command->path, a->words[most]);
	for (size_t i = 0; i < a->word_count; i++)
		if (!check_word(p, i))
			return false;
	return true;
}

static bool name_missing_command(struct parser *p, size_t known)
{
	if (p->word_count == 0)
		return wrong(p, "a command is missing");
	if (known == p->word_count)
		return wrong(p, "\"%s\" is not a whole command", p->args->topic);
	return wrong(p, "unknown command \"%s\"", join(p->ctx, p->words, known + 1));
}

enum args_outcome args_parse(TALLOC_CTX *ctx, int argc, const char *const *argv, const struct vocabulary *v,
                             struct args *args)
{
	struct parser p = {.ctx = ctx, .v = v, .args = args};
	size_t used, known;

	*args = (struct args){.topic = ""};
	/* No global option: `find package` has one of this name. */
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return ARGS_VERSION;
	p.words = talloc_zero_array(ctx, const char *, 1);
	ASSERT(p.words);
	p.next = argv + (argc > 0);
	p.end = argv + argc;
	if (!split_words(&p))
		return ARGS_WRONG;
	args->command = find_command(&p, &used, &known);
	args->topic = join(ctx, p.words, known);
	if (!read_options(&p))
		return ARGS_WRONG;
	if (args_flag(args, "help"))
		return ARGS_HELP;
	if (!args->command)
		return name_missing_command(&p, known) ? ARGS_RUN : ARGS_WRONG;
	return check_words(&p, used) ? ARGS_RUN : ARGS_WRONG;
}

static const struct args_value *last_value(const struct args *args, const char *name)
{
	for (size_t i = args->value_count; i > 0; i--)
		if (strcmp(args->values[i - 1].option->name, name) == 0)
			return &args->values[i - 1];
	return NULL;
}

bool args_flag(const struct args *args, const char *name)
{
	return last_value(args, name) != NULL;
}

const char *args_text(const struct args *args, const char *name)
{
	const struct args_value *v = last_value(args, name);

	return v ? v->text : NULL;
}

int64_t args_number(const struct args *args, const char *name, int64_t if_missing)
{
	const struct args_value *v = last_value(args, name);

	return v ? v->number : if_missing;
}

size_t args_texts(const struct args *args, TALLOC_CTX *ctx, const char *name, const char ***texts)
{
	size_t count = 0;

	*texts = NULL;
	for (size_t i = 0; i < args->value_count; i++)
		if (strcmp(args->values[i].option->name, name) == 0)
			push(ctx, texts, &count, args->values[i].text);
	return count;
}
