#include "common/reference.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define DOCKER_HUB "docker.io"
#define DOCKER_HUB_HOST "registry-1.docker.io"

/* A part of the text that is being parsed. */
struct span {
	const char *at;
	size_t len;
};

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

/* Texts of users are quoted up to a length, so that what is wrong with them still fits behind. */
#define QUOTED "reference '%.160s'"

/* host: labels of letters, digits and inner hyphens, with dots between them. */
static bool host_is_valid(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];
		bool edge = i == 0 || i + 1 == s.len || s.at[i - 1] == '.' || s.at[i + 1] == '.';

		if (!is_alnum(c) && (edge || (c != '-' && c != '.')))
			return false;
	}
	return s.len > 0;
}

static bool ipv6_is_valid(struct span s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (s.len < 3 || s.len - 2 >= sizeof(text) || s.at[0] != '[' || s.at[s.len - 1] != ']')
		return false;
	memcpy(text, s.at + 1, s.len - 2);
	text[s.len - 2] = '\0';
	return inet_pton(AF_INET6, text, &address) == 1;
}

static bool port_is_valid(struct span s)
{
	unsigned port = 0;

	if (s.len == 0 || s.len > 5 || s.at[0] == '0')
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_digit(s.at[i]))
			return false;
		port = port * 10 + (unsigned)(s.at[i] - '0');
	}
	return port > 0 && port <= 65535;
}

static enum err_code parse_registry(const char *text, struct span s, struct reference *r, struct err *e)
{
	struct span host = s;
	const char *colon = memrchr(s.at, ':', s.len), *bracket = memrchr(s.at, ']', s.len);

	if (s.len > REFERENCE_REGISTRY_MAX)
		return ERR(e, ERR_INVALID, QUOTED ": host is longer than %d characters", text, REFERENCE_REGISTRY_MAX);
	if (colon && (!bracket || colon > bracket)) {
		struct span port = {colon + 1, s.len - (size_t)(colon + 1 - s.at)};

		host.len = (size_t)(colon - s.at);
		if (!port_is_valid(port))
			return ERR(e, ERR_INVALID, QUOTED ": '%.*s' is not a port", text, (int)port.len, port.at);
	}
	if (!host_is_valid(host) && !ipv6_is_valid(host))
		return ERR(e, ERR_INVALID, QUOTED ": '%.*s' is not a host name", text, (int)host.len, host.at);
	for (size_t i = 0; i < s.len; i++)
		r->registry[i] = (char)(s.at[i] >= 'A' && s.at[i] <= 'Z' ? s.at[i] - 'A' + 'a' : s.at[i]);
	r->registry[s.len] = '\0';
	if (strcmp(r->registry, "index.docker.io") == 0 || strcmp(r->registry, DOCKER_HUB_HOST) == 0)
		memcpy(r->registry, DOCKER_HUB, sizeof(DOCKER_HUB));
	return ERR_OK;
}

/* The length of a separator inside a component: ".", "_", "__" or any number of "-"; 0: none of these. */
static size_t separator_len(const char *at)
{
	if (*at == '.')
		return 1;
	if (*at == '_')
		return at[1] == '_' ? 2 : 1;
	return strspn(at, "-");
}

/* component: runs of lower-case letters and digits, with one separator between two of them. */
static bool component_is_valid(struct span s)
{
	const char *at = s.at, *end = s.at + s.len;

	while (at < end && (is_lower(*at) || is_digit(*at))) {
		while (at < end && (is_lower(*at) || is_digit(*at)))
			at++;
		if (at == end)
			return true;
		at += separator_len(at);
	}
	return false;
}

static enum err_code parse_repository(const char *text, struct span s, struct reference *r, struct err *e)
{
	bool official = strcmp(r->registry, DOCKER_HUB) == 0 && !memchr(s.at, '/', s.len);
	size_t before = official ? strlen("library/") : 0;

	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] >= 'A' && s.at[i] <= 'Z')
			return ERR(e, ERR_INVALID, QUOTED ": a repository is written in lower case", text);
	if (s.len + before > REFERENCE_REPOSITORY_MAX)
		return ERR(e, ERR_INVALID, QUOTED ": repository is longer than %d characters", text,
		           REFERENCE_REPOSITORY_MAX);
	for (size_t i = 0; i <= s.len;) {
		const char *slash = memchr(s.at + i, '/', s.len - i);
		struct span part = {s.at + i, slash ? (size_t)(slash - s.at) - i : s.len - i};

		if (!component_is_valid(part))
			return ERR(e, ERR_INVALID, QUOTED ": '%.*s' is not a repository name", text,
			           (int)MIN(part.len, 99u), part.at);
		i += part.len + 1;
	}
	memcpy(r->repository, "library/", before);
	memcpy(r->repository + before, s.at, s.len);
	r->repository[before + s.len] = '\0';
	return ERR_OK;
}

static enum err_code parse_tag(const char *text, struct span s, struct reference *r, struct err *e)
{
	if (s.len == 0)
		return ERR(e, ERR_INVALID, QUOTED ": nothing after the colon where a tag is due", text);
	if (s.len > REFERENCE_TAG_MAX)
		return ERR(e, ERR_INVALID, QUOTED ": tag is longer than %d characters", text, REFERENCE_TAG_MAX);
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.at[i]) && s.at[i] != '_' && (i == 0 || (s.at[i] != '.' && s.at[i] != '-')))
			return ERR(e, ERR_INVALID, QUOTED ": '%.*s' is not a tag", text, (int)s.len, s.at);
	memcpy(r->tag, s.at, s.len);
	r->tag[s.len] = '\0';
	return ERR_OK;
}

