#include "proto/document/purl.h"
#include "common/buf.h"

#include <ctype.h>
#include <string.h>

#define PURL_MAX (64 * KIB)

static void add_encoded(struct buf *b, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c < 0x80 && isalnum(c)) || c == '-' || c == '.' || c == '_' || c == '~' || c == ':')
			buf_add_char(b, (char)c);
		else
			buf_add_format(b, "%%%02X", c);
	}
}

static void add_lower(struct buf *b, const char *text)
{
	char low;

	for (; *text; text++) {
		low = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
		add_encoded(b, &low, 1);
	}
}

/* PEP 503: runs of "-", "_" and "." are one "-", letters are small. */
static void add_python_name(struct buf *b, const char *name)
{
	for (; *name; name++) {
		if (!strchr("-_.", *name))
			add_lower(b, (char[]){*name, '\0'});
		else if (!name[1] || !strchr("-_.", name[1]))
			buf_add_char(b, '-');
	}
}

/* "@scope/name": the scope is the namespace. */
static void add_npm_name(struct buf *b, const char *name)
{
	const char *slash = name[0] == '@' ? strchr(name, '/') : NULL;

	if (slash) {
		add_encoded(b, name, (size_t)(slash - name));
		buf_add_char(b, '/');
		name = slash + 1;
	}
	add_encoded(b, name, strlen(name));
}

static bool is_system(const char *type)
{
	return strcmp(type, "deb") == 0 || strcmp(type, "apk") == 0 || strcmp(type, "rpm") == 0;
}

static void add_system_name(struct buf *b, const struct purl_parts *p)
{
	const char *vendor = p->distro_id;

	if (!vendor && strcmp(p->type, "deb") == 0)
		vendor = "debian";
	if (!vendor && strcmp(p->type, "apk") == 0)
		vendor = "alpine";
	if (vendor) {
		add_lower(b, vendor);
		buf_add_char(b, '/');
	}
	add_lower(b, p->name);
}

static void add_qualifiers(struct buf *b, const struct purl_parts *p)
{
	char mark = '?';

	if (p->arch) {
		buf_add_text(b, "?arch=");
		add_encoded(b, p->arch, strlen(p->arch));
		mark = '&';
	}
	if (!p->distro_id)
		return;
	buf_add_format(b, "%cdistro=", mark);
	add_lower(b, p->distro_id);
	if (!p->distro_version_id)
		return;
	buf_add_char(b, '-');
	add_encoded(b, p->distro_version_id, strlen(p->distro_version_id));
}

char *purl_make(TALLOC_CTX *ctx, const struct purl_parts *p)
{
	CLEANUP(buf_release) struct buf b;
	char *text;

	buf_init(&b, PURL_MAX);
	buf_add_format(&b, "pkg:%s/", p->type);
	if (is_system(p->type))
		add_system_name(&b, p);
	else if (strcmp(p->type, "npm") == 0)
		add_npm_name(&b, p->name);
	else if (strcmp(p->type, "pypi") == 0)
		add_python_name(&b, p->name);
	else
		add_encoded(&b, p->name, strlen(p->name));
	if (p->version && *p->version) {
		buf_add_char(&b, '@');
		add_encoded(&b, p->version, strlen(p->version));
	}
	if (is_system(p->type))
		add_qualifiers(&b, p);
	/* Names come from files of limited size, and a purl cut short would name something else: leave it without. */
	text = talloc_strdup(ctx, buf_failed(&b) ? "" : b.bytes);
	ASSERT(text != NULL);
	return text;
}
