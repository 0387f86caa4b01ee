/*
 * record: C structs to JSON and back, by their table of fields.
 *
 * Every record, request and reply in the .def files is a plain struct (proto/messages.h) and a table of its fields. The
 * two functions here are all there is between a struct and the wire; nothing else in Stowage reads or writes a message.
 *
 * Decoding believes nothing: a field that is missing though required, of another type, out of range, too long, not
 * UTF-8, or (in requests) unknown, is ERR_INVALID and names the message, the field and the value. Absent optional
 * fields are 0, false, NULL, empty or the digest of 32 zero bytes. Everything decoded hangs on ctx.
 */
#ifndef PROTO_RECORD_H
#define PROTO_RECORD_H

#include "common/digest.h"
#include "common/err.h"

#include <cjson/cJSON.h>

#define PROTO_MAX_NUMBER ((int64_t)1 << 53) /* what JSON numbers carry exactly */

struct proto_pair {
	const char *key, *value;
};

struct proto_map { /* text to text, in the sender's order */
	struct proto_pair *items;
	size_t count;
};

struct proto_texts {
	const char **items;
	size_t count;
};

struct proto_digests {
	struct digest *items;
	size_t count;
};

enum proto_type {
	PROTO_text,    /* const char *                        string */
	PROTO_flag,    /* bool                                true; absent is false */
	PROTO_number,  /* int64_t                             number */
	PROTO_digest,  /* struct digest                       "sha256:<hex>" */
	PROTO_choice,  /* enum, of the type's table           its text */
	PROTO_map,     /* struct proto_map                    object of strings */
	PROTO_texts,   /* struct proto_texts                  array of strings */
	PROTO_digests, /* struct proto_digests                array of "sha256:<hex>" */
	PROTO_record,  /* pointer to the record's struct      object */
	PROTO_list,    /* pointer and <name>_count            array of objects */
};

struct proto_choice {
	int value;
	const char *text;
};

struct proto_record;

struct proto_field {
	const char *name;
	enum proto_type type;
	bool required;
	int64_t least, most;
	size_t offset, count_offset;                /* count_offset: of <name>_count, for lists */
	const struct proto_record *(*record)(void); /* of records and lists */
	const struct proto_choice *choices;         /* of choices, ends with a NULL text */
	const char *type_name;                      /* of records, lists and choices; else NULL */
};

struct proto_record {
	const char *name;
	size_t size;
	const struct proto_field *fields;
	size_t count;
};

enum proto_unknown { PROTO_REJECT_UNKNOWN, PROTO_IGNORE_UNKNOWN };

/* Fills *into (record->size bytes). */
enum err_code proto_decode(const struct proto_record *record, TALLOC_CTX *ctx, const cJSON *from,
                           enum proto_unknown unknown, void *into, struct err *e) MUST_CHECK;

/* A new JSON object, to be freed with cJSON_Delete. The same checks apply: a struct that could not be decoded is not
 * sent. */
enum err_code proto_encode(const struct proto_record *record, const void *from, cJSON **out, struct err *e) MUST_CHECK;

/* Text of a choice's value ("" for 0), and back (0 if no such text). */
const char *proto_choice_text(const struct proto_choice *choices, int value);
int proto_choice_value(const struct proto_choice *choices, const char *text);

/* Whether len bytes are well-formed UTF-8 (RFC 3629), without NUL. */
bool proto_is_utf8(const char *text, size_t len);

/* Any bytes as a text that a message may hold, on ctx: bytes that are not UTF-8, and control characters, become a
 * backslash and three octal digits; what then exceeds max bytes is cut, between characters. */
char *proto_clean_text(TALLOC_CTX *ctx, const char *text, size_t max);

#endif
