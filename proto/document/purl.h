/*
 * purl: package URLs, the name that a package has everywhere (github.com/package-url/purl-spec).
 *
 *     pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12
 *     pkg:npm/%40babel/core@7.23.0
 *     pkg:pypi/ruamel-yaml@0.18.5
 */
#ifndef PROTO_DOCUMENT_PURL_H
#define PROTO_DOCUMENT_PURL_H

#include "common/base.h"

struct purl_parts {
	const char *type;                          /* "deb" */
	const char *name, *version, *arch;         /* version and arch may be NULL */
	const char *distro_id, *distro_version_id; /* of the image; may be NULL. Used for deb, apk and rpm */
};

/* The canonical text, on ctx. */
char *purl_make(TALLOC_CTX *ctx, const struct purl_parts *parts);

#endif
