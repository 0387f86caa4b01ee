/*
 * apk: Alpine. One text database: lines "K:value", packages ended by blank lines. F is a directory and R a file in it
 * that the package owns.
 */
#include "proto/document/files.h"
#include "services/analyzer-worker/catalogers/catalogers.h"

#include <stdio.h>
#include <string.h>

static bool wants(const struct cataloger_path *p)
{
	if (p->base_len != 9 || memcmp(p->base, "installed", 9) != 0)
		return false;
	return (p->len == 20 && memcmp(p->path, "lib/apk/db/installed", 20) == 0) ||
	       (p->len == 24 && memcmp(p->path, "usr/lib/apk/db/installed", 24) == 0);
}

struct state {
	struct summary_package package;
	const char *dir;
	size_t dir_len;
};

static void claim(struct findings *f, const struct state *s, const char *name, size_t len)
{
	char path[FILES_PATH_MAX + 1];

	if (s->dir_len + 1 + len > FILES_PATH_MAX)
		return;
	snprintf(path, sizeof(path), "%.*s%s%.*s", (int)s->dir_len, s->dir, s->dir_len ? "/" : "", (int)len, name);
	findings_claim(f, path, strlen(path));
}

static void read_line(struct findings *f, struct state *s, char key, const char *value, size_t len)
{
	struct summary_package *package = &s->package;

	switch (key) {
	case 'P':
		package->name = findings_text(f, value, len);
		break;
	case 'V':
		package->version = findings_text(f, value, len);
		break;
	case 'A':
		package->arch = findings_text(f, value, len);
		break;
	case 'o':
		package->source = findings_text(f, value, len);
		break;
	case 'L':
		package->license = findings_text(f, value, len);
		break;
	case 'm':
		package->origin = findings_text(f, value, len);
		break;
	case 'F':
		s->dir = value;
		s->dir_len = len;
		break;
	case 'R':
		claim(f, s, value, len);
		break;
	default:
		break;
	}
}

static enum err_code end_package(struct findings *f, struct state *s, size_t line, struct err *e)
{
	struct summary_package *package = &s->package;

	if (package->name || package->version) {
		if (!package->name || !package->version)
			return ERR(e, ERR_CORRUPT, "the package before line %zu has no %s", line,
			           package->name ? "version" : "name");
		if (package->source)
			package->source_version = package->version;
		*findings_package(f) = *package;
	}
	*s = (struct state){0};
	return ERR_OK;
}

static enum err_code parse(const struct cataloger_file *file, struct findings *f, struct err *e)
{
	const char *at = file->bytes, *end = at + file->len, *newline;
	struct state s = {0};
	size_t line = 1;

	for (; at < end; at = newline + 1, line++) {
		size_t len;

		newline = memchr(at, '\n', (size_t)(end - at));
		if (!newline)
			newline = end;
		len = (size_t)(newline - at);
		if (len == 0) {
			TRY(end_package(f, &s, line, e));
			continue;
		}
		if (len < 2 || at[1] != ':')
			return ERR(e, ERR_CORRUPT, "line %zu is not a field", line);
		read_line(f, &s, at[0], at + 2, len - 2);
	}
	return end_package(f, &s, line, e);
}

const struct cataloger cataloger_apk = {
    .name = "apk",
    .type = "apk",
    .max_bytes = 64 * MIB,
    .fatal = true,
    .wants = wants,
    .parse = parse,
};
