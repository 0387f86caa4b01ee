/*
 * log: one line a record on stderr, `text` for people or `json` for machines.
 *
 *     LOG_INFO("layer analysed", LOG_TEXT("digest", hex), LOG_NUMBER("bytes", n));
 *
 * A record is an event in few fixed words, then its values as fields. Request id, trace id, account and job come from
 * the thread's log context, which whoever starts a request or a job sets once. Only the code that decides what to do
 * about an error logs it. A record is written with one write(2) of at most 4096 bytes; any thread may log. Whatever the
 * values hold, a record stays one line of valid UTF-8: see common/log_line.h.
 *
 * The last errors are kept in memory, for `stowage status`.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/err.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
	const char *name;
	const char *text; /* NULL: the number counts */
	int64_t number;
};

#define LOG_TEXT(n, v) ((struct log_field){.name = (n), .text = (v) ? (v) : ""})
#define LOG_NUMBER(n, v) ((struct log_field){.name = (n), .number = (int64_t)(v)})

/* The two fields that tell an error: its code's name and its text. */
#define LOG_ERR(e) LOG_TEXT("code", err_name((e)->code)), LOG_TEXT("error", (e)->text)

#define LOG_DEBUG(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, ##__VA_ARGS__)
#define LOG_INFO(event, ...) LOG_AT(LOG_LEVEL_INFO, event, ##__VA_ARGS__)
#define LOG_WARN(event, ...) LOG_AT(LOG_LEVEL_WARN, event, ##__VA_ARGS__)
#define LOG_ERROR(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, ##__VA_ARGS__)

#define LOG_AT(level, event, ...)                                                                                      \
	do {                                                                                                           \
		const struct log_field log_fields_[] = {{0}, ##__VA_ARGS__};                                           \
		log_write((level), (event), log_fields_ + 1, ARRAY_SIZE(log_fields_) - 1);                             \
	} while (0)

/* Before the first thread starts. service is copied. */
void log_setup(const char *service, enum log_level level, enum log_format format);

/* "debug", "info", "warn", "error"; "text", "json". False, and nothing changed, for any other word. */
bool log_level_from_name(const char *name, enum log_level *level);
bool log_format_from_name(const char *name, enum log_format *format);

/* What the macros above call; errno is left as it was. */
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);

/* The context of this thread's records; texts are copied and cut at 128 bytes, NULL clears. */
void log_context_set(const char *request_id, const char *trace_id, const char *account, int64_t job);
void log_context_clear(void);

/* The newest WARN and ERROR records, newest first, each as its text line without newline; at most max, on ctx. */
size_t log_last_errors(TALLOC_CTX *ctx, char **lines, size_t max);

#endif
