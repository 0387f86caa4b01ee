/*
 * distribution: which distribution this is, from os-release(5): etc/os-release, usr/lib/os-release, and files of
 * similar names that those may link to. Which one counts is decided for the whole image.
 */
#include "services/analyzer-worker/catalogers/catalogers.h"

#include <string.h>

static bool wants(const struct cataloger_path *p)
{
	return p->base_len >= 10 && memcmp(p->base, "os-release", 10) == 0;
}

/* The value of an assignment as a shell would read it, for the forms that os-release allows. */
static const char *unquote(struct findings *f, const char *value, size_t len)
{
	char *text = talloc_array(f->ctx, char, len + 1);
	char quote = '\0';
	size_t n = 0;

	ASSERT(text != NULL);
	for (size_t i = 0; i < len; i++) {
		char c = value[i];

		if (quote == '\0' && (c == '"' || c == '\'')) {
			quote = c;
		} else if (c == quote) {
			quote = '\0';
		} else {
			if (c == '\\' && quote != '\'' && i + 1 < len)
				c = value[++i];
			text[n++] = c;
		}
	}
	return findings_text(f, text, n);
}

static void read_line(struct findings *f, const char *line, size_t len)
{
	struct summary_distribution *d = &f->distribution;
	const struct {
		const char *key, **value;
	} keys[] = {
	    {"ID=", &d->id},     {"VERSION_ID=", &d->version_id},   {"VERSION_CODENAME=", &d->version_codename},
	    {"NAME=", &d->name}, {"PRETTY_NAME=", &d->pretty_name}, {"ID_LIKE=", &d->id_like},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t key_len = strlen(keys[i].key);

		if (len > key_len && memcmp(line, keys[i].key, key_len) == 0)
			*keys[i].value = unquote(f, line + key_len, len - key_len);
	}
}

static enum err_code parse(const struct cataloger_file *file, struct findings *f, struct err *e)
{
	const char *at = file->bytes, *end = at + file->len, *newline;

	(void)e;
	for (; at < end; at = newline + 1) {
		newline = memchr(at, '\n', (size_t)(end - at));
		if (!newline)
			newline = end;
		while (at < newline && (*at == ' ' || *at == '\t'))
			at++;
		read_line(f, at, (size_t)(newline - at));
	}
	f->distribution.evidence = file->path;
	return ERR_OK;
}

const struct cataloger cataloger_distribution = {
    .name = "distribution",
    .type = "",
    .max_bytes = 64 * KIB,
    .wants = wants,
    .parse = parse,
};
