#include "services/object-store-gateway/drivers/swift_settings.h"

#include "common/http.h"

#include <string.h>
#include <strings.h>

#define CONTAINER_MAX 256 /* bytes of a container's name, as Swift has it by default */
#define KEY_PREFIX_MAX 512

/* As it stands in the file. */
struct section {
	const char *container, *prefix, *version;
	bool create;
	const char *auth, *user, *key;
	const char *auth_url, *auth_type, *username, *user_id, *password, *tenant_name, *tenant_id;
	const char *project_name, *project_id, *project_domain_name, *project_domain_id;
	const char *user_domain_name, *user_domain_id;
	const char *credential_id, *credential_name, *credential_secret;
	const char *region, *region_name, *interface, *endpoint_type, *storage_url, *ca_file, *cacert;
	int64_t request_ms, budget_ms;
};

#define AT(member) offsetof(struct section, member)

static const struct config_option section_options[] = {
    {"container", CONFIG_TEXT, AT(container), NULL, .required = true, .help = "Container that the chunks go to."},
    {"create_container", CONFIG_FLAG, AT(create), "false", .help = "Make the container if it is not there."},
    {"anchore_key_prefix", CONFIG_TEXT, AT(prefix), "", .help = "What the names of all objects begin with."},
    {"auth_version", CONFIG_TEXT, AT(version), NULL, .help = "1, 2 or 3; found out when not given."},
    {"auth", CONFIG_TEXT, AT(auth), NULL, .help = "v1: URL to authenticate at."},
    {"user", CONFIG_TEXT, AT(user), NULL, .help = "v1: user, often ACCOUNT:USER."},
    {"key", CONFIG_TEXT, AT(key), NULL, .secret = true, .help = "v1: the user's key."},
    {"os_auth_url", CONFIG_TEXT, AT(auth_url), NULL, .help = "v2, v3: URL of the identity service."},
    {"os_auth_type", CONFIG_TEXT, AT(auth_type), NULL, .help = "v2, v3: password or v3applicationcredential."},
    {"os_username", CONFIG_TEXT, AT(username), NULL, .help = "v2, v3: user."},
    {"os_user_id", CONFIG_TEXT, AT(user_id), NULL, .help = "v3: the user's id, in place of name and domain."},
    {"os_password", CONFIG_TEXT, AT(password), NULL, .secret = true, .help = "v2, v3: the user's password."},
    {"os_tenant_name", CONFIG_TEXT, AT(tenant_name), NULL, .help = "v2: tenant; v3: the same as os_project_name."},
    {"os_tenant_id", CONFIG_TEXT, AT(tenant_id), NULL, .help = "v2: the tenant's id; v3: the same as os_project_id."},
    {"os_project_name", CONFIG_TEXT, AT(project_name), NULL, .help = "v3: project; v2: the same as os_tenant_name."},
    {"os_project_id", CONFIG_TEXT, AT(project_id), NULL, .help = "v3: the project's id, in place of its name."},
    {"os_project_domain_name", CONFIG_TEXT, AT(project_domain_name), NULL, .help = "v3: the project's domain."},
    {"os_project_domain_id", CONFIG_TEXT, AT(project_domain_id), NULL, .help = "v3: that domain's id; else default."},
    {"os_user_domain_name", CONFIG_TEXT, AT(user_domain_name), NULL, .help = "v3: the user's domain."},
    {"os_user_domain_id", CONFIG_TEXT, AT(user_domain_id), NULL, .help = "v3: that domain's id; else default."},
    {"os_application_credential_id", CONFIG_TEXT, AT(credential_id), NULL, .help = "v3: application credential."},
    {"os_application_credential_name", CONFIG_TEXT, AT(credential_name), NULL,
     .help = "v3: the same by name, which needs os_username."},
    {"os_application_credential_secret", CONFIG_TEXT, AT(credential_secret), NULL, .secret = true,
     .help = "v3: its secret."},
    {"region", CONFIG_TEXT, AT(region), NULL, .help = "v2, v3: region in the service catalog, if it has several."},
    {"os_region_name", CONFIG_TEXT, AT(region_name), NULL, .help = "The same as region."},
    {"interface", CONFIG_TEXT, AT(interface), NULL, .help = "v2, v3: public (the default), internal or admin."},
    {"os_endpoint_type", CONFIG_TEXT, AT(endpoint_type), NULL, .help = "The same as interface; publicURL and so on."},
    {"os_storage_url", CONFIG_TEXT, AT(storage_url), NULL,
     .help = "URL of the account, in place of the one that authentication gives."},
    {"ca_file", CONFIG_TEXT, AT(ca_file), NULL, .help = "PEM file of trusted certificates, for https."},
    {"os_cacert", CONFIG_TEXT, AT(cacert), NULL, .help = "The same as ca_file."},
    {"timeout", CONFIG_DURATION, AT(request_ms), "60s", 100, 600000, .help = "For one attempt of one request."},
    {"retry_budget", CONFIG_DURATION, AT(budget_ms), "20s", 1, 600000,
     .help = "Time spent waiting between the attempts of one operation, at most."},
    /* Of Swift's own client, whose options stand here elsewhere. */
    {"prefix", CONFIG_REFUSED, .help = "write anchore_key_prefix"},
    {"os_options", CONFIG_REFUSED, .help = "write what is in it here, each name with os_ in front"},
    {"os_identity_api_version", CONFIG_REFUSED, .help = "write auth_version"},
    {"os_service_type", CONFIG_REFUSED, .default_value = "object-store",
     .help = "it is always object-store; os_storage_url leads elsewhere"},
    {"os_auth_token", CONFIG_REFUSED,
     .help = "tokens end; write os_username and os_password, or an application credential"},
    {"insecure", CONFIG_REFUSED, .default_value = "false", .help = "write os_cacert, the authority to trust"},
    {"os_cert", CONFIG_REFUSED, .help = "log in with a password or an application credential"},
    {"os_key", CONFIG_REFUSED, .help = "log in with a password or an application credential"},
    {"snet", CONFIG_REFUSED, .default_value = "false", .help = "write \"interface: internal\""},
    {"retries", CONFIG_REFUSED, .help = "write retry_budget, a time"},
    {"starting_backoff", CONFIG_REFUSED, .help = "write retry_budget, a time"},
    {"max_backoff", CONFIG_REFUSED, .help = "write retry_budget, a time"},
    {"segment_size", CONFIG_REFUSED, .help = "leave it out; no object is larger than 4 MiB"},
    {"use_slo", CONFIG_REFUSED, .help = "leave it out; no object is larger than 4 MiB"},
    CONFIG_END,
};

