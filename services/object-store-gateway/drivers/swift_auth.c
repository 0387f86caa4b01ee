#include "services/object-store-gateway/drivers/swift_auth.h"

#include "common/clock.h"
#include "services/object-store-gateway/drivers/swift_catalog.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ANSWER_MAX ((size_t)(4 * MIB)) /* catalogs of large clouds are long */
#define TOKEN_MAX ((size_t)(32 * KIB))
#define LONGEST_S ((int64_t)366 * 86400)

enum err_code swift_status_error(const struct http_response *response, struct err *e, const char *fmt, ...)
{
	SCRATCH_CTX(ctx);
	const char *transaction = http_header(ctx, response, "x-trans-id");
	enum err_code code;
	struct err own;
	va_list args;
	char *what;

	va_start(args, fmt);
	what = talloc_vasprintf(ctx, fmt, args);
	va_end(args);
	ASSERT(what);
	if (transaction)
		what = talloc_asprintf(ctx, "%s (transaction %.64s)", what, transaction);
	e = e ? e : &own;
	code = http_status_error(response, e, "%.400s", what);
	switch (response->status) {
	case 401:
	case 403:
	case 404:
		return code;
	case 408:
	case 409: /* something newer is there already, or the node's clock is behind: another attempt has a new time */
	case 422: /* the bytes that came were not those of the checksum */
	case 429:
	case 498: /* Swift's own word for 429 */
		return e->code = ERR_UNAVAILABLE;
	case 413:
	case 507:
		return e->code = ERR_EXHAUSTED;
	default:
		e->code = response->status >= 500 && response->status != 501 && response->status != 505
		              ? ERR_UNAVAILABLE
		              : ERR_INTERNAL;
		return e->code == ERR_INTERNAL ? err_wrap(e, "an answer that is not understood") : e->code;
	}
}

static char *with_domain(char *text, const char *kind, const char *name, const char *domain)
{
	text = talloc_asprintf_append(text, "%s %.100s", kind, name);
	return domain ? talloc_asprintf_append(text, " of domain %.60s", domain) : text;
}

/* An identity service says the same of a wrong password, an unknown project and a user who has no role there, so that
 * nobody finds out by asking. To ask once more without a project would tell, and count as one more failure where users
 * are locked out after some. */
static enum err_code not_let_in(int status, const struct swift_settings *s, struct err *e)
{
	SCRATCH_CTX(ctx);
	const char *project = s->project_id ? s->project_id : s->project_name ? s->project_name : s->tenant_name;
	const char *user = s->user_id ? s->user_id : s->username;
	const char *user_domain = s->user_domain_name ? s->user_domain_name : s->user_domain_id;
	const char *project_domain = s->project_domain_name ? s->project_domain_name : s->project_domain_id;
	const char *credential = s->credential_id ? s->credential_id : s->credential_name;
	char *who = talloc_strdup(ctx, "");

	who = credential ? with_domain(who, "application credential", credential, NULL)
	                 : with_domain(who, "user", user, s->user_id ? NULL : user_domain);
	if (s->credential_secret || !project)
		return ERR(e, ERR_UNAUTHENTICATED, "%.200s refuses the credentials of %s (status %d)", s->auth_url, who,
		           status);
	who = with_domain(who, " for project", project, project_domain);
	return ERR(e, ERR_UNAUTHENTICATED,
	           "%.200s refuses the credentials of %s (status %d): the password is wrong, or there is no such "
	           "project, or the user has no role in it",
	           s->auth_url, who, status);
}

/* Keystone, too, has a 404 for an application credential that was taken back; it says so in words. */
static bool names_lost_credential(const struct http_response *response, const struct swift_settings *s)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const char *said;

	if (!s->credential_secret ||
	    json_parse(response->body.bytes, response->body.len, ANSWER_MAX, "", &json, NULL) != ERR_OK)
		return false;
	said = json_text(json_object(json, "error"), "message");
	return said && strcasestr(said, "application credential");
}

static enum err_code refused(const struct http_response *response, const struct swift_settings *s, struct err *e)
{
	if (response->status == 401 || (response->status == 404 && names_lost_credential(response, s)))
		return not_let_in(response->status, s, e);
	/* An identity service, too, says 404 when it is asked at a wrong place; that is no missing container. */
	if (response->status == 404)
		return ERR(e, ERR_INTERNAL,
		           "nothing at %.300s answers to authentication v%d (status 404): is it the right URL",
		           s->auth_url, (int)s->version);
	return swift_status_error(response, e, "authentication at %.200s", s->auth_url);
}

static enum err_code strange(const struct swift_settings *s, const char *why, struct err *e)
{
	return ERR(e, ERR_INTERNAL, "authentication v%d at %.200s gives an answer that is not understood: %s",
	           (int)s->version, s->auth_url, why);
}

/* ---- what a grant must be ---- */

static bool token_is_clean(const char *token)
{
	for (const char *c = token; *c; c++)
		if (*c <= ' ' || *c > '~')
			return false;
	return token[0] && strlen(token) <= TOKEN_MAX;
}

