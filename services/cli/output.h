/*
 * output: answers on stdout, for people or as one JSON document; errors on stderr.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "services/cli/cli.h"

/* A reply or record as a JSON document, fields named as in the protocol. */
enum err_code output_record(const struct proto_record *record, const void *from, struct err *e) MUST_CHECK;

/* {<what>: name, <state>: flag}: where a reply says too little to stand alone. */
enum err_code output_named(const char *what, const char *name, const char *state, bool flag);

/* `stowage: <code>: <text>`, or {"error": {"code", "message"}} with --json. */
void output_error(bool json, const struct err *e);

/* ERR_INTERNAL when something could not be written to stdout (a full disk); a closed pipe is no error. */
enum err_code output_finish(struct err *e) MUST_CHECK;

/* Texts for people, on ctx. */
const char *show_bytes(TALLOC_CTX *ctx, int64_t bytes);          /* 17 B, 1.2 KiB, 690 MiB */
const char *show_ms(TALLOC_CTX *ctx, int64_t ms);                /* 12 ms, 1.3 s, 4 min 10 s */
const char *show_time(TALLOC_CTX *ctx, int64_t wall_ms);         /* 2026-01-31 23:59:59 UTC; "" for 0 */
const char *show_age(TALLOC_CTX *ctx, int64_t wall_ms);          /* 5 s ago, 3 h ago, 12 d ago; "" for 0 */
const char *show_number(TALLOC_CTX *ctx, int64_t number);        /* 50149 */
const char *show_short(TALLOC_CTX *ctx, const struct digest *d); /* the first 12 digits, as sha256:0123456789ab */
/* The digest in full; on a terminal, where lines are short, its first digits. */
const char *show_image_name(const struct cli *cli, TALLOC_CTX *ctx, const struct digest *d);
const char *show_texts(TALLOC_CTX *ctx, const struct proto_texts *texts); /* joined by ", " */
const char *show_flag(bool flag);                                         /* "yes", "" */

/* Lines of "name: value" with aligned values; an empty or NULL value is left out. Values are made harmless. */
struct fields;
struct fields *fields_new(TALLOC_CTX *ctx);
void fields_add(struct fields *f, const char *name, const char *value);
void fields_print(const struct fields *f, FILE *out);

#endif