static bool given(const char *text)
{
	return text && text[0];
}

static const char *either(const char *a, const char *b)
{
	return given(a) ? a : given(b) ? b : NULL;
}

static bool is_clean(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			return false;
	return true;
}

/* A URL without the slashes at its end. */
static enum err_code read_url(TALLOC_CTX *ctx, const char *name, const char *text, const char **out, struct err *e)
{
	struct http_origin origin;
	size_t len = strlen(text);

	if (http_origin_parse(text, &origin, NULL) != ERR_OK || strpbrk(text, "?#"))
		return ERR(e, ERR_INVALID, "%s '%.200s' is not an http or https URL", name, text);
	while (len > 0 && text[len - 1] == '/')
		len--;
	*out = talloc_strndup(ctx, text, len);
	return ERR_OK;
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static enum err_code read_version(const char *text, enum swift_version *version, struct err *e)
{
	static const char *const words[][4] = {[SWIFT_V1] = {"1", "1.0", "v1", "v1.0"},
	                                       [SWIFT_V2] = {"2", "2.0", "v2", "v2.0"},
	                                       [SWIFT_V3] = {"3", "3.0", "v3", "v3.0"}};

	for (size_t v = SWIFT_V1; v <= SWIFT_V3; v++)
		for (size_t i = 0; i < ARRAY_SIZE(words[v]); i++)
			if (strcasecmp(text, words[v][i]) == 0) {
				*version = (enum swift_version)v;
				return ERR_OK;
			}
	return ERR(e, ERR_INVALID, "auth_version is '%.50s', known are 1, 2 and 3", text);
}

static enum swift_version guess_version(const struct section *s, const char *auth_url)
{
	bool of_v3 = given(s->credential_secret) || given(s->user_id) || given(s->user_domain_name) ||
	             given(s->user_domain_id) || given(s->project_domain_name) || given(s->project_domain_id) ||
	             ends_with(auth_url, "/v3");
	bool of_v2 = ends_with(auth_url, "/v2.0") ||
	             (either(s->tenant_name, s->tenant_id) && !either(s->project_name, s->project_id));

