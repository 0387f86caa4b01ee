#include "services/analyzer-worker/parser/build_internal.h"
#include "services/analyzer-worker/parser/walk.h"

#include <string.h>

/* A surviving entry on the way to the current path: the first len bytes of it (0: the root). */
struct ancestor {
	size_t len;
	bool directory;
};

struct prepare {
	struct build *build;
	struct ancestor *ancestors;
	size_t ancestor_count;
	uint64_t implied;
	char path[FILES_PATH_MAX + 1]; /* that the ancestors are of */
	/* The newest entry so far at the path of the records that pass, for those who ask about it. */
	bool known;
	struct record newest;
	size_t newest_len;
	char newest_path[FILES_PATH_MAX + 1], newest_link[FILES_PATH_MAX + 1];
	struct build_answer answer; /* that newest was already given as; len 0: not yet */
	uint8_t packed[RECORD_PACKED_MAX];
};

static enum err_code log_answer(struct prepare *p, const struct record *record, struct build_answer *answer,
                                struct err *e)
{
	answer->len = (uint32_t)record_pack(record, p->packed);
	return spill_log_add(p->build->log, p->packed, answer->len, &answer->at, e);
}

static enum err_code answer_request(struct prepare *p, const struct record *request, struct err *e)
{
	struct build_answer *answer = &p->build->answers[request->link_id];
	const struct files_entry *asked = &request->entry;
	struct record lower = {
	    .entry = {.type = FILES_HARDLINK, .link = asked->path, .link_len = asked->path_len},
	};

	if (!p->known) {
		lower.entry.path = asked->path;
		lower.entry.path_len = asked->path_len;
		return log_answer(p, &lower, answer, e);
	}
	if (p->newest.entry.type == FILES_DIRECTORY)
		return ERR(e, ERR_INVALID, "there is a hard link to \"%s\", which is a directory", p->newest_path);
	if (p->newest.entry.type == FILES_HARDLINK)
		return ERR(e, ERR_INTERNAL, "a hard link to \"%s\", which is one, was not noticed", p->newest_path);
	if (p->answer.len == 0)
		TRY(log_answer(p, &p->newest, &p->answer, e));
	*answer = p->answer;
	return ERR_OK;
}

static void remember(struct prepare *p, const struct record *record)
{
	p->known = true;
	p->answer.len = 0;
	p->newest = *record;
	p->newest.entry.path = p->newest_path;
	if (record->entry.link) {
		memcpy(p->newest_link, record->entry.link, record->entry.link_len);
		p->newest.entry.link = p->newest_link;
	}
}

/* walk_visitor.record: records of one path come in the order of the tar. */
static enum err_code see_record(void *arg, const struct record *record, struct err *e)
{
	struct prepare *p = arg;
	const struct files_entry *entry = &record->entry;

	if (p->newest_len != entry->path_len || memcmp(p->newest_path, entry->path, entry->path_len) != 0) {
		p->known = false;
		memcpy(p->newest_path, entry->path, entry->path_len);
		p->newest_path[entry->path_len] = '\0';
		p->newest_len = entry->path_len;
	}
	if (entry->type == RECORD_REQUEST)
		return answer_request(p, record, e);
	if (entry->type != FILES_WHITEOUT && entry->type != FILES_OPAQUE)
		remember(p, record);
	return ERR_OK;
}

static void push(struct prepare *p, size_t len, bool directory)
{
	p->ancestors[p->ancestor_count++] = (struct ancestor){.len = len, .directory = directory};
}

static enum err_code add_implied(struct prepare *p, const char *path, size_t len, struct err *e)
{
	struct record record = {
	    .entry = {.path = path, .path_len = len, .type = FILES_DIRECTORY, .mode = 0755, .implied = true},
	};

	if (++p->implied > p->build->limits->entries)
		return ERR(e, ERR_TOO_LARGE, "the layer needs more than %llu directories that it does not name",
		           (unsigned long long)p->build->limits->entries);
	push(p, len, true);
	return sorter_append(p->build->sorter, &record, e);
}

/* walk_visitor.group: is every directory on the way there, and a directory? */
static enum err_code see_group(void *arg, const struct walk_group *group, struct err *e)
{
	struct prepare *p = arg;
	size_t have = 0;
	bool root = group->path_len == 1 && group->path[0] == '.';

	if (!group->found || root)
		return ERR_OK;
	while (p->ancestor_count > 0 &&
	       !files_path_below(group->path, group->path_len, p->path, p->ancestors[p->ancestor_count - 1].len))
		p->ancestor_count--;
	if (p->ancestor_count > 0) {
		const struct ancestor *last = &p->ancestors[p->ancestor_count - 1];

		have = last->len;
		if (!last->directory)
			return ERR(e, ERR_INVALID, "\"%s\" is below \"%.*s\", which is not a directory", group->path,
			           (int)have, group->path);
	}
	memcpy(p->path, group->path, group->path_len + 1);
	for (const char *slash = strchr(group->path + have + (have > 0), '/'); slash; slash = strchr(slash + 1, '/'))
		TRY(add_implied(p, group->path, (size_t)(slash - group->path), e));
	push(p, group->path_len, group->record.entry.type == FILES_DIRECTORY);
	return ERR_OK;
}

enum err_code build_prepare(struct build *b, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct prepare *p = talloc_zero(ctx, struct prepare);
	struct walk_visitor visitor = {.group = see_group, .arg = p};

	ASSERT(p != NULL);
	p->build = b;
	p->ancestors = talloc_array(ctx, struct ancestor, FILES_PATH_MAX / 2 + 2);
	b->answers = talloc_zero_array(b, struct build_answer, MAX(b->answer_count, (size_t)1));
	ASSERT(p->ancestors && b->answers);
	if (b->answer_count > 0)
		visitor.record = see_record;
	return walk(b->sorter, &visitor, e);
}
