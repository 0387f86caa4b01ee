/*
 * package_set: what names a set of packages, so that two images with the same packages share one.
 *
 * A set is the packages of one ecosystem in an image, each once, in set order: by type, name, version, location, arch,
 * purl, source and licenses, compared byte by byte. Its digest is the SHA-256 over one line for each package:
 *
 *     type TAB name TAB version TAB arch TAB purl TAB location [TAB source [TAB license]...] NEWLINE
 *
 * What is absent is empty; the bracketed part is there only when the package has a source or a licence. TAB, NEWLINE
 * and backslash within a field are written \t, \n and \\: no two sets have the same lines, whatever their packages are
 * called, and whoever knows a digest can be sure of everything in the set. Sets are therefore shared among accounts.
 *
 *     package_set_sort(packages, &count);
 *     digest = package_set_digest(packages, count);
 *
 * For sets of many parts there is the hash, fed in set order.
 */
#ifndef PROTO_DOCUMENT_PACKAGE_SET_H
#define PROTO_DOCUMENT_PACKAGE_SET_H

#include "common/digest.h"

struct package; /* proto/messages.h */
struct package_set_hash;

/* As memcmp, in set order. 0: equal in everything. */
int package_set_compare(const struct package *a, const struct package *b);

/* Into set order; equal packages are then there once, and *count says how many are left. */
void package_set_sort(struct package *packages, size_t *count);

/* packages are in set order. */
struct digest package_set_digest(const struct package *packages, size_t count);

struct package_set_hash *package_set_hash_new(TALLOC_CTX *ctx);
void package_set_hash_add(struct package_set_hash *h, const struct package *package);
struct digest package_set_hash_finish(struct package_set_hash *h); /* also resets */

/* Of what a package is, wherever it lies: its line with an empty location. */
struct digest package_digest(const struct package *package);

#endif
