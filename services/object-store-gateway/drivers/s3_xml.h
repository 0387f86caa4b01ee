/*
 * s3_xml: the small XML documents with which S3 and STS answer, read through expat without trusting their shape.
 *
 *     static enum err_code on_element(void *arg, const char *path, const char *text, struct err *e);
 *
 *     TRY(s3_xml_read(body.bytes, body.len, on_element, &listing, e));
 *
 * The visitor is called at the end of each element, innermost first, with its path from the root ("ListBucketResult/
 * Contents/Key", prefixes of name spaces left out) and its own text; for an element that has others in it the call is
 * the sign that it is complete, and its text is only what stands between them.
 *
 * Document types, and with them entities, are refused, as are more than 16 levels and texts of more than 4 KiB.
 */
#ifndef GATEWAY_DRIVERS_S3_XML_H
#define GATEWAY_DRIVERS_S3_XML_H

#include "common/err.h"

/* path and text live as long as the call. An error ends the reading. */
typedef enum err_code (*s3_xml_visit)(void *arg, const char *path, const char *text, struct err *e);

/* ERR_CORRUPT: no whole XML document within the limits; or what the visitor returned. */
enum err_code s3_xml_read(const char *xml, size_t len, s3_xml_visit visit, void *arg, struct err *e) MUST_CHECK;

/* The first element of that path, copied to ctx; NULL: there is none, or the text is no such document. */
char *s3_xml_text(TALLOC_CTX *ctx, const char *xml, size_t len, const char *path);

#endif
