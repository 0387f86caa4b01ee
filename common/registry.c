#include "common/registry.h"

#include "common/registry_internal.h"

#include <string.h>

/* An index may point at an index; who nests deeper than this does not want to be understood. */
#define INDEX_DEPTH_MAX 3

/* One manifest or index as it came, on the caller's context. */
struct fetched {
	struct digest digest;
	const char *bytes, *content_type;
	size_t len;
	enum manifest_kind kind;
	bool platform_stated;
};

static int registry_destroy(struct registry *r)
{
	pthread_mutex_destroy(&r->lock);
	return 0;
}

static bool given(const char *text)
{
	return text && text[0];
}

static bool is_clean(const char *text)
{
	for (; text && *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			return false;
	return true;
}

static enum err_code check_options(const char *host, const struct registry_options *options, struct err *e)
{
	if (given(options->token) && given(options->user))
		return ERR(e, ERR_INVALID, "registry %s has both a token and a user", host);
	if (given(options->user) && strchr(options->user, ':'))
		return ERR(e, ERR_INVALID, "user of registry %s has a colon in the name", host);
	if (!is_clean(options->user) || !is_clean(options->password) || !is_clean(options->token))
		return ERR(e, ERR_INVALID, "credentials of registry %s hold a control character", host);
	return ERR_OK;
}

enum err_code registry_new(TALLOC_CTX *ctx, const char *host, const struct registry_options *options,
                           struct registry **out, struct err *e)
{
	const struct http_client_options http = {
	    .ca_file = options->ca_file,
	    .skip_verify = options->skip_verify,
	    .connect_ms = options->connect_ms,
	    .stall_ms = options->stall_ms,
	    .stall_bytes = options->stall_bytes,
	};
	const struct registry_auth_options auth = {
	    .registry = host, .user = options->user, .password = options->password, .token = options->token};
	struct reference named = {0};
	struct registry *r;

	TRY(check_options(host, options, e));
	if (strlen(host) > REFERENCE_REGISTRY_MAX)
		return ERR(e, ERR_INVALID, "'%.100s' is too long for the name of a registry", host);
	memcpy(named.registry, host, strlen(host) + 1);
	r = talloc_zero(ctx, struct registry);
	r->name = talloc_strdup(r, host);
	r->host = talloc_strdup(r, reference_host(&named));
	r->who = given(options->user)    ? talloc_asprintf(r, "user '%s'", options->user)
	         : given(options->token) ? "the owner of the token"
	                                 : "nobody";
	r->plain_allowed = options->insecure || http_host_is_loopback(r->host);
	r->retry = options->retry;
	pthread_mutex_init(&r->lock, NULL);
	talloc_set_destructor(r, registry_destroy);
	if (http_client_new(r, &http, &r->http, e) != ERR_OK) {
		talloc_free(r);
		return ERR_EXHAUSTED;
	}
	r->auth = registry_auth_new(r, r->http, &auth);
	*out = r;
	return ERR_OK;
}

static enum err_code attempt(struct registry *r, TALLOC_CTX *ctx, const struct registry_request *request,
                             const char *what, struct fetched *f, struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};

	TRY(registry_send(r, request, &response, e));
	if (response.status != 200)
		return registry_status_error(&response, what, e);
	if (response.body.len == 0)
		return ERR(e, ERR_CORRUPT, "%s: the registry sends an empty manifest", what);
	f->len = response.body.len;
	f->bytes = talloc_memdup(ctx, response.body.bytes, f->len);
	f->content_type = http_header(ctx, &response, "content-type");
	f->digest = digest_of(f->bytes, f->len);
	return ERR_OK;
}

