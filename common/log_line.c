#include "common/log_line.h"

#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Room that is kept for the end of the line and the word that says something is missing. */
#define TAIL_SIZE 32

static void add(struct log_line *line, const char *bytes, size_t len)
{
	if (line->truncated)
		return;
	if (len > sizeof(line->bytes) - TAIL_SIZE - line->len) {
		line->truncated = true;
		return;
	}
	memcpy(line->bytes + line->len, bytes, len);
	line->len += len;
}

static void add_text(struct log_line *line, const char *text)
{
	add(line, text, strlen(text));
}

/* Decodes one UTF-8 character: its length, or 0 when the bytes are none (overlong, surrogate, cut or out of range). */
static size_t decode(const unsigned char *at, size_t left, uint32_t *point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc0 ? 2 : 0;

	if (len == 0 || len > left || at[0] > 0xf4)
		return 0;
	*point = len == 1 ? at[0] : at[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		*point = *point << 6 | (at[i] & 0x3f);
	}
	if (*point < least[len] || *point > 0x10ffff || (*point >= 0xd800 && *point <= 0xdfff))
		return 0;
	return len;
}

static bool is_harmful(uint32_t point)
{
	return point < 0x20 || (point >= 0x7f && point <= 0x9f) || /* control characters */
	       (point >= 0x2028 && point <= 0x202e) ||             /* line separators, direction marks */
	       (point >= 0x2066 && point <= 0x2069);               /* direction isolates */
}

static void add_escaped(struct log_line *line, const char *text)
{
	size_t left = strnlen(text, LOG_VALUE_MAX + 1);
	bool cut = left > LOG_VALUE_MAX;

	left = MIN(left, (size_t)LOG_VALUE_MAX);
	while (left > 0) {
		const unsigned char *at = (const unsigned char *)text;
		uint32_t point = 0;
		size_t len = decode(at, left, &point);
		char escape[8];

		if (len == 0 && cut && left < 4)
			break;
		if (len == 0 || is_harmful(point)) {
			point = len ? point : 0xfffd;
			if (point == '\n')
				add_text(line, "\\n");
			else if (point == '\t')
				add_text(line, "\\t");
			else
				add(line, escape, (size_t)snprintf(escape, sizeof(escape), "\\u%04" PRIx32, point));
		} else {
			if (point == '"' || point == '\\')
				add(line, "\\", 1);
			add(line, text, len);
		}
		len = MAX(len, (size_t)1);
		text += len;
		left -= len;
	}
	if (cut)
		add_text(line, "...");
}

static void add_quoted(struct log_line *line, const char *text)
{
	add_text(line, "\"");
	add_escaped(line, text);
	add_text(line, "\"");
}

static bool is_plain_word(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if (*text <= ' ' || *text > '~' || strchr("\"\\=", *text))
			return false;
	return true;
}

static void add_value(struct log_line *line, const char *text)
{
	if (line->format == LOG_FORMAT_TEXT && is_plain_word(text))
		add_escaped(line, text);
	else
		add_quoted(line, text);
}

static const char *level_word(enum log_level level, bool json)
{
	static const char *const words[][2] = {
	    {"DEBUG", "debug"}, {"INFO ", "info"}, {"WARN ", "warn"}, {"ERROR", "error"}};

	return words[level][json];
}

void log_line_begin(struct log_line *line, enum log_format format, const struct log_head *head)
{
	struct clock_text seconds = clock_format(head->wall_ms);
	char when[40];

	line->len = 0;
	line->truncated = false;
	line->format = format;
	snprintf(when, sizeof(when), "%.19s.%03dZ", seconds.text, (int)(head->wall_ms % 1000));
	if (format == LOG_FORMAT_JSON) {
		add_text(line, "{\"time\":");
		add_quoted(line, when);
		add_text(line, ",\"level\":");
		add_quoted(line, level_word(head->level, true));
		add_text(line, ",\"service\":");
		add_quoted(line, head->service);
		add_text(line, ",\"event\":");
		add_quoted(line, head->event);
		return;
	}
	add_text(line, when);
	add_text(line, " ");
	add_text(line, level_word(head->level, false));
	add_text(line, " ");
	add_escaped(line, head->service);
	add_text(line, ": ");
	add_escaped(line, head->event);
}

void log_line_field(struct log_line *line, const struct log_field *field)
{
	bool json = line->format == LOG_FORMAT_JSON;
	size_t before = line->len;
	char number[24];

	add_text(line, json ? "," : " ");
	add_value(line, field->name);
	add_text(line, json ? ":" : "=");
	if (field->text)
		add_value(line, field->text);
	else
		add(line, number, (size_t)snprintf(number, sizeof(number), "%" PRId64, field->number));
	if (line->truncated)
		line->len = before;
}

void log_line_end(struct log_line *line)
{
	bool json = line->format == LOG_FORMAT_JSON, truncated = line->truncated;

	/* add() has kept TAIL_SIZE bytes for this. */
	line->len += (size_t)snprintf(line->bytes + line->len, TAIL_SIZE, "%s%s\n",
	                              !truncated ? ""
	                              : json     ? ",\"truncated\":true"
	                                         : " truncated=true",
	                              json ? "}" : "");
}
