#include "common/json.h"
#include "proto/document/files.h"
#include "proto/document/summary.h"

#include <string.h>

#define ROOM_BYTES (16 * KIB)

struct decode {
	struct summary *s;
	char *room; /* texts are put into one after the other: each on its own would take more than itself to keep */
	size_t room_left;
	size_t bytes_left; /* of the document, from the current line on: its texts do not take more */
	size_t lines;
	bool ended;
};

static enum err_code bad(const struct decode *d, const char *what, struct err *e)
{
	return ERR(e, ERR_CORRUPT, "summary document: line %zu: %s", d->lines, what);
}

/* A new zeroed item at the end of an array that doubles; size is that of an item. */
static void *append(struct summary *s, void *array_address, size_t *count, size_t size)
{
	char *array, *item;

	memcpy(&array, array_address, sizeof(array));
	if ((*count & (*count - 1)) == 0) {
		array = talloc_realloc_size(s, array, MAX(2 * *count, (size_t)1) * size);
		ASSERT(array != NULL);
		memcpy(array_address, &array, sizeof(array));
	}
	item = array + *count * size;
	memset(item, 0, size);
	++*count;
	return item;
}

static const char *copy(struct decode *d, const char *text)
{
	size_t size;
	char *copied;

	if (!text)
		return NULL;
	size = strlen(text) + 1;
	if (size > d->room_left) {
		d->room_left = MAX(size, MIN(ROOM_BYTES, d->bytes_left));
		d->room = talloc_size(d->s, d->room_left);
		ASSERT(d->room != NULL);
	}
	copied = memcpy(d->room, text, size);
	d->room += size;
	d->room_left -= size;
	return copied;
}

/* The text again that stands in the line before, mostly. */
static const char *repeat(struct decode *d, const char *before, const char *text)
{
	return before && strcmp(before, text) == 0 ? before : copy(d, text);
}

static const char *copy_path(struct decode *d, const char *text)
{
	char path[FILES_PATH_MAX + 1];
	size_t len;

	if (!text || !files_unescape(text, strlen(text), path, &len))
		return NULL;
	return copy(d, path);
}

static bool same_text(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

static enum err_code decode_packages(struct decode *d, const cJSON *line, const char *evidence, struct err *e)
{
	struct summary *s = d->s;
	const char *cataloger = json_text(line, "cataloger"), *type = json_text(line, "type");
	struct summary_group *group = s->group_count ? &s->groups[s->group_count - 1] : NULL;
	const cJSON *item;

	if (!cataloger || !type)
		return bad(d, "packages of no cataloger or type", e);
	if (!group || !same_text(group->evidence, evidence) || !same_text(group->cataloger, cataloger)) {
		const char *before[2] = {group ? group->cataloger : NULL, group ? group->type : NULL};

		group = append(s, &s->groups, &s->group_count, sizeof(*group));
		*group = (struct summary_group){
		    .cataloger = repeat(d, before[0], cataloger),
		    .type = repeat(d, before[1], type),
		    .evidence = evidence,
		};
	}
	cJSON_ArrayForEach (item, json_array(line, "packages")) {
		struct summary_package *package = append(s, &group->packages, &group->count, sizeof(*package));

		*package = (struct summary_package){
		    .name = copy(d, json_text(item, "name")),
		    .version = copy(d, json_text(item, "version")),
		    .arch = copy(d, json_text(item, "arch")),
		    .source = copy(d, json_text(item, "source")),
		    .source_version = copy(d, json_text(item, "source_version")),
		    .license = copy(d, json_text(item, "license")),
		    .origin = copy(d, json_text(item, "origin")),
		};
		if (!package->name || !package->version)
			return bad(d, "a package without name or version", e);
		s->counts.packages++;
	}
	return ERR_OK;
}

static enum err_code decode_claims(struct decode *d, const cJSON *line, const char *evidence, struct err *e)
{
	struct summary *s = d->s;
	struct summary_claim *claim = s->claim_count ? &s->claims[s->claim_count - 1] : NULL;
	const cJSON *item;

	if (!claim || !same_text(claim->evidence, evidence)) {
		claim = append(s, &s->claims, &s->claim_count, sizeof(*claim));
		claim->evidence = evidence;
	}
	cJSON_ArrayForEach (item, json_array(line, "claims")) {
		const char *path = copy_path(d, cJSON_GetStringValue(item));

		if (!path)
			return bad(d, "a claim of no path", e);
		*(const char **)append(s, &claim->paths, &claim->count, sizeof(path)) = path;
	}
	return ERR_OK;
}

static enum err_code decode_unparsed(struct decode *d, const cJSON *line, const char *evidence, struct err *e)
{
	struct summary *s = d->s;
	struct summary_unparsed *unparsed = append(s, &s->unparsed, &s->unparsed_count, sizeof(*unparsed));

	*unparsed = (struct summary_unparsed){
	    .cataloger = copy(d, json_text(line, "cataloger")),
	    .evidence = evidence,
	    .reason = copy(d, json_text(line, "unparsed")),
	    .fatal = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(line, "fatal")),
	};
	return unparsed->cataloger && unparsed->reason ? ERR_OK : bad(d, "unparsed without cataloger or reason", e);
}

static void decode_distribution(struct decode *d, const cJSON *line, const char *evidence)
{
	struct summary *s = d->s;
	const cJSON *from = json_object(line, "distribution");
	struct summary_distribution *to = append(s, &s->distributions, &s->distribution_count, sizeof(*to));

	*to = (struct summary_distribution){
	    .evidence = evidence,
	    .link = copy_path(d, json_text(from, "link")),
	    .id = copy(d, json_text(from, "id")),
	    .version_id = copy(d, json_text(from, "version_id")),
	    .version_codename = copy(d, json_text(from, "version_codename")),
	    .name = copy(d, json_text(from, "name")),
	    .pretty_name = copy(d, json_text(from, "pretty_name")),
	    .id_like = copy(d, json_text(from, "id_like")),
	};
}

