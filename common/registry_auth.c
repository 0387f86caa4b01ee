#include "common/registry_auth.h"

#include "common/clock.h"
#include "common/json.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#define TOKENS_KEPT 16
#define TOKEN_SIZE_MAX (64 * KIB)
#define TOKEN_ANSWER_MAX (1 * MIB)
#define TOKEN_DEFAULT_S 60 /* what the specification says when the server does not */
#define TOKEN_LONGEST_S 86400
#define TOKEN_MARGIN_MS 5000

struct token {
	char *repository, *value; /* NULL: free slot */
	int64_t expires_ms;       /* clock_monotonic_ms() */
};

struct registry_auth {
	struct http_client *http;
	const char *registry, *user, *password, *token;
	pthread_mutex_t lock; /* guards what follows, and talloc children of this */
	bool basic;           /* the registry asked for it */
	struct token tokens[TOKENS_KEPT];
};

static int auth_destroy(struct registry_auth *auth)
{
	pthread_mutex_destroy(&auth->lock);
	return 0;
}

static const char *copy_unless_empty(TALLOC_CTX *ctx, const char *text)
{
	return text && text[0] ? talloc_strdup(ctx, text) : NULL;
}

struct registry_auth *registry_auth_new(TALLOC_CTX *ctx, struct http_client *http,
                                        const struct registry_auth_options *options)
{
	struct registry_auth *auth = talloc_zero(ctx, struct registry_auth);

	auth->http = http;
	auth->registry = talloc_strdup(auth, options->registry);
	auth->user = copy_unless_empty(auth, options->user);
	auth->password = talloc_strdup(auth, options->password ? options->password : "");
	auth->token = copy_unless_empty(auth, options->token);
	pthread_mutex_init(&auth->lock, NULL);
	talloc_set_destructor(auth, auth_destroy);
	return auth;
}

/* With the lock held. */
static struct token *find_token(struct registry_auth *auth, const char *repository)
{
	for (size_t i = 0; i < TOKENS_KEPT; i++)
		if (auth->tokens[i].repository && strcmp(auth->tokens[i].repository, repository) == 0)
			return &auth->tokens[i];
	return NULL;
}

char *registry_auth_header(struct registry_auth *auth, TALLOC_CTX *ctx, const char *repository)
{
	char *header = NULL;
	struct token *token;

	if (auth->token)
		return talloc_asprintf(ctx, "Bearer %s", auth->token);
	pthread_mutex_lock(&auth->lock);
	token = find_token(auth, repository);
	if (auth->basic)
		header = http_basic(ctx, auth->user, auth->password);
	else if (token && token->expires_ms > clock_monotonic_ms())
		header = talloc_asprintf(ctx, "Bearer %s", token->value);
	pthread_mutex_unlock(&auth->lock);
	return header;
}

/* In the place of the repository's old token, else of the one that ends first. */
static void keep_token(struct registry_auth *auth, const char *repository, const char *value, int64_t expires_ms)
{
	struct token *slot;

	pthread_mutex_lock(&auth->lock);
	slot = find_token(auth, repository);
	for (size_t i = 0; !slot && i < TOKENS_KEPT; i++)
		if (!auth->tokens[i].repository)
			slot = &auth->tokens[i];
	if (!slot) {
		slot = &auth->tokens[0];
		for (size_t i = 1; i < TOKENS_KEPT; i++)
			if (auth->tokens[i].expires_ms < slot->expires_ms)
				slot = &auth->tokens[i];
	}
	talloc_free(slot->repository);
	talloc_free(slot->value);
	slot->repository = talloc_strdup(auth, repository);
	slot->value = talloc_strdup(auth, value);
	slot->expires_ms = expires_ms;
	pthread_mutex_unlock(&auth->lock);
}

/* Credentials, and tokens made from them, travel in the clear only where the registry's own traffic does. */
static enum err_code check_realm(const struct registry_auth *auth, const char *realm, const char *base_url,
                                 struct err *e)
{
	struct http_origin server, registry;

	if (http_origin_parse(realm, &server, NULL) != ERR_OK)
		return ERR(e, ERR_CORRUPT, "registry %s names '%.200s' as its token server", auth->registry, realm);
	TRY(http_origin_parse(base_url, &registry, e));
	if (strcasecmp(server.scheme, "https") == 0)
		return ERR_OK;
	if (strcasecmp(registry.scheme, "http") == 0 && strcasecmp(server.host, registry.host) == 0)
		return ERR_OK;
	return ERR(e, ERR_FORBIDDEN, "registry %s wants credentials sent in plain http to %s:%s, which is not done",
	           auth->registry, server.host, server.port);
}

