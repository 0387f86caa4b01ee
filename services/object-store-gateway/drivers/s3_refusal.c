#include "services/object-store-gateway/drivers/s3_refusal.h"

#include "services/object-store-gateway/drivers/s3_xml.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *code;
	enum err_code error;
} meanings[] = {
    {"AccessDenied", ERR_FORBIDDEN},
    {"AccountProblem", ERR_FORBIDDEN},
    {"AllAccessDisabled", ERR_FORBIDDEN},
    {"BucketAlreadyExists", ERR_FORBIDDEN}, /* somebody else's */
    {"InvalidObjectState", ERR_FORBIDDEN},  /* moved to a cold storage class */

    {"AuthorizationHeaderMalformed", ERR_UNAUTHENTICATED},
    {"ExpiredToken", ERR_UNAUTHENTICATED},
    {"InvalidAccessKeyId", ERR_UNAUTHENTICATED},
    {"InvalidSecurity", ERR_UNAUTHENTICATED},
    {"InvalidToken", ERR_UNAUTHENTICATED},
    {"NotSignedUp", ERR_UNAUTHENTICATED},
    {"RequestTimeTooSkewed", ERR_UNAUTHENTICATED},
    {"SignatureDoesNotMatch", ERR_UNAUTHENTICATED},
    {"TokenRefreshRequired", ERR_UNAUTHENTICATED},

    {"NoSuchBucket", ERR_NOT_FOUND},
    {"NoSuchKey", ERR_NOT_FOUND},

    {"BucketAlreadyOwnedByYou", ERR_CONFLICT},
    {"PreconditionFailed", ERR_PRECONDITION},
    {"MethodNotAllowed", ERR_UNSUPPORTED},
    {"NotImplemented", ERR_UNSUPPORTED},
    {"InvalidBucketName", ERR_INVALID},
    {"PermanentRedirect", ERR_INVALID},

    {"QuotaExceeded", ERR_EXHAUSTED},
    {"XMinioStorageFull", ERR_EXHAUSTED},

    {"BadDigest", ERR_UNAVAILABLE}, /* the bytes did not arrive as they were sent */
    {"BandwidthLimitExceeded", ERR_UNAVAILABLE},
    {"ConditionalRequestConflict", ERR_UNAVAILABLE},
    {"IncompleteBody", ERR_UNAVAILABLE},
    {"InternalError", ERR_UNAVAILABLE},
    {"OperationAborted", ERR_UNAVAILABLE},
    {"RequestLimitExceeded", ERR_UNAVAILABLE},
    {"RequestTimeout", ERR_UNAVAILABLE},
    {"ServiceUnavailable", ERR_UNAVAILABLE},
    {"SlowDown", ERR_UNAVAILABLE},
    {"Throttling", ERR_UNAVAILABLE},
    {"ThrottlingException", ERR_UNAVAILABLE},
    {"XAmzContentSHA256Mismatch", ERR_UNAVAILABLE},
};

static void copy_text(char *into, size_t size, const char *text)
{
	size_t n = 0;

	for (; text && *text && n + 1 < size; text++)
		into[n++] = (unsigned char)*text < ' ' ? ' ' : *text;
	into[n] = '\0';
}

struct scan {
	struct s3_refusal *refusal;
	bool root_is_error;
};

static enum err_code on_element(void *arg, const char *path, const char *text, struct err *e)
{
	struct scan *s = arg;

	(void)e;
	if (strcmp(path, "Error/Code") == 0)
		copy_text(s->refusal->code, sizeof(s->refusal->code), text);
	else if (strcmp(path, "Error/Message") == 0)
		copy_text(s->refusal->message, sizeof(s->refusal->message), text);
	else if (strcmp(path, "Error/Region") == 0)
		copy_text(s->refusal->region, sizeof(s->refusal->region), text);
	else if (strcmp(path, "Error") == 0)
		s->root_is_error = true;
	return ERR_OK;
}

bool s3_refusal_read(const struct http_response *response, struct s3_refusal *r)
{
	struct scan scan = {.refusal = r};
	bool success = response->status >= 200 && response->status < 300;
	SCRATCH_CTX(ctx);
	const char *region;

	*r = (struct s3_refusal){.status = response->status};
	if (response->body.len &&
	    s3_xml_read(response->body.bytes, response->body.len, on_element, &scan, NULL) != ERR_OK)
		*r = (struct s3_refusal){.status = response->status};
	if (success)
		return scan.root_is_error;
	region = http_header(ctx, response, "x-amz-bucket-region");
	if (region)
		copy_text(r->region, sizeof(r->region), region);
	return true;
}

bool s3_refusal_is(const struct s3_refusal *r, const char *code)
{
	return strcmp(r->code, code) == 0;
}

static enum err_code of_status(int status)
{
	switch (status) {
	case 401:
		return ERR_UNAUTHENTICATED;
	case 403:
		return ERR_FORBIDDEN;
	case 408:
	case 429:
		return ERR_UNAVAILABLE;
	case 412:
		return ERR_PRECONDITION;
	case 501:
		return ERR_UNSUPPORTED;
	case 507:
		return ERR_EXHAUSTED;
	default:
		return status >= 500 ? ERR_UNAVAILABLE : ERR_INTERNAL;
	}
}

enum err_code s3_refusal_of_code(const char *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (strcmp(meanings[i].code, code) == 0)
			return meanings[i].error;
	return ERR_INTERNAL;
}

enum err_code s3_refusal_error(const struct s3_refusal *r, const char *what, struct err *e)
{
	enum err_code code = r->code[0] ? s3_refusal_of_code(r->code) : ERR_INTERNAL;

	if (code == ERR_INTERNAL) /* also a code that nobody here has heard of */
		code = of_status(r->status);
	if (r->code[0])
		return ERR(e, code, "%s: %s%s%s (status %d)", what, r->code, r->message[0] ? ": " : "", r->message,
		           r->status);
	if (code == ERR_INTERNAL)
		return ERR(e, code, "%s: status %d without an S3 error is not understood", what, r->status);
	return ERR(e, code, "%s: status %d", what, r->status);
}
