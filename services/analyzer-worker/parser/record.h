/*
 * record: an entry of a layer while it is sorted: what the files document will say of it, when it came, and what
 * catalogers found in it. Packed, it is a few dozen bytes and its path.
 *
 * Records are ordered by path and, for one path, by when they came.
 */
#ifndef ANALYZER_PARSER_RECORD_H
#define ANALYZER_PARSER_RECORD_H

#include "proto/document/files.h"

/* Not an entry: the hard link that came then (seq) wants to know what the path is. Beside files_type. */
#define RECORD_REQUEST ((enum files_type)'r')

#define RECORD_PACKED_MAX (2 * FILES_PATH_MAX + 128)

struct record {
	struct files_entry entry;
	uint32_t seq;     /* 1, 2, ... in the order of the tar; 0 for implied directories */
	uint32_t link_id; /* of a hard link and a request: index of the answer */
	uint64_t note;    /* where in the log the lines for the summary are; note_len is 0 if there are none */
	uint32_t note_len;
};

/* Bytes written; a multiple of 8. to has room for RECORD_PACKED_MAX bytes. */
size_t record_pack(const struct record *r, void *to);

/* r's strings point into packed and are not terminated. Returns the packed length. */
size_t record_unpack(const void *packed, struct record *r);

/* From the first 4 bytes. */
size_t record_packed_len(const void *packed);

int record_packed_compare(const void *a, const void *b);
int record_compare(const struct record *a, const struct record *b);

#endif