static char *token_url(TALLOC_CTX *ctx, const struct challenge *c, const char *user, const char *repository)
{
	char *url = talloc_asprintf(ctx, "%s%cclient_id=stowage", c->realm, strchr(c->realm, '?') ? '&' : '?');
	const char *scope = c->scope[0] ? c->scope : talloc_asprintf(ctx, "repository:%s:pull", repository);

	if (c->service[0])
		url = talloc_asprintf_append(url, "&service=%s", http_escape(ctx, c->service));
	if (user)
		url = talloc_asprintf_append(url, "&account=%s", http_escape(ctx, user));
	while (*scope) {
		size_t len = strcspn(scope, " ");

		if (len > 0)
			url =
			    talloc_asprintf_append(url, "&scope=%s", http_escape(ctx, talloc_strndup(ctx, scope, len)));
		scope += len + strspn(scope + len, " ");
	}
	return url;
}

static bool token_is_clean(const char *token)
{
	for (const char *c = token; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return token[0] && strlen(token) <= TOKEN_SIZE_MAX;
}

static enum err_code read_token(struct registry_auth *auth, TALLOC_CTX *ctx, const char *repository,
                                const struct buf *body, int64_t asked_ms, const char **header, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	uint64_t seconds = TOKEN_DEFAULT_S;
	const char *token;

	if (json_parse(body->bytes, body->len, TOKEN_ANSWER_MAX, "answer of the token server", &json, e) != ERR_OK)
		return err_wrap(e, "registry %s", auth->registry);
	token = json_text(json, "token");
	if (!token || !token[0])
		token = json_text(json, "access_token");
	if (!token || !token_is_clean(token))
		return ERR(e, ERR_CORRUPT, "registry %s: token server gives no usable token", auth->registry);
	if (json_size(json, "expires_in", &seconds))
		seconds = MIN(seconds, (uint64_t)TOKEN_LONGEST_S);
	/* A short-lived token is used for what its life allows; at the worst it costs one more 401. */
	keep_token(auth, repository, token,
	           asked_ms + (int64_t)seconds * 1000 - MIN(TOKEN_MARGIN_MS, (int64_t)seconds * 100));
	*header = talloc_asprintf(ctx, "Bearer %s", token);
	return ERR_OK;
}

static enum err_code fetch_token(struct registry_auth *auth, TALLOC_CTX *ctx, const char *repository,
                                 const struct challenge *c, const struct patience *patience, const char **header,
                                 struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	int64_t asked_ms = clock_monotonic_ms();
	const struct http_request request = {
	    .method = "GET",
	    .url = token_url(ctx, c, auth->user, repository),
	    .authorization = auth->user ? http_basic(ctx, auth->user, auth->password) : NULL,
	    .memory_max = TOKEN_ANSWER_MAX,
	    .patience = patience,
	};

	if (http_send(auth->http, &request, &response, e) != ERR_OK)
		return err_wrap(e, "token server of registry %s", auth->registry);
	if (response.status == 401 && auth->user)
		return ERR(e, ERR_UNAUTHENTICATED, "registry %s: its token server refuses the credentials of user '%s'",
		           auth->registry, auth->user);
	if (response.status != 200)
		return http_status_error(&response, e, "token server of registry %s", auth->registry);
	return read_token(auth, ctx, repository, &response.body, asked_ms, header, e);
}

static enum err_code answer_basic(struct registry_auth *auth, TALLOC_CTX *ctx, const char **header, struct err *e)
{
	if (!auth->user)
		return ERR(e, ERR_UNAUTHENTICATED, "registry %s wants a user name and a password, and none is known",
		           auth->registry);
	if (*header)
		return ERR(e, ERR_UNAUTHENTICATED, "registry %s refuses the credentials of user '%s'", auth->registry,
		           auth->user);
	pthread_mutex_lock(&auth->lock);
	auth->basic = true;
	pthread_mutex_unlock(&auth->lock);
	*header = http_basic(ctx, auth->user, auth->password);
	return ERR_OK;
}

enum err_code registry_auth_answer(struct registry_auth *auth, TALLOC_CTX *ctx, const char *repository,
                                   const char **header, const char *base_url, const struct http_response *response,
                                   const struct patience *patience, struct err *e)
{
	struct challenge c;

	if (auth->token)
		return ERR(e, ERR_UNAUTHENTICATED, "registry %s refuses the token", auth->registry);
	challenge_parse(ctx, http_header_all(ctx, response, "www-authenticate"), &c);
	switch (c.scheme) {
	case CHALLENGE_BASIC:
		return answer_basic(auth, ctx, header, e);
	case CHALLENGE_BEARER:
		TRY(check_realm(auth, c.realm, base_url, e));
		return fetch_token(auth, ctx, repository, &c, patience, header, e);
	case CHALLENGE_NONE:
		break;
	}
	return ERR(e, ERR_UNAUTHENTICATED, "registry %s denies access and does not say what it wants", auth->registry);
}
