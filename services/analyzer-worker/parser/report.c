#include "services/analyzer-worker/parser/report.h"

#include "common/json.h"

#include <string.h>

/* Every whole number that travels, once: limits, progress, result. */
struct number {
	const char *name;
	size_t offset;
};

#define LIMIT(field)                                                                                                   \
	{                                                                                                              \
#field, offsetof(struct layer_limits, field)                                                           \
	}
static const struct number limits[] = {
    LIMIT(entries),  LIMIT(unpacked), LIMIT(ratio),  LIMIT(ratio_free),  LIMIT(links),
    LIMIT(packages), LIMIT(document), LIMIT(memory), LIMIT(cpu_seconds),
};

#define PROGRESS(field)                                                                                                \
	{                                                                                                              \
#field, offsetof(struct layer_progress, field)                                                         \
	}
static const struct number progress[] = {PROGRESS(bytes_in), PROGRESS(bytes_out), PROGRESS(entries)};

#define RESULT(field)                                                                                                  \
	{                                                                                                              \
#field, offsetof(struct layer_result, field)                                                           \
	}
static const struct number result[] = {
    RESULT(blob_bytes), RESULT(tar_bytes),   RESULT(entries),        RESULT(files_bytes), RESULT(summary_bytes),
    RESULT(packages),   RESULT(lower_links), RESULT(peak_rss_bytes), RESULT(wants_at),    RESULT(wants_len),
};

static void print_numbers(struct buf *out, const struct number *numbers, size_t count, const void *from)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value;

		memcpy(&value, (const char *)from + numbers[i].offset, sizeof(value));
		buf_add_format(out, ",\"%s\":%llu", numbers[i].name, (unsigned long long)value);
	}
}

static bool parse_numbers(const cJSON *from, const struct number *numbers, size_t count, void *to)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value;

		if (!json_size(from, numbers[i].name, &value))
			return false;
		memcpy((char *)to + numbers[i].offset, &value, sizeof(value));
	}
	return true;
}

char *report_print_parameters(TALLOC_CTX *ctx, const struct report_parameters *p)
{
	CLEANUP(buf_release) struct buf b;
	char *text;

	buf_init(&b, REPORT_LINE_MAX);
	buf_add_format(&b, "{\"codec\":%d,\"any_codec\":%d,\"may_repeat\":%d", (int)p->codec, (int)p->any_codec,
	               (int)p->may_repeat);
	buf_add_format(&b, ",\"wants_at\":%llu,\"wants_len\":%llu", (unsigned long long)p->wants_at,
	               (unsigned long long)p->wants_len);
	print_numbers(&b, limits, ARRAY_SIZE(limits), &p->limits);
	buf_add_char(&b, '}');
	ASSERT(!buf_failed(&b));
	text = talloc_strdup(ctx, b.bytes);
	ASSERT(text != NULL);
	return text;
}

enum err_code report_parse_parameters(const char *text, struct report_parameters *p, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	uint64_t codec, any, repeat;

	TRY(json_parse(text, strlen(text), REPORT_LINE_MAX, "parameters", &json, e));
	if (!json_size(json, "codec", &codec) || codec > CODEC_ZSTD || !json_size(json, "any_codec", &any) ||
	    !json_size(json, "may_repeat", &repeat) || !json_size(json, "wants_at", &p->wants_at) ||
	    !json_size(json, "wants_len", &p->wants_len) ||
	    !parse_numbers(json, limits, ARRAY_SIZE(limits), &p->limits) || p->limits.ratio == 0)
		return ERR(e, ERR_INVALID, "parameters for parsing a layer are not complete: %.200s", text);
	p->codec = (enum codec)codec;
	p->any_codec = any != 0;
	p->may_repeat = repeat != 0;
	return ERR_OK;
}

static void print_text(struct buf *out, const char *text)
{
	buf_add_char(out, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c > 0x7e)
			c = '?';
		if (c == '"' || c == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, (char)c);
	}
	buf_add_char(out, '"');
}

void report_print(struct buf *out, const struct report *r)
{
	switch (r->kind) {
	case REPORT_PROGRESS:
		buf_add_text(out, "{\"kind\":\"progress\"");
		print_numbers(out, progress, ARRAY_SIZE(progress), &r->progress);
		break;
	case REPORT_DONE:
		buf_add_format(out, "{\"kind\":\"done\",\"codec\":%d,\"diff_id\":\"%s\"", (int)r->result.codec,
		               digest_text(&r->result.diff_id).text);
		print_numbers(out, result, ARRAY_SIZE(result), &r->result);
		break;
	case REPORT_FAILED:
		buf_add_format(out, "{\"kind\":\"failed\",\"code\":%d,\"text\":", (int)r->error.code);
		print_text(out, r->error.text);
		break;
	}
	buf_add_text(out, "}\n");
}

static bool parse_done(const cJSON *json, struct layer_result *to)
{
	const char *diff_id = json_text(json, "diff_id");
	uint64_t codec;

	*to = (struct layer_result){0};
	if (!diff_id || !digest_parse(diff_id, &to->diff_id) || !json_size(json, "codec", &codec) || codec > CODEC_ZSTD)
		return false;
	to->codec = (enum codec)codec;
	return parse_numbers(json, result, ARRAY_SIZE(result), to);
}

static bool parse_failed(const cJSON *json, struct err *to)
{
	const char *text = json_text(json, "text");
	enum err_code known;
	uint64_t code;

	if (!text || !json_size(json, "code", &code) || !err_from_wire((int64_t)code, &known))
		return false;
	ERR(to, known, "%s", text);
	return true;
}

enum err_code report_parse(const char *line, size_t len, struct report *r, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *json = NULL;
	const char *kind;
	bool good = false;

	TRY(json_parse(line, len, REPORT_LINE_MAX, "report", &json, e));
	kind = json_text(json, "kind");
	*r = (struct report){0};
	if (kind && strcmp(kind, "progress") == 0) {
		r->kind = REPORT_PROGRESS;
		good = parse_numbers(json, progress, ARRAY_SIZE(progress), &r->progress);
	} else if (kind && strcmp(kind, "done") == 0) {
		r->kind = REPORT_DONE;
		good = parse_done(json, &r->result);
	} else if (kind && strcmp(kind, "failed") == 0) {
		r->kind = REPORT_FAILED;
		good = parse_failed(json, &r->error);
	}
	return good ? ERR_OK : ERR(e, ERR_CORRUPT, "a report that is none");
}
