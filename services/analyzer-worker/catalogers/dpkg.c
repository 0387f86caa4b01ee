/*
 * dpkg: Debian and what derives from it. var/lib/dpkg/status is the database; distroless images have a file for each
 * package in var/lib/dpkg/status.d instead. What a package owns stands in info/NAME.list, distroless: NAME.md5sums.
 */
#include "services/analyzer-worker/catalogers/catalogers.h"
#include "services/analyzer-worker/catalogers/stanza.h"

#include <string.h>

static const char directory[] = "var/lib/dpkg/";

static bool has_prefix(const char *text, size_t len, const char *prefix)
{
	return len > strlen(prefix) && memcmp(text, prefix, strlen(prefix)) == 0;
}

static bool has_suffix(const char *text, size_t len, const char *suffix)
{
	return len > strlen(suffix) && memcmp(text + len - strlen(suffix), suffix, strlen(suffix)) == 0;
}

static bool is_list(const char *path, size_t len)
{
	return has_prefix(path, len, "var/lib/dpkg/info/") && has_suffix(path, len, ".list");
}

static bool is_sums(const char *path, size_t len)
{
	return has_prefix(path, len, "var/lib/dpkg/status.d/") && has_suffix(path, len, ".md5sums");
}

static bool wants(const struct cataloger_path *p)
{
	if (!has_prefix(p->path, p->len, directory))
		return false;
	return (p->len == 19 && memcmp(p->path, "var/lib/dpkg/status", 19) == 0) || is_list(p->path, p->len) ||
	       has_prefix(p->path, p->len, "var/lib/dpkg/status.d/");
}

/* "name (version)" */
static void read_source(struct findings *f, const struct stanza_field *field, struct summary_package *package)
{
	const char *open = memchr(field->value, '(', field->value_len), *close;

	package->source = findings_text(f, field->value, open ? (size_t)(open - field->value) : field->value_len);
	if (!open)
		return;
	close = memchr(open, ')', field->value_len - (size_t)(open - field->value));
	if (close)
		package->source_version = findings_text(f, open + 1, (size_t)(close - open - 1));
}

/* The third word of the state says what is there; the first two say what is wanted and whether it went well. */
static bool is_installed(const struct stanza_field *field)
{
	return has_suffix(field->value, field->value_len, " installed");
}

struct stanza_state {
	struct summary_package package;
	bool absent;
};

static void read_field(struct findings *f, const struct stanza_field *field, struct stanza_state *state)
{
	struct summary_package *package = &state->package;

	if (stanza_is(field, "Package"))
		package->name = findings_text(f, field->value, field->value_len);
	else if (stanza_is(field, "Version"))
		package->version = findings_text(f, field->value, field->value_len);
	else if (stanza_is(field, "Architecture"))
		package->arch = findings_text(f, field->value, field->value_len);
	else if (stanza_is(field, "Source"))
		read_source(f, field, package);
	else if (stanza_is(field, "Maintainer"))
		package->origin = findings_text(f, field->value, field->value_len);
	else if (stanza_is(field, "Status"))
		state->absent = !is_installed(field);
}

static enum err_code end_stanza(struct findings *f, struct stanza_state *state, size_t line, struct err *e)
{
	const struct summary_package *package = &state->package;

	if (!state->absent && (package->name || package->version)) {
		if (!package->name || !package->version)
			return ERR(e, ERR_CORRUPT, "the package before line %zu has no %s", line,
			           package->name ? "version" : "name");
		*findings_package(f) = *package;
	}
	*state = (struct stanza_state){0};
	return ERR_OK;
}

static enum err_code parse_status(const struct cataloger_file *file, struct findings *f, struct err *e)
{
	struct stanza_state state = {0};
	struct stanza_field field;
	struct stanza s;

	stanza_init(&s, file->bytes, file->len);
	for (;;) {
		switch (stanza_next(&s, &field)) {
		case STANZA_FIELD:
			read_field(f, &field, &state);
			break;
		case STANZA_BLANK:
			TRY(end_stanza(f, &state, s.line, e));
			break;
		case STANZA_OTHER:
			return ERR(e, ERR_CORRUPT, "line %zu is not a field", s.line);
		case STANZA_END:
			return end_stanza(f, &state, s.line + 1, e);
		}
	}
}

/* One path a line; in sums files behind a checksum and two spaces. */
static void parse_owned(const struct cataloger_file *file, struct findings *f, bool sums)
{
	const char *at = file->bytes, *end = at + file->len, *newline;

	for (; at < end; at = newline + 1) {
		const char *path = at;

		newline = memchr(at, '\n', (size_t)(end - at));
		if (!newline)
			newline = end;
		if (sums) {
			path = memchr(at, ' ', (size_t)(newline - at));
			while (path && path < newline && *path == ' ')
				path++;
		}
		if (path)
			findings_claim(f, path, (size_t)(newline - path));
	}
}

static enum err_code parse(const struct cataloger_file *file, struct findings *f, struct err *e)
{
	size_t len = strlen(file->path);

	if (!is_list(file->path, len) && !is_sums(file->path, len))
		return parse_status(file, f, e);
	parse_owned(file, f, is_sums(file->path, len));
	return ERR_OK;
}

const struct cataloger cataloger_dpkg = {
    .name = "dpkg",
    .type = "deb",
    .max_bytes = 64 * MIB,
    .fatal = true,
    .wants = wants,
    .parse = parse,
};