static enum err_code decode_end(struct decode *d, const cJSON *end, struct err *e)
{
	struct summary *s = d->s;
	const char *diff_id = json_text(end, "diff_id");

	d->ended = true;
	if (!diff_id || !digest_parse(diff_id, &s->diff_id) || !json_size(end, "unpacked", &s->unpacked) ||
	    !json_size(end, "entries", &s->counts.entries) || !json_size(end, "bytes", &s->counts.bytes) ||
	    !json_size(end, "whiteouts", &s->counts.whiteouts) || !json_size(end, "opaques", &s->counts.opaques) ||
	    !json_size(end, "lower_links", &s->counts.lower_links))
		return bad(d, "the end lacks DiffID or counts", e);
	return ERR_OK;
}

static enum err_code decode_head(struct decode *d, const cJSON *line, struct err *e)
{
	uint64_t format;

	if (!json_size(line, "summary", &format) || !json_text(line, "analyzer"))
		return bad(d, "this is no summary document", e);
	if (format != SUMMARY_FORMAT)
		return ERR(e, ERR_UNSUPPORTED, "summary document: format %llu, this program knows %d",
		           (unsigned long long)format, SUMMARY_FORMAT);
	d->s->format = (int)format;
	d->s->analyzer = copy(d, json_text(line, "analyzer"));
	return ERR_OK;
}

static enum err_code decode_line(struct decode *d, const cJSON *line, struct err *e)
{
	const char *evidence;

	if (d->lines == 1)
		return decode_head(d, line, e);
	if (d->ended)
		return bad(d, "there is more after the end", e);
	if (json_object(line, "end"))
		return decode_end(d, json_object(line, "end"), e);
	evidence = copy_path(d, json_text(line, "evidence"));
	if (!evidence)
		return bad(d, "it names no evidence", e);
	if (json_array(line, "packages"))
		return decode_packages(d, line, evidence, e);
	if (json_array(line, "claims"))
		return decode_claims(d, line, evidence, e);
	if (json_text(line, "unparsed"))
		return decode_unparsed(d, line, evidence, e);
	if (!json_object(line, "distribution"))
		return bad(d, "it says nothing that is known", e);
	decode_distribution(d, line, evidence);
	return ERR_OK;
}

/* Calls see for each line; a last one without newline is ERR_CORRUPT. */
static enum err_code each_line(const char *bytes, size_t len, struct decode *d,
                               enum err_code (*see)(struct decode *d, const cJSON *line, struct err *e), struct err *e)
{
	const char *end = bytes + len, *newline;

	for (; bytes < end; bytes = newline + 1) {
		CLEANUP(json_cleanup) cJSON *line = NULL;

		d->lines++;
		d->bytes_left = (size_t)(end - bytes);
		newline = memchr(bytes, '\n', (size_t)(end - bytes));
		if (!newline)
			return bad(d, "it is cut off", e);
		TRY(json_parse(bytes, (size_t)(newline - bytes), SUMMARY_BYTES_MAX, "summary document", &line, e));
		TRY(see(d, line, e));
	}
	return ERR_OK;
}

enum err_code summary_decode(TALLOC_CTX *ctx, const char *bytes, size_t len, struct summary **out, struct err *e)
{
	struct decode d = {0};
	enum err_code code;

	if (len > SUMMARY_BYTES_MAX)
		return ERR(e, ERR_TOO_LARGE, "summary document: %zu bytes, %llu are the most", len,
		           (unsigned long long)SUMMARY_BYTES_MAX);
	d.s = talloc_zero(ctx, struct summary);
	ASSERT(d.s != NULL);
	code = each_line(bytes, len, &d, decode_line, e);
	if (code == ERR_OK && !d.ended)
		code = ERR(e, ERR_CORRUPT, "summary document: cut off after %zu lines", d.lines);
	if (code != ERR_OK) {
		talloc_free(d.s);
		return code;
	}
	*out = d.s;
	return ERR_OK;
}

struct rename {
	struct decode decode; /* first: each_line hands on its address */
	const char *cataloger, *evidence;
	struct buf *out;
};

static enum err_code rename_line(struct decode *d, const cJSON *line, struct err *e)
{
	struct rename *r = (struct rename *)d;
	const char *cataloger = json_text(line, "cataloger");
	CLEANUP(json_cleanup) cJSON *copied = NULL;
	char *text;

	(void)e;
	if (cataloger && strcmp(cataloger, r->cataloger) != 0)
		return ERR_OK;
	copied = cJSON_Duplicate(line, true);
	ASSERT(copied && cJSON_ReplaceItemInObjectCaseSensitive(copied, "evidence", cJSON_CreateString(r->evidence)));
	text = cJSON_PrintUnformatted(copied);
	ASSERT(text != NULL);
	buf_add_text(r->out, text);
	buf_add_char(r->out, '\n');
	cJSON_free(text);
	return ERR_OK;
}

enum err_code summary_rename(const char *lines, size_t len, const char *cataloger, const char *evidence,
                             struct buf *out, struct err *e)
{
	CLEANUP(buf_release) struct buf escaped;
	struct rename r = {.cataloger = cataloger, .out = out};

	buf_init(&escaped, 4 * FILES_PATH_MAX);
	files_escape(&escaped, evidence, strlen(evidence));
	if (buf_failed(&escaped))
		return ERR(e, ERR_TOO_LARGE, "a path of %zu bytes", strlen(evidence));
	r.evidence = escaped.bytes;
	return each_line(lines, len, &r.decode, rename_line, e);
}
