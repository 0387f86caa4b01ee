/*
 * reference: the name under which an image stands in a registry, as people write it.
 *
 *     [http://|https://]host[:port]/repository[:tag][@sha256:<64 hex digits>]
 *
 * The first component is a host when it has a dot or a colon in it, is "localhost", or follows a scheme (such a host
 * without a dot gets its port written out, to stay a host when the name is read back); otherwise the whole is a
 * repository of docker.io, where a single component gets "library/" before it. So "debian" is
 * docker.io/library/debian:latest and "localhost:5000/app@sha256:..." has no tag. Without a tag and without a digest
 * the tag is "latest"; with a digest, the digest decides what is fetched and the tag, if there is one, is only a name.
 *
 * A reference holds no pointers: it may be copied, kept and compared by its printed form, which is canonical. The host
 * is turned to lower case and its default port dropped nowhere: "host:443" and "host" are two registries.
 */
#ifndef COMMON_REFERENCE_H
#define COMMON_REFERENCE_H

#include "common/digest.h"

#define REFERENCE_REGISTRY_MAX 255   /* host and port, characters */
#define REFERENCE_REPOSITORY_MAX 255 /* characters, as the distribution grammar has it */
#define REFERENCE_TAG_MAX 128

enum reference_scheme {
	REFERENCE_SCHEME_ANY, /* https, or what the registry's settings allow */
	REFERENCE_SCHEME_HTTP,
	REFERENCE_SCHEME_HTTPS,
};

struct reference {
	enum reference_scheme scheme; /* only if it was written; no part of the name */
	char registry[REFERENCE_REGISTRY_MAX + 1];
	char repository[REFERENCE_REPOSITORY_MAX + 1];
	char tag[REFERENCE_TAG_MAX + 1]; /* empty: none */
	struct digest digest;            /* none: by tag */
};

/* ERR_INVALID quotes the text and says what is wrong with it; *r is then undefined. */
enum err_code reference_parse(const char *text, struct reference *r, struct err *e) MUST_CHECK;

/* "registry/repository[:tag][@digest]", on ctx: the canonical name. reference_parse reads it back to an equal one,
 * but for the scheme. */
char *reference_print(TALLOC_CTX *ctx, const struct reference *r);

/* The same with the scheme before it, if one was written: what a later fetch needs. */
char *reference_print_source(TALLOC_CTX *ctx, const struct reference *r);

/* Sets the digest: what a tag was resolved to. */
void reference_pin(struct reference *r, const struct digest *digest);

/* The host to connect to: registry, but "registry-1.docker.io" for docker.io. */
const char *reference_host(const struct reference *r);

#endif
