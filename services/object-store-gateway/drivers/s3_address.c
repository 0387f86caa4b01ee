#include "services/object-store-gateway/drivers/s3_address.h"

#include "common/http.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define BUCKET_MAX 255

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcasecmp(text + len - end_len, end) == 0;
}

/* s3.amazonaws.com, s3.REGION.amazonaws.com, s3-REGION.amazonaws.com; others have reasons of their own. */
static bool is_amazon(const char *host)
{
	return (strncasecmp(host, "s3.", 3) == 0 || strncasecmp(host, "s3-", 3) == 0) &&
	       (ends_with(host, ".amazonaws.com") || ends_with(host, ".amazonaws.com.cn")) &&
	       !strstr(host, "dualstack") && !strstr(host, "fips") && !strstr(host, "accelerate") &&
	       !strstr(host, "vpce");
}

static char *amazon_host(TALLOC_CTX *ctx, const char *region)
{
	return talloc_asprintf(ctx, "s3.%s.amazonaws.com%s", region, strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

static bool bucket_is_plausible(const char *bucket)
{
	size_t len = strlen(bucket);

	for (const char *c = bucket; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-._", *c))
			return false;
	return len > 0 && len <= BUCKET_MAX && bucket[0] != '.';
}

/* Lower case, digits and hyphens: a host name. A dot would not be covered by the endpoint's certificate. */
static bool bucket_is_host_label(const char *bucket)
{
	size_t len = strlen(bucket);

	for (const char *c = bucket; *c; c++)
		if (!islower((unsigned char)*c) && !isdigit((unsigned char)*c) && *c != '-')
			return false;
	return len >= 3 && len <= 63 && bucket[0] != '-' && bucket[len - 1] != '-';
}

/* Where http or https leaves the port out, so does the Host header, and that is signed. */
static char *authority_of(TALLOC_CTX *ctx, const struct http_origin *o)
{
	bool own = strcmp(o->port, strcasecmp(o->scheme, "https") == 0 ? "443" : "80") == 0;

	return talloc_asprintf(ctx, "%s%s%s", o->host, own ? "" : ":", own ? "" : o->port);
}

static enum err_code parse_url(struct s3_address *a, const char *url, struct err *e)
{
	const char *rest = strstr(url, "://");
	struct http_origin origin;
	size_t len;

	if (!rest || http_origin_parse(url, &origin, NULL) != ERR_OK)
		return ERR(e, ERR_INVALID, "url '%.200s' is not an http or https URL", url);
	if (strpbrk(url, "?#@"))
		return ERR(e, ERR_INVALID, "url '%.200s' has more than scheme, host, port and path", url);
	rest += 3 + strcspn(rest + 3, "/");
	len = strlen(rest);
	while (len > 0 && rest[len - 1] == '/')
		len--;
	a->path = talloc_strndup(a, rest, len);
	a->scheme = talloc_strdup(a, strcasecmp(origin.scheme, "https") == 0 ? "https" : "http");
	a->authority = authority_of(a, &origin);
	a->amazon = is_amazon(origin.host);
	return ERR_OK;
}

enum err_code s3_address_new(TALLOC_CTX *ctx, const char *url, const char *region, const char *bucket,
                             enum s3_style style, struct s3_address **out, struct err *e)
{
	struct s3_address *a = talloc_zero(ctx, struct s3_address);

	ASSERT(a);
	if (!bucket_is_plausible(bucket))
		return ERR(e, ERR_INVALID, "'%.100s' is no name of a bucket", bucket);
	if (url) {
		TRY(parse_url(a, url, e));
	} else {
		a->scheme = talloc_strdup(a, "https");
		a->authority = amazon_host(a, region);
		a->path = talloc_strdup(a, "");
		a->amazon = true;
	}
	a->bucket = talloc_strdup(a, bucket);
	a->host_style = style == S3_STYLE_HOST || (style == S3_STYLE_AUTO && a->amazon && bucket_is_host_label(bucket));
	ASSERT(a->scheme && a->authority && a->path && a->bucket);
	*out = a;
	return ERR_OK;
}

void s3_address_move(struct s3_address *a, const char *region)
{
	if (!a->amazon)
		return;
	talloc_free(a->authority);
	a->authority = amazon_host(a, region);
	ASSERT(a->authority);
}

/* As http_escape, but a slash stays one. */
static char *escape_key(TALLOC_CTX *ctx, const char *key)
{
	char *out = talloc_strdup(ctx, ""), *copy = talloc_strdup(ctx, key), *part;

	for (bool first = true; (part = strsep(&copy, "/")); first = false)
		out = talloc_asprintf_append(out, "%s%s", first ? "" : "/", http_escape(ctx, part));
	ASSERT(out);
	return out;
}

struct s3_target s3_address_target(TALLOC_CTX *ctx, const struct s3_address *a, const char *key, const char *query)
{
	struct s3_target t = {.scheme = talloc_strdup(ctx, a->scheme)};
	const char *escaped = key ? escape_key(ctx, key) : "";

	if (a->host_style) {
		t.host = talloc_asprintf(ctx, "%s.%s", a->bucket, a->authority);
		t.path = talloc_asprintf(ctx, "%s/%s", a->path, escaped);
	} else {
		t.host = talloc_strdup(ctx, a->authority);
		t.path = talloc_asprintf(ctx, "%s/%s%s%s", a->path, a->bucket, key ? "/" : "", escaped);
	}
	t.query = query ? talloc_strdup(ctx, query) : NULL;
	t.url = talloc_asprintf(ctx, "%s://%s%s%s%s", t.scheme, t.host, t.path, query ? "?" : "", query ? query : "");
	ASSERT(t.scheme && t.host && t.path && t.url);
	return t;
}

enum err_code s3_target_redirect(TALLOC_CTX *ctx, const struct s3_target *from, const char *location,
                                 struct s3_target *to, struct err *e)
{
	struct http_origin origin;
	const char *path;
	size_t len;

	if (strlen(location) > HTTP_URL_MAX || http_origin_parse(location, &origin, NULL) != ERR_OK ||
	    !strstr(location, "://") || strchr(location, '#') || strchr(location, '@'))
		return ERR(e, ERR_INTERNAL, "%s redirects to '%.100s', which is no http URL", from->host, location);
	if (strcmp(from->scheme, "https") == 0 && strcasecmp(origin.scheme, "https") != 0)
		return ERR(e, ERR_INTERNAL, "%s redirects from https to plain http at %s", from->host, origin.host);
	path = strstr(location, "://") + 3;
	path += strcspn(path, "/?");
	len = strcspn(path, "?");
	*to = (struct s3_target){
	    .scheme = talloc_strdup(ctx, strcasecmp(origin.scheme, "https") == 0 ? "https" : "http"),
	    .host = authority_of(ctx, &origin),
	    .path = len ? talloc_strndup(ctx, path, len) : talloc_strdup(ctx, "/"),
	    .query = path[len] ? talloc_strdup(ctx, path + len + 1) : NULL,
	};
	to->url = talloc_asprintf(ctx, "%s://%s%s%s%s", to->scheme, to->host, to->path, to->query ? "?" : "",
	                          to->query ? to->query : "");
	return ERR_OK;
}
