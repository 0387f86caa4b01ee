#include "common/log.h"

#include "common/clock.h"
#include "common/log_line.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RING_LINES 32
#define RING_LINE_SIZE 1024
#define CONTEXT_SIZE 129

/* Written by log_setup before there is a second thread, read only afterwards. */
static struct {
	char service[64];
	enum log_level level;
	enum log_format format;
} setup = {"stowage", LOG_LEVEL_INFO, LOG_FORMAT_TEXT};

/* The newest warnings and errors; all of it under ring_lock. */
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static char ring[RING_LINES][RING_LINE_SIZE];
static uint64_t ring_written;

static _Thread_local struct {
	char request_id[CONTEXT_SIZE], trace_id[CONTEXT_SIZE], account[CONTEXT_SIZE];
	int64_t job;
} context;

void log_setup(const char *service, enum log_level level, enum log_format format)
{
	snprintf(setup.service, sizeof(setup.service), "%s", service);
	setup.level = level;
	setup.format = format;
}

static int index_of(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

bool log_level_from_name(const char *name, enum log_level *level)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};
	int i = index_of(name, names, ARRAY_SIZE(names));

	if (i >= 0)
		*level = (enum log_level)i;
	return i >= 0;
}

bool log_format_from_name(const char *name, enum log_format *format)
{
	static const char *const names[] = {"text", "json"};
	int i = index_of(name, names, ARRAY_SIZE(names));

	if (i >= 0)
		*format = (enum log_format)i;
	return i >= 0;
}

static void compose(struct log_line *line, enum log_format format, const struct log_head *head,
                    const struct log_field *fields, size_t count)
{
	log_line_begin(line, format, head);
	if (context.request_id[0])
		log_line_field(line, &LOG_TEXT("request", context.request_id));
	if (context.trace_id[0])
		log_line_field(line, &LOG_TEXT("trace", context.trace_id));
	if (context.account[0])
		log_line_field(line, &LOG_TEXT("account", context.account));
	if (context.job)
		log_line_field(line, &LOG_NUMBER("job", context.job));
	for (size_t i = 0; i < count; i++)
		log_line_field(line, &fields[i]);
	log_line_end(line);
}

static void remember(const struct log_line *line)
{
	size_t len = line->len - 1;

	if (len >= RING_LINE_SIZE) {
		len = RING_LINE_SIZE - 1;
		while (len > 0 && ((unsigned char)line->bytes[len] & 0xc0) == 0x80) /* not within a character */
			len--;
	}
	pthread_mutex_lock(&ring_lock);
	memcpy(ring[ring_written % RING_LINES], line->bytes, len);
	ring[ring_written % RING_LINES][len] = '\0';
	ring_written++;
	pthread_mutex_unlock(&ring_lock);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	struct log_head head = {clock_wall_ms(), level, setup.service, event};
	int saved = errno;
	struct log_line line;

	if (level < setup.level)
		return;
	compose(&line, setup.format, &head, fields, count);
	/* There is nobody to tell when stderr does not take it. */
	while (write(STDERR_FILENO, line.bytes, line.len) < 0 && errno == EINTR)
		;
	if (level >= LOG_LEVEL_WARN) {
		if (setup.format != LOG_FORMAT_TEXT)
			compose(&line, LOG_FORMAT_TEXT, &head, fields, count);
		remember(&line);
	}
	errno = saved;
}

static void copy(char *into, const char *text)
{
	snprintf(into, CONTEXT_SIZE, "%s", text ? text : "");
}

void log_context_set(const char *request_id, const char *trace_id, const char *account, int64_t job)
{
	copy(context.request_id, request_id);
	copy(context.trace_id, trace_id);
	copy(context.account, account);
	context.job = job;
}

void log_context_clear(void)
{
	log_context_set(NULL, NULL, NULL, 0);
}

size_t log_last_errors(TALLOC_CTX *ctx, char **lines, size_t max)
{
	size_t count;

	pthread_mutex_lock(&ring_lock);
	count = MIN((size_t)MIN(ring_written, (uint64_t)RING_LINES), max);
	for (size_t i = 0; i < count; i++) {
		lines[i] = talloc_strdup(ctx, ring[(ring_written - 1 - i) % RING_LINES]);
		ASSERT(lines[i]);
	}
	pthread_mutex_unlock(&ring_lock);
	return count;
}
