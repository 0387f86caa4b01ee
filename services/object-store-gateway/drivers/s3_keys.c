/*
 * Requests about many keys: a page of a listing, a removal of up to a thousand. A removal of more than some is several
 * requests at once (spread.h): servers differ in how many of a request's keys they see to at a time, down to one.
 */
#include "services/object-store-gateway/drivers/s3_conn.h"
#include "services/object-store-gateway/drivers/s3_xml.h"
#include "services/object-store-gateway/drivers/spread.h"

#include "common/buf.h"

#include <openssl/evp.h>
#include <string.h>

#define MANY 1000 /* keys that one request may name, and one page holds */
#define PAGE_BYTES (8 * MIB)

/* ---- removal ---- */

static enum err_code remove_one(struct driver_conn *c, const char *key, struct err *e)
{
	const struct s3_call call = {.what = "delete", .method = "DELETE", .key = key};
	struct s3_answer answer;
	enum err_code code = s3_send(c->client, &call, &answer, e);

	if (s3_refusal_is(&answer.refusal, "NoSuchKey"))
		code = ERR_OK;
	s3_answer_release(&answer);
	return code;
}

static enum err_code remove_each(struct driver_conn *c, char *const *keys, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		TRY(remove_one(c, keys[i], e));
	return ERR_OK;
}

static void add_escaped(struct buf *b, const char *text)
{
	for (; *text; text++) {
		if (*text == '&')
			buf_add_text(b, "&amp;");
		else if (*text == '<')
			buf_add_text(b, "&lt;");
		else if (*text == '>')
			buf_add_text(b, "&gt;");
		else
			buf_add_char(b, *text);
	}
}