static enum err_code keep_grant(TALLOC_CTX *ctx, const struct swift_settings *s, const char *token, const char *url,
                                struct swift_grant *out, struct err *e)
{
	struct http_origin there, here;
	size_t len = strlen(url);

	if (!token_is_clean(token))
		return strange(s, "the token has spaces or control characters, or is far too long", e);
	if (http_origin_parse(url, &there, NULL) != ERR_OK || strpbrk(url, "?# "))
		return strange(s, "the account's URL is not an http or https URL", e);
	TRY(http_origin_parse(s->auth_url, &here, e));
	if (!s->storage_url && strcasecmp(here.scheme, "https") == 0 && strcasecmp(there.scheme, "https") != 0)
		return ERR(e, ERR_INVALID,
		           "%.200s leads from https to plain http at %.200s, where a token would travel in the "
		           "clear; set os_storage_url",
		           s->auth_url, url);
	while (len > 0 && url[len - 1] == '/')
		len--;
	out->token = talloc_strdup(ctx, token);
	out->storage_url = talloc_strndup(ctx, url, len);
	return ERR_OK;
}

/* Between two times that the server says, so that its clock may be wrong. Without the first one ours must do. */
static int64_t life_of(const cJSON *token, const char *until, const char *since)
{
	int64_t end = json_text(token, until) ? clock_parse(json_text(token, until)) : 0;
	int64_t start = json_text(token, since) ? clock_parse(json_text(token, since)) : 0;

	if (!end)
		return 0;
	return MIN(MAX(end - (start ? start : clock_wall_ms()), 1000), LONGEST_S * 1000);
}

/* ---- v1: everything is a header ---- */

static int64_t seconds_of(const char *text)
{
	char *end;
	long long seconds = strtoll(text, &end, 10);

	return *end || seconds <= 0 ? 0 : MIN((int64_t)seconds, LONGEST_S);
}

static enum err_code authenticate_v1(TALLOC_CTX *ctx, struct http_client *http, const struct swift_settings *s,
                                     const struct patience *patience, struct swift_grant *out, struct err *e)
{
	SCRATCH_CTX(scratch);
	CLEANUP(http_response_release) struct http_response response = {0};
	const char *const headers[] = {talloc_asprintf(scratch, "X-Auth-User: %s", s->username),
	                               talloc_asprintf(scratch, "X-Auth-Key: %s", s->password), NULL};
	const struct http_request request = {
	    .method = "GET", .url = s->auth_url, .headers = headers, .memory_max = 64 * KIB, .patience = patience};
	const char *token, *url, *life;

	TRY(http_send(http, &request, &response, e));
	if (response.status != 200 && response.status != 204)
		return refused(&response, s, e);
	token = http_header(scratch, &response, "x-auth-token");
	if (!token)
		token = http_header(scratch, &response, "x-storage-token");
	url = s->storage_url ? s->storage_url : http_header(scratch, &response, "x-storage-url");
	if (!token || !url)
		return strange(s, "it lacks X-Auth-Token or X-Storage-Url", e);
	life = http_header(scratch, &response, "x-auth-token-expires");
	out->lives_ms = life ? seconds_of(life) * 1000 : 0;
	return keep_grant(ctx, s, token, url, out, e);
}

/* ---- v2 and v3: JSON both ways ---- */

static void cjson_free_cleanup(char **text)
{
	cJSON_free(*text);
}

/* cJSON takes NULL for a parent: without memory something is missing in the end, and the server says so. */
static void add_domain(cJSON *parent, const char *id, const char *name)
{
	cJSON *domain = cJSON_AddObjectToObject(parent, "domain");

	cJSON_AddStringToObject(domain, name && !id ? "name" : "id", id ? id : name ? name : "default");
}

static void add_user(cJSON *parent, const struct swift_settings *s, bool with_password)
{
	cJSON *user = cJSON_AddObjectToObject(parent, "user");

	if (s->user_id) {
		cJSON_AddStringToObject(user, "id", s->user_id);
	} else {
		cJSON_AddStringToObject(user, "name", s->username);
		add_domain(user, s->user_domain_id, s->user_domain_name);
	}
	if (with_password)
		cJSON_AddStringToObject(user, "password", s->password);
}

static void add_method(cJSON *identity, const char *method)
{
	cJSON_AddItemToArray(cJSON_AddArrayToObject(identity, "methods"), cJSON_CreateString(method));
}

static void add_credential(cJSON *identity, const struct swift_settings *s)
{
	cJSON *credential;

	add_method(identity, "application_credential");
	credential = cJSON_AddObjectToObject(identity, "application_credential");
	if (s->credential_id) {
		cJSON_AddStringToObject(credential, "id", s->credential_id);
	} else {
		cJSON_AddStringToObject(credential, "name", s->credential_name);
		add_user(credential, s, false);
	}
	cJSON_AddStringToObject(credential, "secret", s->credential_secret);
}