/* by: a tag or a digest. want: what the content must hash to, or NULL. */
static enum err_code fetch(struct registry *r, TALLOC_CTX *ctx, const struct reference *reference, const char *by,
                           const struct digest *want, const struct patience *patience, struct fetched *f, struct err *e)
{
	struct retry retry = retry_start(&r->retry, patience);
	const char *accept[] = {talloc_asprintf(ctx, "Accept: %s", manifest_accept), NULL};
	const char *what =
	    talloc_asprintf(ctx, "%s/%s%c%s", reference->registry, reference->repository, want ? '@' : ':', by);
	const struct registry_request request = {
	    .reference = reference,
	    .kind = "manifests",
	    .name = by,
	    .headers = accept,
	    .memory_max = MANIFEST_SIZE_MAX,
	    .patience = patience,
	};
	enum err_code code;

	do {
		code = attempt(r, ctx, &request, what, f, e);
	} while (code != ERR_OK && retry_again(&retry, e));
	if (code != ERR_OK)
		return code;
	if (want && !digest_equal(want, &f->digest))
		return ERR(e, ERR_CORRUPT, "%s: what the registry has under this digest is %s", what,
		           digest_text(&f->digest).text);
	code = manifest_kind_of(f->bytes, f->len, f->content_type, &f->kind, e);
	return code == ERR_OK ? ERR_OK : err_wrap(e, "%s", what);
}

/* From an index to the manifest, or deeper index, that it has for the platform. */
static enum err_code descend(struct registry *r, TALLOC_CTX *ctx, const struct reference *reference,
                             const struct platform *platform, const struct patience *patience, struct fetched *f,
                             struct err *e)
{
	const struct manifest_entry *entry;
	struct manifest_index index;
	struct digest_text digest;

	TRY(manifest_index_parse(ctx, f->bytes, f->len, &index, e));
	TRY(manifest_index_choose(&index, platform, &entry, e));
	digest = digest_text(&entry->manifest.digest);
	TRY(fetch(r, ctx, reference, digest.text, &entry->manifest.digest, patience, f, e));
	f->platform_stated = entry->platform.os[0] != '\0';
	if (f->len != entry->manifest.size)
		return ERR(e, ERR_CORRUPT, "manifest %s has %zu bytes, the index says %llu", digest.text, f->len,
		           (unsigned long long)entry->manifest.size);
	return ERR_OK;
}

static enum err_code resolve(struct registry *r, TALLOC_CTX *ctx, const struct reference *reference,
                             const struct platform *platform, const struct patience *patience,
                             struct registry_image *image, struct err *e)
{
	bool pinned = !digest_is_none(&reference->digest);
	struct digest_text digest = digest_text(&reference->digest);
	struct fetched f = {0};

	TRY(fetch(r, ctx, reference, pinned ? digest.text : reference->tag, pinned ? &reference->digest : NULL,
	          patience, &f, e));
	image->digest = f.digest;
	if (f.kind == MANIFEST_KIND_INDEX)
		image->index_digest = f.digest;
	for (unsigned depth = 0; f.kind == MANIFEST_KIND_INDEX; depth++) {
		if (depth == INDEX_DEPTH_MAX)
			return ERR(e, ERR_TOO_LARGE, "indexes are nested deeper than %d", INDEX_DEPTH_MAX);
		TRY(descend(r, ctx, reference, platform, patience, &f, e));
	}
	image->manifest_digest = f.digest;
	image->platform_stated = f.platform_stated;
	image->manifest_bytes = f.bytes;
	image->manifest_len = f.len;
	return manifest_parse(ctx, f.bytes, f.len, &image->manifest, e);
}

enum err_code registry_resolve(struct registry *r, TALLOC_CTX *ctx, const struct reference *reference,
                               const struct platform *platform, const struct patience *patience,
                               struct registry_image *image, struct err *e)
{
	struct platform here = platform_default();
	SCRATCH_CTX(scratch);
	struct err local;
	char *name;

	e = e ? e : &local;
	*image = (struct registry_image){0};
	if (resolve(r, ctx, reference, platform ? platform : &here, patience, image, e) == ERR_OK)
		return ERR_OK;
	name = reference_print(scratch, reference);
	return strncmp(e->text, name, strlen(name)) == 0 ? e->code : err_wrap(e, "%.250s", name);
}
