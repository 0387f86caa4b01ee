/*
 * log_line: one log record as a line of text or of JSON, with everything from outside made harmless.
 *
 *     struct log_line line;
 *     log_line_begin(&line, LOG_FORMAT_TEXT, &head);
 *     log_line_field(&line, &LOG_TEXT("digest", hex));
 *     log_line_end(&line);
 *
 * The line never exceeds LOG_LINE_SIZE bytes, newline included: that is PIPE_BUF, so that lines of several processes on
 * one pipe do not mix. A value is cut at LOG_VALUE_MAX bytes; a field that does not fit is left out and `truncated`
 * stands in its place. Control characters, bytes that are not UTF-8 and characters that turn the direction of text are
 * escaped: a record cannot forge another one or play tricks on a terminal.
 */
#ifndef COMMON_LOG_LINE_H
#define COMMON_LOG_LINE_H

#include "common/log.h"

#define LOG_LINE_SIZE 4096
#define LOG_VALUE_MAX 1024

struct log_line {
	char bytes[LOG_LINE_SIZE]; /* ends with a newline after log_line_end; no NUL */
	size_t len;
	enum log_format format;
	bool truncated;
};

struct log_head {
	int64_t wall_ms;
	enum log_level level;
	const char *service, *event;
};

void log_line_begin(struct log_line *line, enum log_format format, const struct log_head *head);
void log_line_field(struct log_line *line, const struct log_field *field);
void log_line_end(struct log_line *line);

#endif
