/*
 * stanza: text of "Name: value" lines with continuation lines, in stanzas that blank lines end: dpkg's databases, and
 * the headers of Python's metadata. Slices point into the text; nothing is copied.
 */
#ifndef ANALYZER_CATALOGERS_STANZA_H
#define ANALYZER_CATALOGERS_STANZA_H

#include "common/base.h"

struct stanza {
	const char *at, *end;
	size_t line; /* of the item returned last, from 1 */
	size_t next_line;
};

enum stanza_item {
	STANZA_FIELD,
	STANZA_BLANK, /* a stanza ends, or a blank line more */
	STANZA_OTHER, /* a line that is neither field, continuation nor blank */
	STANZA_END,
};

struct stanza_field {
	const char *name, *value; /* value: of the first line, without white space around it */
	size_t name_len, value_len;
	bool continued; /* there are continuation lines */
};

void stanza_init(struct stanza *s, const char *text, size_t len);
enum stanza_item stanza_next(struct stanza *s, struct stanza_field *field);

/* Names are compared without regard to case. */
bool stanza_is(const struct stanza_field *field, const char *name);

#endif