static void write_order(struct buf *b, char *const *keys, size_t count)
{
	buf_add_text(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
	                "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
	for (size_t i = 0; i < count; i++) {
		buf_add_text(b, "<Object><Key>");
		add_escaped(b, keys[i]);
		buf_add_text(b, "</Key></Object>");
	}
	buf_add_text(b, "</Delete>");
}

/* This one request needs it, with every server. */
static char *content_md5(TALLOC_CTX *ctx, const struct buf *body)
{
	unsigned char md5[EVP_MAX_MD_SIZE], text[2 * EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (!EVP_Digest(body->bytes, body->len, md5, &len, EVP_md5(), NULL))
		return NULL;
	EVP_EncodeBlock(text, md5, (int)len);
	return talloc_asprintf(ctx, "Content-MD5: %s", (const char *)text);
}

struct verdict {
	TALLOC_CTX *ctx;
	char *key, *code; /* of the entry that is being read */
	char **left;      /* keys that the server could not remove */
	size_t left_count, left_max;
	bool whole;
};

static enum err_code on_verdict(void *arg, const char *path, const char *text, struct err *e)
{
	struct verdict *v = arg;

	if (strcmp(path, "DeleteResult/Error/Key") == 0) {
		v->key = talloc_strdup(v->ctx, text);
	} else if (strcmp(path, "DeleteResult/Error/Code") == 0) {
		v->code = talloc_strdup(v->ctx, text);
	} else if (strcmp(path, "DeleteResult/Error") == 0) {
		if (!v->key || v->left_count == v->left_max)
			return ERR(e, ERR_INTERNAL, "an answer with errors about nothing that was asked");
		if (!v->code || strcmp(v->code, "NoSuchKey") != 0)
			v->left[v->left_count++] = v->key;
		v->key = v->code = NULL;
	} else if (strcmp(path, "DeleteResult") == 0) {
		v->whole = true;
	}
	return ERR_OK;
}

static enum err_code read_verdict(struct verdict *v, const struct http_response *response, char *const *keys,
                                  size_t count, struct err *e)
{
	v->left = talloc_array(v->ctx, char *, count);
	v->left_max = count;
	ASSERT(v->left);
	if (s3_xml_read(response->body.bytes, response->body.len, on_verdict, v, NULL) == ERR_OK && v->whole) {
		for (size_t i = 0; i < v->left_count; i++) {
			bool ours = false;

			for (size_t k = 0; k < count && !ours; k++)
				ours = strcmp(v->left[i], keys[k]) == 0;
			if (!ours)
				return ERR(e, ERR_INTERNAL, "delete of %zu: the answer is about %.100s", count,
				           v->left[i]);
		}
		return ERR_OK;
	}
	/* Who knows what it did: ask for each. */
	memcpy(v->left, keys, count * sizeof(*keys));
	v->left_count = count;
	return ERR_OK;
}

/* Single requests have repeats, and errors with a meaning: they settle what the server left undone. */
static enum err_code remove_many(struct driver_conn *c, char *const *keys, size_t count, struct err *e)
{
	CLEANUP(buf_release) struct buf body;
	SCRATCH_CTX(ctx);
	const char *headers[] = {"Content-Type: application/xml", NULL, NULL};
	struct verdict verdict = {.ctx = ctx};
	struct s3_answer answer;
	struct s3_call call = {
	    .what = "delete many", .method = "POST", .query = "delete=", .headers = headers, .memory_max = PAGE_BYTES};
	enum err_code code;

	buf_init(&body, PAGE_BYTES);
	write_order(&body, keys, count);
	headers[1] = content_md5(ctx, &body);
	if (buf_failed(&body) || !headers[1])
		return remove_each(c, keys, count, e);
	call.body = body.bytes;
	call.body_len = body.len;
	code = s3_send(c->client, &call, &answer, e);
	if (code == ERR_OK)
		code = read_verdict(&verdict, &answer.response, keys, count, e);
	s3_answer_release(&answer);
	/* Servers that do not know this request say so in various ways. */
	if (code == ERR_UNSUPPORTED || code == ERR_INTERNAL) {
		atomic_store(&c->no_multi_delete, true);
		return remove_each(c, keys, count, e);
	}
	TRY(code);
	return remove_each(c, verdict.left, verdict.left_count, e);
}

struct removal {
	struct driver_conn *conn;
	char *const *keys;
	size_t count, share;
};

static enum err_code remove_share(void *arg, size_t part, struct err *e)
{
	const struct removal *r = arg;
	char *const *keys = r->keys + part * r->share;
	size_t count = MIN(r->count - part * r->share, r->share);

	if (count == 1 || atomic_load(&r->conn->no_multi_delete))
		return remove_each(r->conn, keys, count, e);
	return remove_many(r->conn, keys, count, e);
}

enum err_code s3_keys_remove(struct driver_conn *c, char *const *keys, size_t count, struct err *e)
{
	struct removal r = {c, keys, count, atomic_load(&c->no_multi_delete) ? 1 : spread_share(count, MANY)};

	return spread((count + r.share - 1) / r.share, remove_share, &r, e);
}

/* ---- listing ---- */

struct page {
	TALLOC_CTX *ctx;
	const char *prefix;
	s3_key_visit visit;
	void *arg;
	size_t seen;
	bool whole, more;
	char *next;
};

static enum err_code on_page(void *arg, const char *path, const char *text, struct err *e)
{
	struct page *p = arg;

	(void)e;
	if (strcmp(path, "ListBucketResult/Contents/Key") == 0) {
		p->seen++;
		if (strncmp(text, p->prefix, strlen(p->prefix)) == 0)
			p->visit(p->arg, text);
	} else if (strcmp(path, "ListBucketResult/IsTruncated") == 0) {
		p->more = strcmp(text, "true") == 0;
	} else if (strcmp(path, "ListBucketResult/NextContinuationToken") == 0) {
		p->next = talloc_strdup(p->ctx, text);
	} else if (strcmp(path, "ListBucketResult") == 0) {
		p->whole = true;
	}
	return ERR_OK;
}

enum err_code s3_keys_page(struct driver_conn *c, TALLOC_CTX *ctx, const char *prefix, const char *from, unsigned max,
                           s3_key_visit visit, void *arg, char **next, struct err *e)
{
	struct page page = {.ctx = ctx, .prefix = prefix, .visit = visit, .arg = arg};
	char *query = talloc_asprintf(ctx, "list-type=2&max-keys=%u&prefix=%s%s%s", MIN(max, (unsigned)MANY),
	                              http_escape(ctx, prefix), from ? "&continuation-token=" : "",
	                              from ? http_escape(ctx, from) : "");
	const struct s3_call call = {.what = "list", .method = "GET", .query = query, .memory_max = PAGE_BYTES};
	struct s3_answer answer;
	enum err_code code;

	code = s3_send(c->client, &call, &answer, e);
	if (code == ERR_OK &&
	    (s3_xml_read(answer.response.body.bytes, answer.response.body.len, on_page, &page, NULL) != ERR_OK ||
	     !page.whole))
		code = ERR(e, ERR_INTERNAL, "list: the answer is not understood");
	s3_answer_release(&answer);
	TRY(code);
	if (page.more && (!page.next || !page.seen || (from && strcmp(from, page.next) == 0)))
		return ERR(e, ERR_INTERNAL, "list: the server says that there is more, but not where");
	*next = page.more ? page.next : NULL;
	return ERR_OK;
}
