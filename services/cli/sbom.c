#include "services/cli/sbom.h"

#include "common/clock.h"
#include "common/reference.h"

#include <ctype.h>
#include <string.h>

#define UUID_BYTES 16

char *sbom_uuid(TALLOC_CTX *ctx, const char *purpose, const struct digest *image)
{
	char *seed = talloc_asprintf(ctx, "stowage %s %s", purpose, digest_text(image).text);
	struct digest d;
	const uint8_t *b = d.bytes;
	char *text;

	ASSERT(seed);
	d = digest_of(seed, strlen(seed));
	d.bytes[6] = (uint8_t)((d.bytes[6] & 0x0f) | 0x80); /* version 8: bytes of our own choice */
	d.bytes[8] = (uint8_t)((d.bytes[8] & 0x3f) | 0x80);
	text = talloc_asprintf(ctx, "urn:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
	                       b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
	                       b[14], b[UUID_BYTES - 1]);
	ASSERT(text);
	return text;
}

static char *escape(TALLOC_CTX *ctx, const char *text, bool keep_slash)
{
	char *out = talloc_strdup(ctx, "");

	for (; *text; text++) {
		bool plain = isalnum((unsigned char)*text) || strchr("-._~", *text) || (keep_slash && *text == '/');

		out = talloc_asprintf_append(out, plain ? "%c" : "%%%02X", (unsigned char)*text);
	}
	ASSERT(out);
	return out;
}

char *sbom_image_purl(TALLOC_CTX *ctx, const struct image_detail *image)
{
	const char *architecture = image->platform ? strchr(image->platform, '/') : NULL;
	struct reference r;
	const char *name;
	char *purl, *repository;

	if (!image->reference || reference_parse(image->reference, &r, NULL) != ERR_OK)
		return NULL;
	name = strrchr(r.repository, '/');
	name = name ? name + 1 : r.repository;
	repository = talloc_asprintf(ctx, "%s/%s", r.registry, r.repository);
	purl =
	    talloc_asprintf(ctx, "pkg:oci/%s@sha256%%3A%s?", escape(ctx, name, false), digest_hex(&image->digest).text);
	if (architecture)
		purl =
		    talloc_asprintf_append(purl, "arch=%.*s&", (int)strcspn(architecture + 1, "/"), architecture + 1);
	purl = talloc_asprintf_append(purl, "repository_url=%s", escape(ctx, repository, true));
	if (*r.tag)
		purl = talloc_asprintf_append(purl, "&tag=%s", escape(ctx, r.tag, false));
	ASSERT(purl);
	return purl;
}

const char *sbom_image_name(TALLOC_CTX *ctx, const struct image_detail *image)
{
	struct reference r;

	if (image->reference && reference_parse(image->reference, &r, NULL) == ERR_OK)
		return talloc_asprintf(ctx, "%s/%s", r.registry, r.repository);
	return talloc_strdup(ctx, digest_text(&image->digest).text);
}

const char *sbom_time(TALLOC_CTX *ctx, const struct image_detail *image)
{
	return image->created_at ? talloc_strdup(ctx, clock_format(image->created_at).text) : NULL;
}
