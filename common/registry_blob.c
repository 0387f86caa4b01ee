#include "common/registry_internal.h"

#include <stdlib.h>
#include <string.h>

/* So many bytes between two failures count as coming forward, and give the transfer its attempts back. */
#define PROGRESS_BYTES MIB

struct blob_stream {
	const char *what;
	uint64_t size, received; /* bytes due, and bytes that sink has seen */
	uint64_t skip;           /* bytes of this answer that sink has seen before */
	bool ended;              /* sink, or the blob itself, failed: no other attempt helps */
	registry_sink sink;
	void *arg;
};

static enum err_code corrupt(struct blob_stream *s, struct err *e, const char *how, uint64_t bytes)
{
	s->ended = true;
	return ERR(e, ERR_CORRUPT, "%s: the registry has %s %llu bytes, %llu are due", s->what, how,
	           (unsigned long long)bytes, (unsigned long long)s->size);
}

static bool read_number(const char **at, uint64_t *number)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*number = strtoull(*at, &end, 10);
	*at = end;
	return errno == 0;
}

/* "bytes first-last/total"; an asterisk in the place of the total leaves *total as it is. */
static bool parse_content_range(const char *text, uint64_t *first, uint64_t *total)
{
	uint64_t last;

	if (!text || strncmp(text, "bytes ", 6) != 0)
		return false;
	text += 6;
	if (!read_number(&text, first) || *text++ != '-' || !read_number(&text, &last) || *text++ != '/')
		return false;
	return *first <= last && (strcmp(text, "*") == 0 || (read_number(&text, total) && *text == '\0'));
}

/* Where in the blob does this answer start? 200: at the front, whatever was asked for. */
static enum err_code blob_begin(void *arg, const struct http_response *response, struct err *e)
{
	uint64_t first = 0, total;
	struct blob_stream *s = arg;
	SCRATCH_CTX(ctx);

	total = s->size;
	if (response->status == 206 &&
	    (!parse_content_range(http_header(ctx, response, "content-range"), &first, &total) ||
	     first > s->received)) {
		s->ended = true;
		return ERR(e, ERR_CORRUPT, "%s: the registry sends another range than it was asked for", s->what);
	}
	if (response->status == 200 && response->has_length)
		total = response->length;
	if (total != s->size)
		return corrupt(s, e, total > s->size ? "as many as" : "only", total);
	s->skip = s->received - first;
	return ERR_OK;
}

static enum err_code blob_bytes(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct blob_stream *s = arg;
	uint64_t skipped = MIN(s->skip, (uint64_t)len);
	enum err_code code;

	s->skip -= skipped;
	len -= (size_t)skipped;
	if (len == 0)
		return ERR_OK;
	if (len > s->size - s->received)
		return corrupt(s, e, "more than", s->received + len - 1);
	code = s->sink(s->arg, (const char *)bytes + skipped, len, e);
	s->ended = code != ERR_OK;
	s->received += len;
	return code;
}

/* A whole answer came, and still bytes are missing. Where the protocol marks the end of an answer, that is all there
 * is. */
static enum err_code short_answer(struct blob_stream *s, const struct http_response *response, struct err *e)
{
	SCRATCH_CTX(ctx);

	if (response->status == 200 &&
	    (http_header(ctx, response, "transfer-encoding") || strncmp(response->headers.bytes, "HTTP/2", 6) == 0))
		return corrupt(s, e, "only", s->received);
	return ERR(e, ERR_UNAVAILABLE, "%s: the registry stops after %llu of %llu bytes", s->what,
	           (unsigned long long)s->received, (unsigned long long)s->size);
}

static enum err_code attempt(struct registry *r, struct registry_request *request, struct blob_stream *s, struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	SCRATCH_CTX(ctx);
	const char *headers[] = {NULL, NULL};

	if (s->received > 0)
		headers[0] = talloc_asprintf(ctx, "Range: bytes=%llu-", (unsigned long long)s->received);
	request->headers = headers;
	if (registry_send(r, request, &response, e) != ERR_OK)
		return e->code;
	if (response.status == 416)
		return corrupt(s, e, "no more than", s->received);
	if (response.status != 200 && response.status != 206)
		return registry_status_error(&response, s->what, e);
	return s->received == s->size ? ERR_OK : short_answer(s, &response, e);
}

enum err_code registry_stream_blob(struct registry *r, const struct reference *reference, const struct descriptor *blob,
                                   registry_sink sink, void *arg, const struct patience *patience, struct err *e)
{
	struct retry retry = retry_start(&r->retry, patience);
	struct digest_text digest = digest_text(&blob->digest);
	struct blob_stream s = {.size = blob->size, .sink = sink, .arg = arg};
	uint64_t mark = 0;
	SCRATCH_CTX(ctx);
	struct registry_request request = {
	    .reference = reference,
	    .kind = "blobs",
	    .name = digest.text,
	    .begin = blob_begin,
	    .sink = blob_bytes,
	    .arg = &s,
	    .memory_max = HTTP_COMPLAINT_MAX,
	    .patience = patience,
	};
	struct err local;

	e = e ? e : &local;
	s.what = talloc_asprintf(ctx, "%s/%s blob %s", reference->registry, reference->repository, digest.text);
	while (attempt(r, &request, &s, e) != ERR_OK) {
		if (s.ended)
			return e->code;
		/* The connection broke after the last byte: nothing is missing. */
		if (s.received == s.size && s.size > 0)
			return ERR_OK;
		if (s.received - mark >= PROGRESS_BYTES) {
			retry_progress(&retry);
			mark = s.received;
		}
		if (!retry_again(&retry, e))
			return e->code;
	}
	return ERR_OK;
}

struct memory_sink {
	struct buf *bytes;
	const char *what;
};

static enum err_code keep(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct memory_sink *m = arg;

	buf_add(m->bytes, bytes, len);
	return buf_failed(m->bytes) ? ERR(e, ERR_EXHAUSTED, "%s: no memory for it", m->what) : ERR_OK;
}

enum err_code registry_get_blob(struct registry *r, const struct reference *reference, const struct descriptor *blob,
                                size_t max, const struct patience *patience, struct buf *bytes, struct err *e)
{
	struct digest_text digest = digest_text(&blob->digest);
	struct memory_sink sink = {.bytes = bytes, .what = digest.text};
	struct digest found;
	enum err_code code;

	if (blob->size > max)
		return ERR(e, ERR_TOO_LARGE, "%s/%s blob %s has %llu bytes, more than %zu", reference->registry,
		           reference->repository, digest.text, (unsigned long long)blob->size, max);
	buf_init(bytes, (size_t)blob->size);
	code = registry_stream_blob(r, reference, blob, keep, &sink, patience, e);
	if (code == ERR_OK) {
		found = digest_of(bytes->len ? bytes->bytes : "", bytes->len);
		if (digest_equal(&found, &blob->digest))
			return ERR_OK;
		code = ERR(e, ERR_CORRUPT, "%s/%s blob %s: what the registry has under this name is %s",
		           reference->registry, reference->repository, digest.text, digest_text(&found).text);
	}
	buf_release(bytes);
	return code;
}
