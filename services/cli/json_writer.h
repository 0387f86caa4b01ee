/*
 * json_writer: a JSON document of any size, written as it comes, with memory for its nesting only.
 *
 *     struct json_writer *w = json_writer_new(ctx, out);
 *     json_open_object(w, NULL);
 *     json_add_text(w, "name", "x");
 *     json_open_array(w, "items");
 *     json_add_text(w, NULL, "first");
 *     json_close(w);
 *     json_close(w);
 *
 * name is NULL inside an array and for the outermost value. Texts that are not UTF-8 get U+FFFD for what is not. A
 * failed write shows in ferror(out). The same calls give the same bytes.
 */
#ifndef CLI_JSON_WRITER_H
#define CLI_JSON_WRITER_H

#include "common/base.h"

#include <cjson/cJSON.h>
#include <stdio.h>

#define JSON_WRITER_DEPTH 32

struct json_writer;

struct json_writer *json_writer_new(TALLOC_CTX *ctx, FILE *out);

void json_open_object(struct json_writer *w, const char *name);
void json_open_array(struct json_writer *w, const char *name);

/* The innermost that is open. The outermost is followed by a newline. */
void json_close(struct json_writer *w);

void json_add_text(struct json_writer *w, const char *name, const char *text);
void json_add_bytes(struct json_writer *w, const char *name, const char *text, size_t len);
void json_add_number(struct json_writer *w, const char *name, int64_t number);
void json_add_flag(struct json_writer *w, const char *name, bool flag);
void json_add_value(struct json_writer *w, const char *name, const cJSON *value);

/* text, unless it is NULL or empty. */
void json_add_known(struct json_writer *w, const char *name, const char *text);

#endif
