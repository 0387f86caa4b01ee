#include "services/analyzer-worker/parser/follow.h"

#include <string.h>

#define STEPS_MAX 255 /* links followed for one name, as unpackers have it */
#define REST_MAX (4 * FILES_PATH_MAX)

struct follow {
	struct links *links;
	struct spill_log *log;
	/* The last directory asked for and where it is; good until a link is made or replaced. */
	bool cached;
	struct name from, to;
	char rest[REST_MAX], target[FILES_PATH_MAX];
};

struct follow *follow_new(TALLOC_CTX *ctx, struct links *links, struct spill_log *log)
{
	struct follow *f = talloc_zero(ctx, struct follow);

	ASSERT(f != NULL);
	f->links = links;
	f->log = log;
	return f;
}

enum err_code follow_note(struct follow *f, const char *path, size_t len, const char *target, size_t target_len,
                          struct err *e)
{
	uint16_t size = (uint16_t)target_len;
	uint64_t at, before;

	ASSERT(target_len <= FILES_PATH_MAX);
	if (target || links_get(f->links, path, len, &before) == LINK_SYMBOLIC)
		f->cached = false;
	if (!target)
		return links_set(f->links, path, len, LINK_NONE, 0, e);
	memcpy(f->rest, &size, sizeof(size));
	memcpy(f->rest + sizeof(size), target, target_len);
	TRY(spill_log_add(f->log, f->rest, sizeof(size) + target_len, &at, e));
	return links_set(f->links, path, len, LINK_SYMBOLIC, at, e);
}

/* Puts the link's target before the rest of the way. */
static enum err_code expand(struct follow *f, uint64_t at, const char *rest, struct err *e)
{
	size_t rest_len = strlen(rest);
	uint16_t len;

	TRY(spill_log_read(f->log, at, &len, sizeof(len), e));
	TRY(spill_log_read(f->log, at + sizeof(len), f->target, len, e));
	if ((size_t)len + 1 + rest_len + 1 > sizeof(f->rest))
		return ERR(e, ERR_INVALID, "symbolic links make it longer than can be");
	memmove(f->rest + len + 1, rest, rest_len + 1);
	memcpy(f->rest, f->target, len);
	f->rest[len] = '/';
	return ERR_OK;
}

/* One component onto f->to; *link is set to where the target is when the result is a symbolic link. */
static enum err_code step(struct follow *f, const char *component, size_t len, size_t *before, uint64_t *link,
                          bool *is_link, struct err *e)
{
	struct name *to = &f->to;

	*is_link = false;
	*before = to->len;
	if (len == 0 || (len == 1 && component[0] == '.'))
		return ERR_OK;
	if (len == 2 && component[0] == '.' && component[1] == '.') {
		to->len = name_parent_len(to->path, to->len); /* the root's parent is the root */
		return ERR_OK;
	}
	if (to->len + 1 + len > FILES_PATH_MAX)
		return ERR(e, ERR_INVALID, "symbolic links make it longer than %d bytes", FILES_PATH_MAX);
	if (to->len > 0)
		to->path[to->len++] = '/';
	memcpy(to->path + to->len, component, len);
	to->len += len;
	*is_link = links_get(f->links, to->path, to->len, link) == LINK_SYMBOLIC;
	return ERR_OK;
}

/* f->from, a directory, to f->to, where it really is. */
static enum err_code resolve(struct follow *f, struct err *e)
{
	unsigned steps = 0;

	memcpy(f->rest, f->from.path, f->from.len);
	f->rest[f->from.len] = '\0';
	f->to.len = 0;
	while (f->rest[0]) {
		char *slash = strchrnul(f->rest, '/');
		char *next = *slash ? slash + 1 : slash;
		size_t before;
		uint64_t link;
		bool is_link;

		TRY(step(f, f->rest, (size_t)(slash - f->rest), &before, &link, &is_link, e));
		if (!is_link) {
			memmove(f->rest, next, strlen(next) + 1);
			continue;
		}
		if (++steps > STEPS_MAX)
			return ERR(e, ERR_INVALID, "its directory's symbolic links go in a circle");
		TRY(expand(f, link, next, e));
		f->to.len = f->rest[0] == '/' ? 0 : before;
	}
	return ERR_OK;
}

enum err_code follow_name(struct follow *f, struct name *name, struct err *e)
{
	size_t parent = name_parent_len(name->path, name->len);
	char base[FILES_PATH_MAX];
	size_t base_len = name->len - parent - 1;

	if (parent == 0 || !links_any(f->links, LINK_SYMBOLIC))
		return ERR_OK;
	if (!f->cached || f->from.len != parent || memcmp(f->from.path, name->path, parent) != 0) {
		f->cached = false;
		memcpy(f->from.path, name->path, parent);
		f->from.len = parent;
		TRY(resolve(f, e));
		f->cached = true;
	}
	if (f->to.len == parent && memcmp(f->to.path, name->path, parent) == 0)
		return ERR_OK;
	if (f->to.len + 1 + base_len > FILES_PATH_MAX)
		return ERR(e, ERR_INVALID, "symbolic links make it longer than %d bytes", FILES_PATH_MAX);
	memcpy(base, name->path + parent + 1, base_len);
	memcpy(name->path, f->to.path, f->to.len);
	name->len = f->to.len;
	if (name->len > 0)
		name->path[name->len++] = '/';
	memcpy(name->path + name->len, base, base_len);
	name->len += base_len;
	name->path[name->len] = '\0';
	return ERR_OK;
}