static void add_project(cJSON *auth, const struct swift_settings *s)
{
	cJSON *project = cJSON_AddObjectToObject(cJSON_AddObjectToObject(auth, "scope"), "project");

	if (s->project_id) {
		cJSON_AddStringToObject(project, "id", s->project_id);
		return;
	}
	cJSON_AddStringToObject(project, "name", s->project_name);
	add_domain(project, s->project_domain_id, s->project_domain_name);
}

/* An application credential belongs to one project, so it takes no scope. */
static char *body_v3(const struct swift_settings *s)
{
	CLEANUP(json_cleanup) cJSON *root = cJSON_CreateObject();
	cJSON *auth = cJSON_AddObjectToObject(root, "auth");
	cJSON *identity = cJSON_AddObjectToObject(auth, "identity");

	if (s->credential_secret) {
		add_credential(identity, s);
	} else {
		add_method(identity, "password");
		add_user(cJSON_AddObjectToObject(identity, "password"), s, true);
		add_project(auth, s);
	}
	return cJSON_PrintUnformatted(root);
}

static char *body_v2(const struct swift_settings *s)
{
	CLEANUP(json_cleanup) cJSON *root = cJSON_CreateObject();
	cJSON *auth = cJSON_AddObjectToObject(root, "auth");
	cJSON *credentials = cJSON_AddObjectToObject(auth, "passwordCredentials");

	cJSON_AddStringToObject(credentials, "username", s->username);
	cJSON_AddStringToObject(credentials, "password", s->password);
	if (s->tenant_id)
		cJSON_AddStringToObject(auth, "tenantId", s->tenant_id);
	else
		cJSON_AddStringToObject(auth, "tenantName", s->tenant_name);
	return cJSON_PrintUnformatted(root);
}

static enum err_code read_v2(TALLOC_CTX *ctx, const struct swift_settings *s, const cJSON *json,
                             struct swift_grant *out, struct err *e)
{
	const cJSON *access = json_object(json, "access"), *token = json_object(access, "token");
	const char *id = json_text(token, "id"), *url = s->storage_url;

	if (!id)
		return strange(s, "it lacks access.token.id", e);
	if (!url)
		TRY(swift_catalog_find(json_array(access, "serviceCatalog"), s, &url, e));
	out->lives_ms = life_of(token, "expires", "issued_at");
	return keep_grant(ctx, s, id, url, out, e);
}

static enum err_code read_v3(TALLOC_CTX *ctx, const struct swift_settings *s, const struct http_response *response,
                             const cJSON *json, struct swift_grant *out, struct err *e)
{
	SCRATCH_CTX(scratch);
	const char *id = http_header(scratch, response, "x-subject-token"), *url = s->storage_url;
	const cJSON *token = json_object(json, "token");

	if (!id || !token)
		return strange(s, "it lacks X-Subject-Token or token", e);
	if (!url)
		TRY(swift_catalog_find(json_array(token, "catalog"), s, &url, e));
	out->lives_ms = life_of(token, "expires_at", "issued_at");
	return keep_grant(ctx, s, id, url, out, e);
}

static enum err_code authenticate_json(TALLOC_CTX *ctx, struct http_client *http, const struct swift_settings *s,
                                       const struct patience *patience, struct swift_grant *out, struct err *e)
{
	static const char *const headers[] = {"Content-Type: application/json", "Accept: application/json", NULL};
	SCRATCH_CTX(scratch);
	CLEANUP(http_response_release) struct http_response response = {0};
	CLEANUP(cjson_free_cleanup) char *body = s->version == SWIFT_V2 ? body_v2(s) : body_v3(s);
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const struct http_request request = {
	    .method = "POST",
	    .url = talloc_asprintf(scratch, "%s%s", s->auth_url, s->version == SWIFT_V2 ? "/tokens" : "/auth/tokens"),
	    .headers = headers,
	    .body = body,
	    .body_len = body ? strlen(body) : 0,
	    .memory_max = ANSWER_MAX,
	    .patience = patience,
	};

	ASSERT(body);
	TRY(http_send(http, &request, &response, e));
	if (response.status != 200 && response.status != 201)
		return refused(&response, s, e);
	if (json_parse(response.body.bytes, response.body.len, ANSWER_MAX, "it", &json, e) != ERR_OK) {
		struct err why = e ? *e : (struct err){0};

		return strange(s, why.text, e);
	}
	if (s->version == SWIFT_V2)
		return read_v2(ctx, s, json, out, e);
	return read_v3(ctx, s, &response, json, out, e);
}

enum err_code swift_authenticate(TALLOC_CTX *ctx, struct http_client *http, const struct swift_settings *settings,
                                 const struct patience *patience, struct swift_grant *out, struct err *e)
{
	*out = (struct swift_grant){0};
	if (settings->version == SWIFT_V1)
		return authenticate_v1(ctx, http, settings, patience, out, e);
	return authenticate_json(ctx, http, settings, patience, out, e);
}