static enum err_code parse_digest(const char *text, const char *at, struct reference *r, struct err *e)
{
	if (strncmp(at, "sha256:", 7) != 0)
		return ERR(e, ERR_INVALID, QUOTED ": '%.80s' is not a digest of the form sha256:<64 hex digits>", text,
		           at);
	if (!digest_parse(at, &r->digest))
		return ERR(e, ERR_INVALID, QUOTED ": sha256 is not followed by 64 lower-case hex digits", text);
	if (digest_is_none(&r->digest))
		return ERR(e, ERR_INVALID, QUOTED ": a digest of nothing but zeros is none", text);
	return ERR_OK;
}

static enum err_code parse_scheme(const char *text, struct reference *r, const char **rest, struct err *e)
{
	const char *end = strstr(text, "://");

	*rest = end ? end + 3 : text;
	if (!end)
		return ERR_OK;
	if (end - text == 5 && strncasecmp(text, "https", 5) == 0)
		r->scheme = REFERENCE_SCHEME_HTTPS;
	else if (end - text == 4 && strncasecmp(text, "http", 4) == 0)
		r->scheme = REFERENCE_SCHEME_HTTP;
	else
		return ERR(e, ERR_INVALID, QUOTED ": before :// only http and https are understood", text);
	return ERR_OK;
}

static bool names_host(struct span first)
{
	return memchr(first.at, '.', first.len) || memchr(first.at, ':', first.len) ||
	       (first.len == 9 && strncasecmp(first.at, "localhost", 9) == 0);
}

static enum err_code add_port(const char *text, struct reference *r, struct err *e)
{
	const char *port = r->scheme == REFERENCE_SCHEME_HTTP ? ":80" : ":443";
	size_t len = strlen(r->registry);

	if (len + strlen(port) > REFERENCE_REGISTRY_MAX)
		return ERR(e, ERR_INVALID, QUOTED ": host is longer than %d characters", text, REFERENCE_REGISTRY_MAX);
	memcpy(r->registry + len, port, strlen(port) + 1);
	return ERR_OK;
}

/* Takes the host off the front of *name, or puts in the default one. */
static enum err_code split_registry(const char *text, struct span *name, struct reference *r, struct err *e)
{
	const char *slash = memchr(name->at, '/', name->len);
	struct span first = {name->at, slash ? (size_t)(slash - name->at) : 0};

	if (r->scheme != REFERENCE_SCHEME_ANY && !slash)
		return ERR(e, ERR_INVALID, QUOTED ": no repository after the host", text);
	if (!slash || (r->scheme == REFERENCE_SCHEME_ANY && !names_host(first))) {
		memcpy(r->registry, DOCKER_HUB, sizeof(DOCKER_HUB));
		return ERR_OK;
	}
	*name = (struct span){slash + 1, name->len - first.len - 1};
	TRY(parse_registry(text, first, r, e));
	/* "http://host/app" must not be read back as docker.io/host/app from its canonical form. */
	if (!names_host((struct span){r->registry, strlen(r->registry)}))
		return add_port(text, r, e);
	return ERR_OK;
}

enum err_code reference_parse(const char *text, struct reference *r, struct err *e)
{
	const char *at, *digest, *slash, *colon;
	struct span name;

	*r = (struct reference){0};
	if (!text[0])
		return ERR(e, ERR_INVALID, "an empty text is not an image reference");
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 127)
			return ERR(e, ERR_INVALID, "reference has character 0x%02x at position %zu", (unsigned char)*c,
			           (size_t)(c - text));
	TRY(parse_scheme(text, r, &at, e));
	digest = strchr(at, '@');
	if (digest)
		TRY(parse_digest(text, digest + 1, r, e));
	name = (struct span){at, digest ? (size_t)(digest - at) : strlen(at)};
	slash = memrchr(name.at, '/', name.len);
	colon = memrchr(name.at, ':', name.len);
	if (colon && (!slash || colon > slash)) {
		TRY(parse_tag(text, (struct span){colon + 1, name.len - (size_t)(colon + 1 - name.at)}, r, e));
		name.len = (size_t)(colon - name.at);
	}
	TRY(split_registry(text, &name, r, e));
	TRY(parse_repository(text, name, r, e));
	if (!r->tag[0] && !digest)
		memcpy(r->tag, "latest", sizeof("latest"));
	return ERR_OK;
}

char *reference_print(TALLOC_CTX *ctx, const struct reference *r)
{
	bool pinned = !digest_is_none(&r->digest);

	return talloc_asprintf(ctx, "%s/%s%s%s%s%s", r->registry, r->repository, r->tag[0] ? ":" : "", r->tag,
	                       pinned ? "@" : "", pinned ? digest_text(&r->digest).text : "");
}

char *reference_print_source(TALLOC_CTX *ctx, const struct reference *r)
{
	static const char *const schemes[] = {"", "http://", "https://"};
	char *name = reference_print(ctx, r);
	char *text = talloc_asprintf(ctx, "%s%s", schemes[r->scheme], name);

	talloc_free(name);
	return text;
}

void reference_pin(struct reference *r, const struct digest *digest)
{
	r->digest = *digest;
}

const char *reference_host(const struct reference *r)
{
	return strcmp(r->registry, DOCKER_HUB) == 0 ? DOCKER_HUB_HOST : r->registry;
}
