#include "services/cli/values.h"

#include "common/platform.h"
#include "common/reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT_MAX 128
#define BUCKET_MAX 64
#define KEY_MAX 1024
#define NAME_MAX_BYTES 512
#define QUOTED "\"%.160s\""

static const char account_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._-";
static const char digest_prefix[] = "sha256:";

const char *const ecosystems[] = {"os",   "dpkg", "apk",  "rpm",      "python", "npm",   "gem",
                                  "java", "go",   "rust", "composer", "dotnet", "conda", NULL};

/* What package URLs call them: `find package` takes both. */
static const char *const purl_types[] = {"deb", "pypi", "maven", "golang", "cargo", "nuget", "generic", NULL};

const char *const content_documents[] = {"manifest", "config", "dockerfile", NULL};

static const char *const stores[] = {"object_store", "analysis_archive", NULL};

bool value_is_one_of(const char *text, const char *const *list)
{
	while (*list && strcmp(*list, text) != 0)
		list++;
	return *list;
}

enum err_code value_is_account(const char *text, struct err *e)
{
	size_t len = strlen(text);

	if (len < 1 || len > ACCOUNT_MAX || strspn(text, account_letters) != len || strchr("._-", text[0]))
		return ERR(e, ERR_INVALID, QUOTED " is no account name: a-z 0-9 . _ - are allowed, first a-z or 0-9",
		           text);
	return ERR_OK;
}

/* ---- images ---- */

enum err_code value_is_reference(const char *text, struct err *e)
{
	struct reference r;

	return reference_parse(text, &r, e);
}

enum err_code value_is_tagged(const char *text, struct err *e)
{
	struct reference r;

	TRY(reference_parse(text, &r, e));
	if (!r.tag[0])
		return ERR(e, ERR_INVALID, "reference " QUOTED " has no tag", text);
	return ERR_OK;
}

enum err_code value_is_tag_pattern(const char *text, struct err *e)
{
	return strchr(text, '*') ? ERR_OK : value_is_tagged(text, e);
}

enum err_code value_is_digest(const char *text, struct err *e)
{
	struct digest d;

	if (!digest_parse(text, &d))
		return ERR(e, ERR_INVALID, QUOTED " is no digest: sha256: and 64 digits of 0-9 a-f", text);
	return ERR_OK;
}

/* Tables for terminals show the first digits of a digest; a tag of a repository "sha256" is meant by nobody. */
static enum err_code is_image(const char *text, struct err *e)
{
	if (strncmp(text, digest_prefix, strlen(digest_prefix)) == 0)
		return value_is_digest(text, e);
	return value_is_reference(text, e);
}

enum err_code value_is_platform(const char *text, struct err *e)
{
	struct platform p;

	return platform_parse(text, &p, e);
}

enum err_code value_is_annotation(const char *text, struct err *e)
{
	size_t len = strcspn(text, "=");

	if (!len || !text[len])
		return ERR(e, ERR_INVALID, QUOTED " is not KEY=VALUE", text);
	return ERR_OK;
}

enum err_code value_is_ecosystem(const char *text, struct err *e)
{
	if (!value_is_one_of(text, ecosystems) && !value_is_one_of(text, purl_types))
		return ERR(e, ERR_INVALID,
		           QUOTED " is no ecosystem: os, dpkg, apk, rpm, python, npm, gem, java, go, rust, composer, "
		                  "dotnet, conda, or a type of package URL (deb, pypi, maven ...)",
		           text);
	return ERR_OK;
}

static enum err_code is_package(const char *text, struct err *e)
{
	if (strlen(text) > NAME_MAX_BYTES)
		return ERR(e, ERR_INVALID, "a package's name has at most %d bytes", NAME_MAX_BYTES);
	return ERR_OK;
}

/* ---- jobs and objects ---- */

int64_t value_number(const char *text)
{
	return strtoll(text, NULL, 10);
}

enum err_code value_is_number(const char *text, struct err *e)
{
	bool digits = *text && strspn(text, "0123456789") == strlen(text);
	long long number;

