/* Keys from next door: the container's agent and the machine's metadata service. Both answer in JSON. */
#include "common/clock.h"
#include "common/json.h"
#include "services/object-store-gateway/drivers/s3_sources.h"

#include <string.h>

#define CONTAINER_AGENT "http://169.254.170.2"
#define CONTAINER_AGENT_V6 "[fd00:ec2::23]"
#define MACHINE "http://169.254.169.254"
#define MACHINE_PATH "/latest/meta-data/iam/security-credentials/"
#define ANSWER_MAX (64 * KIB)

static enum err_code take_answer(TALLOC_CTX *ctx, const struct http_response *response, const char *what,
                                 struct s3_found *found, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const char *access, *secret, *token, *end, *verdict;

	if (json_parse(response->body.bytes, response->body.len, ANSWER_MAX, what, &json, e) != ERR_OK)
		return ERR(e, ERR_INTERNAL, "%s: the answer is not understood", what);
	verdict = json_text(json, "Code");
	if (verdict && strcmp(verdict, "Success") != 0)
		return ERR(e, ERR_UNAUTHENTICATED, "%s: %.100s", what, verdict);
	access = json_text(json, "AccessKeyId");
	secret = json_text(json, "SecretAccessKey");
	token = json_text(json, "Token");
	end = json_text(json, "Expiration");
	if (!access || !secret)
		return ERR(e, ERR_INTERNAL, "%s: the answer holds no keys", what);
	*found = (struct s3_found){
	    .access_key = talloc_strdup(ctx, access),
	    .secret_key = talloc_strdup(ctx, secret),
	    .token = token ? talloc_strdup(ctx, token) : NULL,
	    .expires_ms = end ? clock_parse(end) : 0,
	};
	return ERR_OK;
}

/* The token that goes along must not reach strangers: https, this machine, or the agents' own addresses. */
static bool may_have_token(const struct http_origin *o)
{
	return strcmp(o->scheme, "https") == 0 || http_host_is_loopback(o->host) ||
	       strcmp(o->host, "169.254.170.2") == 0 || strcmp(o->host, "169.254.170.23") == 0 ||
	       strcmp(o->host, CONTAINER_AGENT_V6) == 0;
}

enum err_code s3_source_container(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                  struct err *e)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	const char *relative = s3_variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
	const char *url = s3_variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	const char *token_file = s3_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = s3_variable("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	struct http_origin origin;
	char *read = NULL;

	if (!relative && !url)
		return ERR(e, ERR_NOT_FOUND, "AWS_CONTAINER_CREDENTIALS_FULL_URI is not set");
	if (relative)
		url = talloc_asprintf(ctx, CONTAINER_AGENT "%s", relative);
	TRY(http_origin_parse(url, &origin, e));
	if (!may_have_token(&origin))
		return ERR(e, ERR_UNAUTHENTICATED,
		           "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor this machine");
	if (token_file && s3_read_file(ctx, token_file, &read, e) != ERR_OK)
		return ERR(e, ERR_UNAUTHENTICATED, "cannot read the token in %s", token_file);
	TRY(s3_ask(context->metadata, "container endpoint",
	           &(struct http_request){.method = "GET", .url = url, .authorization = read ? read : token}, &response,
	           e));
	return take_answer(ctx, &response, "container endpoint", found, e);
}

static const char *machine_url(TALLOC_CTX *ctx, const char *path)
{
	const char *endpoint = s3_variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	size_t len;

	endpoint = endpoint ? endpoint : MACHINE;
	len = strlen(endpoint);
	return talloc_asprintf(ctx, "%.*s%s", (int)(endpoint[len - 1] == '/' ? len - 1 : len), endpoint, path);
}

static enum err_code machine_get(TALLOC_CTX *ctx, const struct s3_source_context *context, const char *token,
                                 const char *path, struct http_response *response, struct err *e)
{
	const char *headers[] = {talloc_asprintf(ctx, "X-aws-ec2-metadata-token: %s", token), NULL};

	return s3_ask(context->metadata, "metadata service",
	              &(struct http_request){.method = "GET", .url = machine_url(ctx, path), .headers = headers},
	              response, e);
}

static char *first_line(TALLOC_CTX *ctx, const struct http_response *response)
{
	const char *text = response->body.len ? response->body.bytes : "";

	return talloc_strndup(ctx, text, strcspn(text, "\r\n"));
}

/* One attempt: where there is no such service, nothing should wait for it. */
static enum err_code machine_token(TALLOC_CTX *ctx, const struct s3_source_context *context, char **token,
                                   struct err *e)
{
	static const char *const headers[] = {"X-aws-ec2-metadata-token-ttl-seconds: 21600", NULL};
	CLEANUP(http_response_release) struct http_response response = {0};
	const struct http_request request = {
	    .method = "PUT",
	    .url = machine_url(ctx, "/latest/api/token"),
	    .headers = headers,
	    .memory_max = ANSWER_MAX,
	};

	if (http_send(context->metadata, &request, &response, e) != ERR_OK)
		return ERR(e, ERR_NOT_FOUND, "there is no metadata service");
	if (response.status != 200)
		return http_status_error(&response, e, "metadata service: no token");
	*token = first_line(ctx, &response);
	return ERR_OK;
}

enum err_code s3_source_machine(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                struct err *e)
{
	CLEANUP(http_response_release) struct http_response roles = {0}, response = {0};
	const char *disabled = s3_variable("AWS_EC2_METADATA_DISABLED"), *path;
	enum err_code code;
	char *token = NULL;

	if (disabled && strcmp(disabled, "true") == 0)
		return ERR(e, ERR_NOT_FOUND, "AWS_EC2_METADATA_DISABLED is set");
	TRY(machine_token(ctx, context, &token, e));
	code = machine_get(ctx, context, token, MACHINE_PATH, &roles, e);
	if (code != ERR_OK && roles.status == 404)
		return ERR(e, ERR_NOT_FOUND, "this machine has no role");
	TRY(code);
	path = talloc_asprintf(ctx, MACHINE_PATH "%s", http_escape(ctx, first_line(ctx, &roles)));
	TRY(machine_get(ctx, context, token, path, &response, e));
	return take_answer(ctx, &response, "metadata service", found, e);
}
