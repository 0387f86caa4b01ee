#include "services/analyzer-worker/parser/name.h"

#include <string.h>

static const char whiteout_prefix[] = ".wh.";
static const char aufs_prefix[] = ".wh..wh.";
static const char opaque_name[] = ".wh..wh..opq";

size_t name_parent_len(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);

	return slash ? (size_t)(slash - path) : 0;
}

static bool has_prefix(const char *text, size_t len, const char *prefix)
{
	size_t prefix_len = strlen(prefix);

	return len >= prefix_len && memcmp(text, prefix, prefix_len) == 0;
}

static enum err_code add_component(struct name *out, const char *component, size_t len, struct err *e)
{
	if (len == 0 || (len == 1 && component[0] == '.'))
		return ERR_OK;
	if (len == 2 && component[0] == '.' && component[1] == '.') {
		if (out->len == 0)
			return ERR(e, ERR_INVALID, "it leads out of the root directory");
		out->len = name_parent_len(out->path, out->len);
		return ERR_OK;
	}
	if (len + (out->len > 0) > FILES_PATH_MAX - out->len)
		return ERR(e, ERR_INVALID, "it is longer than %d bytes", FILES_PATH_MAX);
	if (out->len > 0)
		out->path[out->len++] = '/';
	memcpy(out->path + out->len, component, len);
	out->len += len;
	return ERR_OK;
}

enum err_code name_normalise(const char *raw, size_t raw_len, struct name *out, struct err *e)
{
	const char *end = raw + raw_len;
	const char *slash;

	out->len = 0;
	if (raw_len == 0)
		return ERR(e, ERR_INVALID, "it is empty");
	if (memchr(raw, '\0', raw_len))
		return ERR(e, ERR_INVALID, "it holds a NUL byte");
	for (; (slash = memchr(raw, '/', (size_t)(end - raw))); raw = slash + 1)
		TRY(add_component(out, raw, (size_t)(slash - raw), e));
	TRY(add_component(out, raw, (size_t)(end - raw), e));
	if (out->len == 0)
		out->path[out->len++] = '.';
	out->path[out->len] = '\0';
	return ERR_OK;
}

enum err_code name_classify(struct name *name, enum name_kind *kind, struct err *e)
{
	size_t parent_len = name_parent_len(name->path, name->len);
	size_t base = parent_len ? parent_len + 1 : 0, base_len = name->len - base;
	const char *rest = name->path + base + sizeof(whiteout_prefix) - 1;
	size_t rest_len = base_len - (sizeof(whiteout_prefix) - 1);

	*kind = NAME_ENTRY;
	/* Below aufs' directory of pseudo-links (.wh..wh.plnk) nothing is an entry either. */
	if (base > 0 && has_prefix(name->path, name->len, aufs_prefix)) {
		*kind = NAME_IGNORED;
		return ERR_OK;
	}
	if (!has_prefix(name->path + base, base_len, whiteout_prefix))
		return ERR_OK;
	if (strcmp(name->path + base, opaque_name) == 0) {
		*kind = NAME_OPAQUE;
		name->len = parent_len ? parent_len : 1;
		if (parent_len == 0)
			name->path[0] = '.';
		name->path[name->len] = '\0';
		return ERR_OK;
	}
	if (has_prefix(name->path + base, base_len, aufs_prefix)) {
		*kind = NAME_IGNORED;
		return ERR_OK;
	}
	if (rest_len == 0 || strcmp(rest, ".") == 0 || strcmp(rest, "..") == 0)
		return ERR(e, ERR_INVALID, "it is a whiteout of nothing");
	*kind = NAME_WHITEOUT;
	memmove(name->path + base, rest, rest_len + 1);
	name->len = base + rest_len;
	return ERR_OK;
}