	return given(s->auth) ? SWIFT_V1 : of_v2 && !of_v3 ? SWIFT_V2 : SWIFT_V3;
}

static enum err_code need(const char *value, const char *name, const char *way, struct err *e)
{
	if (given(value))
		return ERR_OK;
	return ERR(e, ERR_INVALID, "%s is missing, which authentication %s needs", name, way);
}

static enum err_code read_v1(const struct section *s, struct swift_settings *out, struct err *e)
{
	TRY(need(s->user, "user", "v1", e));
	TRY(need(s->key, "key", "v1", e));
	out->username = s->user;
	out->password = s->key;
	/* Both become headers. */
	if (!is_clean(s->user) || !is_clean(s->key))
		return ERR(e, ERR_INVALID, "user or key has a control character");
	return ERR_OK;
}

static enum err_code read_v2(TALLOC_CTX *ctx, const struct section *s, struct swift_settings *out, struct err *e)
{
	TRY(need(s->username, "os_username", "v2", e));
	TRY(need(s->password, "os_password", "v2", e));
	out->tenant_name = either(s->tenant_name, s->project_name);
	out->tenant_id = either(s->tenant_id, s->project_id);
	if (!out->tenant_id)
		TRY(need(out->tenant_name, "os_tenant_name", "v2", e));
	if (!ends_with(out->auth_url, "/v2.0"))
		out->auth_url = talloc_asprintf(ctx, "%s/v2.0", out->auth_url);
	return ERR_OK;
}

static enum err_code read_v3(TALLOC_CTX *ctx, const struct section *s, struct swift_settings *out, struct err *e)
{
	if (!ends_with(out->auth_url, "/v3"))
		out->auth_url = talloc_asprintf(ctx, "%s/v3", out->auth_url);
	if (out->credential_id || out->credential_name || out->credential_secret) {
		TRY(need(out->credential_secret, "os_application_credential_secret", "by application credential", e));
		if (out->credential_id)
			return ERR_OK;
		TRY(need(out->credential_name, "os_application_credential_id", "by application credential", e));
		return need(either(out->username, out->user_id), "os_username", "by an application credential's name",
		            e);
	}
	TRY(need(either(out->username, out->user_id), "os_username", "v3", e));
	TRY(need(out->password, "os_password", "v3", e));
	out->project_name = either(s->project_name, s->tenant_name);
	if (!out->project_id)
		TRY(need(out->project_name, "os_project_name", "v3", e));
	return ERR_OK;
}

/* Swift's own client is told with it what the keys beside it say already. */
static enum err_code check_type(const struct section *s, struct err *e)
{
	static const char *const passwords[] = {"password", "v2password", "v3password"};

	if (!given(s->auth_type))
		return ERR_OK;
	if (strcmp(s->auth_type, "v3applicationcredential") == 0)
		return need(s->credential_secret, "os_application_credential_secret", s->auth_type, e);
	for (size_t i = 0; i < ARRAY_SIZE(passwords); i++)
		if (strcmp(s->auth_type, passwords[i]) == 0)
			return need(s->password, "os_password", s->auth_type, e);
	return ERR(e, ERR_INVALID, "os_auth_type is '%.50s', known are password and v3applicationcredential",
	           s->auth_type);
}

static enum err_code read_access(TALLOC_CTX *ctx, const struct section *s, struct swift_settings *out, struct err *e)
{
	const char *url = either(s->auth, s->auth_url);

