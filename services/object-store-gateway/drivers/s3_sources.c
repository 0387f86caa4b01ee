#include "services/object-store-gateway/drivers/s3_sources.h"

#include "common/clock.h"
#include "services/object-store-gateway/drivers/s3_refusal.h"
#include "services/object-store-gateway/drivers/s3_xml.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (256 * KIB)
#define ANSWER_MAX (64 * KIB)
#define RESULT "AssumeRoleWithWebIdentityResponse/AssumeRoleWithWebIdentityResult/Credentials/"

const char *s3_variable(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

enum err_code s3_read_file(TALLOC_CTX *ctx, const char *path, char **text, struct err *e)
{
	CLEANUP(fd_cleanup) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *into = talloc_zero_size(ctx, FILE_MAX + 1);
	size_t len = 0;

	ASSERT(into);
	if (fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "cannot open %s", path);
	for (;;) {
		ssize_t got = read(fd, into + len, FILE_MAX + 1 - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return ERR_SYS(e, ERR_INTERNAL, "cannot read %s", path);
		if (got == 0)
			break;
		len += (size_t)got;
		if (len > FILE_MAX)
			return ERR(e, ERR_TOO_LARGE, "%s has more than %zu bytes", path, (size_t)FILE_MAX);
	}
	while (len > 0 && strchr(" \t\r\n", into[len - 1]))
		len--;
	into[len] = '\0';
	*text = into;
	return ERR_OK;
}

enum err_code s3_ask(struct http_client *http, const char *what, const struct http_request *request,
                     struct http_response *response, struct err *e)
{
	struct retry retry = retry_start(&(struct retry_policy){.attempts = 3, .base_ms = 100, .cap_ms = 1000}, NULL);
	struct http_request bounded = *request;
	enum err_code code;
	struct err failure;

	bounded.memory_max = ANSWER_MAX;
	for (;;) {
		code = http_send(http, &bounded, response, &failure);
		if (code == ERR_OK && response->status != 200)
			code = http_status_error(response, &failure, "%s", what);
		if (code == ERR_NOT_FOUND) /* said by somebody who ought to know: not the "ask the next" of a source */
			code = failure.code = ERR_INTERNAL;
		if (code == ERR_OK)
			return ERR_OK;
		if (!retry_again(&retry, &failure))
			break;
		http_response_release(response);
	}
	if (e)
		*e = failure;
	return code;
}

/* ---- environment ---- */

enum err_code s3_source_environment(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                    struct err *e)
{
	const char *access = s3_variable("AWS_ACCESS_KEY_ID"), *secret = s3_variable("AWS_SECRET_ACCESS_KEY");
	const char *token = s3_variable("AWS_SESSION_TOKEN");

	(void)context;
	if (!access && !secret)
		return ERR(e, ERR_NOT_FOUND, "AWS_ACCESS_KEY_ID is not set");
	if (!access || !secret)
		return ERR(e, ERR_UNAUTHENTICATED, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together");
	*found = (struct s3_found){
	    .access_key = talloc_strdup(ctx, access),
	    .secret_key = talloc_strdup(ctx, secret),
	    .token = token ? talloc_strdup(ctx, token) : NULL,
	};
	return ERR_OK;
}

/* ---- shared credentials file ---- */

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t\r");
	len = strlen(text);
	while (len > 0 && strchr(" \t\r", text[len - 1]))
		text[--len] = '\0';
	return text;
}

static void take_setting(struct s3_found *found, char *line)
{
	char *value = strchr(line, '=');
	const char *name;

	if (!value)
		return;
	*value++ = '\0';
	name = trim(line);
	value = trim(value);
	if (strcmp(name, "aws_access_key_id") == 0)
		found->access_key = value;
	else if (strcmp(name, "aws_secret_access_key") == 0)
		found->secret_key = value;
	else if (strcmp(name, "aws_session_token") == 0)
		found->token = value;
}

/* The texts of found point into text. */
static void read_profile(char *text, const char *profile, struct s3_found *found)
{
	bool ours = false;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		line = trim(line);
		if (line[0] == '[') {
			line[strcspn(line, "]")] = '\0';
			ours = strcmp(trim(line + 1), profile) == 0;
		} else if (ours && line[0] != '#' && line[0] != ';') {
			take_setting(found, line);
		}
	}
}

enum err_code s3_source_file(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                             struct err *e)
{
	const char *path = s3_variable("AWS_SHARED_CREDENTIALS_FILE"), *profile = s3_variable("AWS_PROFILE");
	const char *home = s3_variable("HOME");
	bool named = path || profile;
	enum err_code code;
	char *text;

	(void)context;
	profile = profile ? profile : "default";
	if (!path && !home)
		return ERR(e, ERR_NOT_FOUND, "HOME is not set");
	path = path ? path : talloc_asprintf(ctx, "%s/.aws/credentials", home);
	code = s3_read_file(ctx, path, &text, e);
	if (code != ERR_OK)
		return code == ERR_NOT_FOUND ? code : ERR(e, ERR_UNAUTHENTICATED, "cannot read %s", path);
	*found = (struct s3_found){0};
	read_profile(text, profile, found);
	if (found->access_key && found->secret_key)
		return ERR_OK;
	/* Somebody else's file, unless it was asked for by name. */
	return ERR(e, named ? ERR_UNAUTHENTICATED : ERR_NOT_FOUND,
	           "%s has no aws_access_key_id and aws_secret_access_key in section [%s]", path, profile);
}

/* ---- web identity ---- */

static const char *token_service(TALLOC_CTX *ctx, const struct s3_source_context *context)
{
	const char *url = s3_variable("AWS_ENDPOINT_URL_STS"), *region = context->region;

	region = region ? region : s3_variable("AWS_REGION");
	region = region ? region : s3_variable("AWS_DEFAULT_REGION");
	region = region ? region : "us-east-1";
	if (url)
		return url;
	return talloc_asprintf(ctx, "https://sts.%s.amazonaws.com%s/", region,
	                       strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

static enum err_code take_result(TALLOC_CTX *ctx, const struct http_response *response, struct s3_found *found,
                                 struct err *e)
{
	const char *xml = response->body.bytes, *end;
	size_t len = response->body.len;

	*found = (struct s3_found){
	    .access_key = s3_xml_text(ctx, xml, len, RESULT "AccessKeyId"),
	    .secret_key = s3_xml_text(ctx, xml, len, RESULT "SecretAccessKey"),
	    .token = s3_xml_text(ctx, xml, len, RESULT "SessionToken"),
	};
	end = s3_xml_text(ctx, xml, len, RESULT "Expiration");
	found->expires_ms = end ? clock_parse(end) : 0;
	if (!found->access_key || !found->secret_key || !found->token || !found->expires_ms)
		return ERR(e, ERR_INTERNAL, "the token service's answer is not understood");
	return ERR_OK;
}

enum err_code s3_source_web_identity(TALLOC_CTX *ctx, const struct s3_source_context *context, struct s3_found *found,
                                     struct err *e)
{
	static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded",
	                                      "Accept: application/xml", NULL};
	CLEANUP(http_response_release) struct http_response response = {0};
	const char *path = s3_variable("AWS_WEB_IDENTITY_TOKEN_FILE"), *role = s3_variable("AWS_ROLE_ARN");
	const char *session = s3_variable("AWS_ROLE_SESSION_NAME");
	char *token, *form;
	enum err_code code;

	if (!path || !role)
		return ERR(e, ERR_NOT_FOUND, "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN are not set");
	if (s3_read_file(ctx, path, &token, e) != ERR_OK)
		return ERR(e, ERR_UNAUTHENTICATED, "cannot read the token in %s", path);
	form = talloc_asprintf(ctx,
	                       "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=%s&RoleSessionName=%s"
	                       "&WebIdentityToken=%s",
	                       http_escape(ctx, role), http_escape(ctx, session ? session : "stowage"),
	                       http_escape(ctx, token));
	code = s3_ask(context->http, "token service",
	              &(struct http_request){.method = "POST",
	                                     .url = token_service(ctx, context),
	                                     .headers = headers,
	                                     .body = form,
	                                     .body_len = strlen(form)},
	              &response, e);
	if (code == ERR_INVALID || code == ERR_FORBIDDEN) {
		char *why = response.body.bytes
		                ? s3_xml_text(ctx, response.body.bytes, response.body.len, "ErrorResponse/Error/Code")
		                : NULL;

		/* It has one status for what passes and for what does not. */
		if (why && (s3_refusal_of_code(why) == ERR_UNAVAILABLE || strcmp(why, "IDPCommunicationError") == 0))
			return ERR(e, ERR_UNAVAILABLE, "the token service cannot say now who is %s: %s", role, why);
		return ERR(e, ERR_UNAUTHENTICATED, "the token service refuses %s: %s", role,
		           why ? why : "no reason given");
	}
	TRY(code);
	return take_result(ctx, &response, found, e);
}
