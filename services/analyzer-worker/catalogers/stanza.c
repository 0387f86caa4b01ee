#include "services/analyzer-worker/catalogers/stanza.h"

#include <string.h>
#include <strings.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void trim(const char **text, size_t *len)
{
	for (; *len > 0 && is_blank(**text); ++*text)
		--*len;
	while (*len > 0 && is_blank((*text)[*len - 1]))
		--*len;
}

void stanza_init(struct stanza *s, const char *text, size_t len)
{
	*s = (struct stanza){.at = text, .end = text + len, .next_line = 1};
}

static void take_line(struct stanza *s, const char **line, size_t *len)
{
	const char *newline = memchr(s->at, '\n', (size_t)(s->end - s->at));
	const char *end = newline ? newline : s->end;

	*line = s->at;
	*len = (size_t)(end - s->at);
	s->at = newline ? newline + 1 : s->end;
	s->next_line++;
}

/* A line that begins with white space and holds something else. */
static bool at_continuation(const struct stanza *s)
{
	const char *at = s->at;

	if (at == s->end || (*at != ' ' && *at != '\t'))
		return false;
	while (at < s->end && is_blank(*at))
		at++;
	return at < s->end && *at != '\n';
}

enum stanza_item stanza_next(struct stanza *s, struct stanza_field *field)
{
	const char *line, *colon;
	size_t len, trimmed_len;
	const char *trimmed;

	if (s->at == s->end)
		return STANZA_END;
	s->line = s->next_line;
	take_line(s, &line, &len);
	trimmed = line;
	trimmed_len = len;
	trim(&trimmed, &trimmed_len);
	if (trimmed_len == 0)
		return STANZA_BLANK;
	colon = memchr(line, ':', len);
	if (is_blank(line[0]) || !colon || colon == line)
		return STANZA_OTHER;
	*field = (struct stanza_field){.name = line, .name_len = (size_t)(colon - line), .value = colon + 1};
	field->value_len = len - field->name_len - 1;
	trim(&field->value, &field->value_len);
	while (at_continuation(s)) {
		take_line(s, &line, &len);
		field->continued = true;
	}
	return STANZA_FIELD;
}

bool stanza_is(const struct stanza_field *field, const char *name)
{
	return strlen(name) == field->name_len && strncasecmp(name, field->name, field->name_len) == 0;
}