	if (given(s->auth) && given(s->auth_url))
		return ERR(e, ERR_INVALID, "auth (v1) and os_auth_url (v2, v3) are both given");
	if (!url)
		return ERR(e, ERR_INVALID, "neither auth (v1) nor os_auth_url (v2, v3) is given");
	TRY(read_url(ctx, given(s->auth) ? "auth" : "os_auth_url", url, &out->auth_url, e));
	TRY(check_type(s, e));
	out->version = guess_version(s, out->auth_url);
	if (given(s->version))
		TRY(read_version(s->version, &out->version, e));
	if (given(s->auth) != (out->version == SWIFT_V1))
		return ERR(e, ERR_INVALID, "auth_version %d needs %s", (int)out->version,
		           out->version == SWIFT_V1
		               ? "auth, user and key"
		               : "os_auth_url, os_username and os_password, not auth, user and key");
	switch (out->version) {
	case SWIFT_V1:
		return read_v1(s, out, e);
	case SWIFT_V2:
		return read_v2(ctx, s, out, e);
	case SWIFT_V3:
		return read_v3(ctx, s, out, e);
	}
	ASSERT(!"a version");
}

static enum err_code read_place(TALLOC_CTX *ctx, const struct section *s, struct swift_settings *out, struct err *e)
{
	size_t len = strlen(s->container), prefix_len = strlen(s->prefix);

	if (len == 0 || len > CONTAINER_MAX || strchr(s->container, '/') || !is_clean(s->container))
		return ERR(e, ERR_INVALID, "container '%.100s' is no name: 1 to %d bytes, no slash", s->container,
		           CONTAINER_MAX);
	if (prefix_len > KEY_PREFIX_MAX || !is_clean(s->prefix) || s->prefix[0] == '/')
		return ERR(e, ERR_INVALID, "anchore_key_prefix '%.100s' cannot be: at most %d bytes, no slash in front",
		           s->prefix, KEY_PREFIX_MAX);
	out->container = s->container;
	out->key_prefix = prefix_len && !ends_with(s->prefix, "/") ? talloc_asprintf(ctx, "%s/", s->prefix) : s->prefix;
	return ERR_OK;
}

static enum err_code read_interface(const struct section *s, const char **out, struct err *e)
{
	static const char *const names[][2] = {
	    {"public", "publicURL"}, {"internal", "internalURL"}, {"admin", "adminURL"}};
	const char *text = either(s->interface, s->endpoint_type);

	*out = names[0][0];
	if (!text)
		return ERR_OK;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i][0]) == 0 || strcmp(text, names[i][1]) == 0) {
			*out = names[i][0];
			return ERR_OK;
		}
	return ERR(e, ERR_INVALID, "interface is '%.50s', known are public, internal and admin", text);
}

enum err_code swift_settings_read(TALLOC_CTX *ctx, const struct config_node *node, struct swift_settings *out,
                                  struct err *e)
{
	struct section s = {0};

	TRY(config_read_tree(ctx, node, section_options, &s, e));
	*out = (struct swift_settings){
	    .create_container = s.create,
	    .username = either(s.username, NULL),
	    .password = either(s.password, NULL),
	    .user_id = either(s.user_id, NULL),
	    .project_id = either(s.project_id, s.tenant_id),
	    .user_domain_name = either(s.user_domain_name, NULL),
	    .user_domain_id = either(s.user_domain_id, NULL),
	    .project_domain_name = either(s.project_domain_name, NULL),
	    .project_domain_id = either(s.project_domain_id, NULL),
	    .credential_id = either(s.credential_id, NULL),
	    .credential_name = either(s.credential_name, NULL),
	    .credential_secret = either(s.credential_secret, NULL),
	    .region = either(s.region, s.region_name),
	    .ca_file = either(s.ca_file, s.cacert),
	    .request_ms = s.request_ms,
	    .budget_ms = s.budget_ms,
	};
	TRY(read_place(ctx, &s, out, e));
	TRY(read_interface(&s, &out->interface, e));
	if (given(s.storage_url))
		TRY(read_url(ctx, "os_storage_url", s.storage_url, &out->storage_url, e));
	return read_access(ctx, &s, out, e);
}
