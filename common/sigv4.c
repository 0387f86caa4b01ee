#include "common/sigv4.h"

#include "common/digest.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct mac {
	uint8_t bytes[DIGEST_BYTES];
};

/* A header or a query parameter, both of which are signed in the order of their names. */
struct pair {
	const char *name, *value;
};

struct stamp {
	char day[9];   /* 20260131 */
	char time[17]; /* 20260131T235959Z */
};

static struct mac mac_of(const void *key, size_t key_len, const char *text)
{
	struct mac m;
	unsigned len = sizeof(m.bytes);

	ASSERT(HMAC(EVP_sha256(), key, (int)key_len, (const unsigned char *)text, strlen(text), m.bytes, &len));
	return m;
}

static struct digest_text hex_of_mac(const struct mac *m)
{
	struct digest d;

	memcpy(d.bytes, m->bytes, sizeof(d.bytes));
	return digest_hex(&d);
}

static struct stamp stamp_of(int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	struct stamp s;
	struct tm tm;

	ASSERT(gmtime_r(&seconds, &tm) && strftime(s.time, sizeof(s.time), "%Y%m%dT%H%M%SZ", &tm) == 16);
	memcpy(s.day, s.time, 8);
	s.day[8] = '\0';
	return s;
}

static int by_name(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : strcmp(x->value, y->value);
}

/* ---- the query, sorted, every parameter with an equals sign ---- */

static const char *canonical_query(TALLOC_CTX *ctx, const char *query)
{
	char *copy = talloc_strdup(ctx, query ? query : ""), *out = talloc_strdup(ctx, ""), *rest = copy, *word;
	struct pair *pairs = NULL;
	size_t count = 0;

	while ((word = strsep(&rest, "&"))) {
		char *equals = strchr(word, '=');

		if (!*word)
			continue;
		if (equals)
			*equals++ = '\0';
		pairs = talloc_realloc(ctx, pairs, struct pair, count + 1);
		ASSERT(pairs);
		pairs[count++] = (struct pair){word, equals ? equals : ""};
	}
	if (count)
		qsort(pairs, count, sizeof(*pairs), by_name);
	for (size_t i = 0; i < count; i++)
		out = talloc_asprintf_append(out, "%s%s=%s", i ? "&" : "", pairs[i].name, pairs[i].value);
	ASSERT(out);
	return out;
}

/* ---- headers: names in lower case, values without needless blanks, sorted ---- */

static char *tidy_value(TALLOC_CTX *ctx, const char *value)
{
	char *out = talloc_strdup(ctx, value), *to = out;

	ASSERT(out);
	for (const char *c = value; *c; c++) {
		bool blank = *c == ' ' || *c == '\t';

		if (!blank)
			*to++ = *c;
		else if (to > out && to[-1] != ' ')
			*to++ = ' ';
	}
	if (to > out && to[-1] == ' ')
		to--;
	*to = '\0';
	return out;
}

static struct pair parse_header(TALLOC_CTX *ctx, const char *line)
{
	size_t len = strcspn(line, ":");
	char *name = talloc_strndup(ctx, line, len);

	ASSERT(name && line[len] == ':');
	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return (struct pair){name, tidy_value(ctx, line + len + 1)};
}

struct header_block {
	char *lines; /* "name:value\n" for each */
	char *names; /* "name;name" */
};

/* Values of one name stand in one line, in the order in which they are sent. */
static struct header_block canonical_headers(TALLOC_CTX *ctx, const char *host, const char *const *headers)
{
	struct header_block block = {talloc_strdup(ctx, ""), talloc_strdup(ctx, "")};
	struct pair *pairs;
	size_t count = 0;

	while (headers[count])
		count++;
	pairs = talloc_array(ctx, struct pair, count + 1);
	ASSERT(pairs);
	pairs[0] = (struct pair){"host", host};
	for (size_t i = 1; i <= count; i++) {
		struct pair pair = parse_header(ctx, headers[i - 1]);
		size_t at = i;

		for (; at > 0 && strcmp(pairs[at - 1].name, pair.name) > 0; at--)
			pairs[at] = pairs[at - 1];
		pairs[at] = pair;
	}
	for (size_t i = 0; i <= count; i++) {
		bool again = i > 0 && strcmp(pairs[i].name, pairs[i - 1].name) == 0;

		if (again)
			block.lines[strlen(block.lines) - 1] = ',';
		block.lines = talloc_asprintf_append(block.lines, "%s%s%s\n", again ? "" : pairs[i].name,
		                                     again ? "" : ":", pairs[i].value);
		if (!again)
			block.names = talloc_asprintf_append(block.names, "%s%s", i ? ";" : "", pairs[i].name);
		ASSERT(block.lines && block.names);
	}
	return block;
}

static const char **all_headers(TALLOC_CTX *ctx, const struct sigv4_key *key, const struct sigv4_request *request,
                                const struct stamp *stamp)
{
	size_t count = 0;
	const char **all;

	while (request->headers && request->headers[count])
		count++;
	all = talloc_zero_array(ctx, const char *, count + 4);
	ASSERT(all);
	if (count)
		memcpy(all, request->headers, count * sizeof(*all));
	all[count++] = talloc_asprintf(all, "X-Amz-Date: %s", stamp->time);
	if (strcmp(request->service, "s3") == 0)
		all[count++] = talloc_asprintf(all, "X-Amz-Content-Sha256: %s", request->payload);
	if (key->token && key->token[0])
		all[count++] = talloc_asprintf(all, "X-Amz-Security-Token: %s", key->token);
	return all;
}

/* The secret is never used itself: day, region, service make a key from it that is good for these alone. */
static struct mac signing_key(TALLOC_CTX *ctx, const struct sigv4_key *key, const struct sigv4_request *request,
                              const struct stamp *stamp)
{
	char *start = talloc_asprintf(ctx, "AWS4%s", key->secret_key);
	struct mac m;

	ASSERT(start);
	m = mac_of(start, strlen(start), stamp->day);
	m = mac_of(m.bytes, sizeof(m.bytes), request->region);
	m = mac_of(m.bytes, sizeof(m.bytes), request->service);
	m = mac_of(m.bytes, sizeof(m.bytes), "aws4_request");
	OPENSSL_cleanse(start, strlen(start));
	return m;
}

struct sigv4_signed sigv4_sign(TALLOC_CTX *ctx, const struct sigv4_key *key, const struct sigv4_request *request)
{
	SCRATCH_CTX(scratch);
	struct stamp stamp = stamp_of(request->wall_ms);
	struct sigv4_signed result = {.headers = all_headers(ctx, key, request, &stamp)};
	struct header_block block = canonical_headers(scratch, request->host, result.headers);
	const char *scope, *canonical, *to_sign;
	struct mac derived = signing_key(scratch, key, request, &stamp), signature;
	struct digest hash;

	scope = talloc_asprintf(scratch, "%s/%s/%s/aws4_request", stamp.day, request->region, request->service);
	canonical =
	    talloc_asprintf(scratch, "%s\n%s\n%s\n%s\n%s\n%s", request->method, request->path,
	                    canonical_query(scratch, request->query), block.lines, block.names, request->payload);
	ASSERT(scope && canonical);
	hash = digest_of(canonical, strlen(canonical));
	to_sign = talloc_asprintf(scratch, "AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp.time, scope, digest_hex(&hash).text);
	ASSERT(to_sign);
	signature = mac_of(derived.bytes, sizeof(derived.bytes), to_sign);
	result.authorization = talloc_asprintf(ctx, "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
	                                       key->access_key, scope, block.names, hex_of_mac(&signature).text);
	ASSERT(result.authorization);
	return result;
}