	errno = 0;
	number = strtoll(text, NULL, 10);
	if (!digits || errno || number < 1 || number > (int64_t)1 << 53)
		return ERR(e, ERR_INVALID, QUOTED " is no number from 1 on", text);
	return ERR_OK;
}

int64_t value_percent(const char *text)
{
	return llround(strtod(text, NULL) * 10000);
}

enum err_code value_is_percent(const char *text, struct err *e)
{
	size_t digits = strspn(text, "0123456789.");
	char *end;
	double value = strtod(text, &end);

	if (!digits || end != text + digits || (*end && strcmp(end, "%") != 0) || !(value >= 0.0001) || value > 100)
		return ERR(e, ERR_INVALID, QUOTED " is no percentage: a number from 0.0001 to 100 is expected", text);
	return ERR_OK;
}

static enum err_code is_job(const char *text, struct err *e)
{
	if (value_is_number(text, NULL) != ERR_OK)
		return ERR(e, ERR_INVALID, QUOTED " is no number of a job", text);
	return ERR_OK;
}

static enum err_code is_store(const char *text, struct err *e)
{
	if (!value_is_one_of(text, stores))
		return ERR(e, ERR_INVALID, QUOTED " is no store: object_store or analysis_archive", text);
	return ERR_OK;
}

static enum err_code is_bucket(const char *text, struct err *e)
{
	size_t len = strlen(text);

	if (len < 1 || len > BUCKET_MAX || strspn(text, account_letters) != len)
		return ERR(e, ERR_INVALID, QUOTED " is no bucket: 1 to %d of a-z 0-9 - _ .", text, BUCKET_MAX);
	return ERR_OK;
}

enum err_code value_is_key(const char *text, struct err *e)
{
	size_t len = strlen(text);

	if (len < 1 || len > KEY_MAX)
		return ERR(e, ERR_INVALID, "a key has 1 to %d bytes, not %zu", KEY_MAX, len);
	return ERR_OK;
}

static enum err_code is_host(const char *text, struct err *e)
{
	SCRATCH_CTX(ctx);
	char *probe = talloc_asprintf(ctx, "https://%s/probe", text);
	struct reference r;

	ASSERT(probe);
	if (strchr(text, '/') || reference_parse(probe, &r, NULL) != ERR_OK)
		return ERR(e, ERR_INVALID, QUOTED " is no registry: HOST or HOST:PORT", text);
	return ERR_OK;
}

const struct argument_spec argument_specs[] = {
    {"IMAGE", is_image, "a digest (sha256: and 64 digits), or a reference that names it: [HOST/]REPOSITORY[:TAG]"},
    {"A", is_image, "an image: a digest or a reference"},
    {"B", is_image, "the image that it is compared with"},
    {"REF", value_is_reference, "[HOST/]REPOSITORY[:TAG] or [HOST/]REPOSITORY@sha256:..., as container tools take it"},
    {"PATH", NULL, "what `docker save` or a like tool wrote, an OCI layout, or such a layout in a tar"},
    {"TYPE", NULL,
     "packages (all of them), os (those of the distribution), one ecosystem (dpkg, apk, rpm, python, npm, gem, java, "
     "go, "
     "rust, composer, dotnet, conda), licenses, files, suid, manifest, config, dockerfile"},
    {"JOB", is_job, "the number of a job, as `job ls` and `image get` show it"},
    {"NAME", is_package, "the package's whole name"},
    {"STORE", is_store, "object_store (the working set) or analysis_archive (the archive)"},
    {"BUCKET", is_bucket, "what an account's objects are grouped by: 1 to 64 of a-z 0-9 - _ ."},
    {"KEY", value_is_key, "the object's name in its bucket, up to 1024 bytes"},
    {"FILE", NULL, "a file; - is stdin"},
    {"HOST", is_host, "the registry: HOST or HOST:PORT, as in references"},
    {"ACCOUNT", value_is_account, "an account's name: a-z 0-9 . _ -"},
    {.word = NULL},
};
