/*
 * Listing. A container is listed in the order of names, which is the order of numbers (swift.h), a page at a time, each
 * page after the last name of the one before. Names that are not a chunk's are passed over. A back end that does not
 * keep to the order is refused: an audit would miss what it leaves out.
 *
 * A listing of Swift may lag behind: a chunk put a moment ago may be missing and one just removed may still stand in
 * it.
 */
#include "common/json.h"
#include "services/object-store-gateway/drivers/swift.h"

#include <inttypes.h>
#include <string.h>

#define PAGE_NAMES ((size_t)1000)
#define PAGE_MAX ((size_t)(4 * MIB))

struct page {
	const char *marker; /* names after this one */
	size_t limit;
	TALLOC_CTX *ctx; /* of names */
	char **names;
	size_t count;
};

/* json_parse wants an object around everything. */
static enum err_code parse_page(const struct http_response *response, cJSON **json, struct err *e)
{
	CLEANUP(buf_release) struct buf text = {.max = PAGE_MAX + 64};

	buf_add_text(&text, "{\"names\":");
	buf_add(&text, response->body.bytes, response->body.len);
	buf_add_text(&text, "}");
	if (buf_failed(&text))
		return ERR(e, ERR_EXHAUSTED, "no memory for a listing");
	if (json_parse(text.bytes, text.len, text.max, "the listing", json, NULL) != ERR_OK ||
	    !json_array(*json, "names"))
		return ERR(e, ERR_INTERNAL,
		           "the listing is not JSON as Swift has it: an answer that is not understood");
	return ERR_OK;
}

static enum err_code read_page(struct page *p, const cJSON *json, struct err *e)
{
	const char *last = p->marker;
	const cJSON *item;

	p->names = talloc_zero_array(p->ctx, char *, (size_t)cJSON_GetArraySize(json_array(json, "names")) + 1);
	ASSERT(p->names);
	p->count = 0;
	cJSON_ArrayForEach (item, json_array(json, "names")) {
		const char *name = json_text(item, "name");

		if (!name || strcmp(name, last) <= 0)
			return ERR(e, ERR_INTERNAL, "the listing has '%.100s' after '%.100s', which is not understood",
			           name ? name : "something without a name", last);
		last = p->names[p->count++] = talloc_strdup(p->ctx, name);
	}
	return ERR_OK;
}

static enum err_code page_once(struct swift *s, void *arg, struct err *e)
{
	static const char *const headers[] = {"Accept: application/json", NULL};
	SCRATCH_CTX(ctx);
	CLEANUP(http_response_release) struct http_response response = {0};
	CLEANUP(json_cleanup) cJSON *json = NULL;
	struct page *p = arg;
	const struct swift_request request = {
	    .method = "GET",
	    .path = swift_path(ctx, s, NULL),
	    .query = talloc_asprintf(ctx, "format=json&limit=%zu&prefix=%s&marker=%s", p->limit,
	                             http_escape(ctx, s->prefix), http_escape(ctx, p->marker)),
	    .headers = headers,
	    .memory_max = PAGE_MAX,
	};

	p->count = 0;
	TRY(swift_send(s, &request, &response, e));
	if (response.status == 204)
		return ERR_OK;
	if (response.status != 200)
		return swift_status_error(&response, e, "cannot list");
	TRY(parse_page(&response, &json, e));
	return read_page(p, json, e);
}

/* After every name that the number can have, whatever the digest. */
static char *marker_after(TALLOC_CTX *ctx, const struct swift *s, const struct location *after)
{
	char *marker = after ? swift_name(ctx, s, after) : talloc_strdup(ctx, s->prefix);

	if (after)
		*strrchr(marker, '-') = '~';
	return marker;
}

enum err_code swift_list(struct swift *s, const struct location *after, struct location *into, size_t max,
                         size_t *count, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct page p = {.marker = marker_after(ctx, s, after), .ctx = ctx};

	*count = 0;
	while (*count < max) {
		p.limit = MIN(max - *count, PAGE_NAMES);
		TRY(swift_retry(s, page_once, &p, e));
		if (!p.count)
			break;
		for (size_t i = 0; i < p.count && *count < max; i++)
			if (swift_parse_name(s, p.names[i], &into[*count]))
				++*count;
		p.marker = p.names[p.count - 1];
	}
	return ERR_OK;
}
