#include "services/cli/output.h"

#include "common/clock.h"
#include "common/json.h"
#include "services/cli/file.h"
#include "services/cli/json_writer.h"
#include "services/cli/table.h"

#include <inttypes.h>
#include <string.h>

enum err_code output_record(const struct proto_record *record, const void *from, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *object = NULL;
	char *text;

	TRY(proto_encode(record, from, &object, e));
	text = cJSON_Print(object);
	ASSERT(text);
	puts(text);
	cJSON_free(text);
	return ERR_OK;
}

enum err_code output_named(const char *what, const char *name, const char *state, bool flag)
{
	SCRATCH_CTX(scratch);
	struct json_writer *w = json_writer_new(scratch, stdout);

	json_open_object(w, NULL);
	json_add_text(w, what, name);
	json_add_flag(w, state, flag);
	json_close(w);
	return ERR_OK;
}

void output_error(bool json, const struct err *e)
{
	SCRATCH_CTX(scratch);

	if (json) {
		CLEANUP(json_cleanup) cJSON *object = cJSON_CreateObject();
		cJSON *inner = cJSON_AddObjectToObject(object, "error");
		char *text;

		cJSON_AddStringToObject(inner, "code", err_name(e->code));
		cJSON_AddStringToObject(inner, "message", text_clean(scratch, e->text));
		text = cJSON_PrintUnformatted(object);
		ASSERT(text);
		fprintf(stderr, "%s\n", text);
		cJSON_free(text);
		return;
	}
	fprintf(stderr, "stowage: %s: %s\n", err_name(e->code), text_clean(scratch, e->text));
}

enum err_code output_finish(struct err *e)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return ERR_OK;
	return file_reader_is_gone(stdout) ? ERR_OK : ERR_SYS(e, ERR_INTERNAL, "the answer could not be written");
}

static const char *format(TALLOC_CTX *ctx, const char *fmt, ...) PRINTF(2, 3);

static const char *format(TALLOC_CTX *ctx, const char *fmt, ...)
{
	va_list list;
	char *text;

	va_start(list, fmt);
	text = talloc_vasprintf(ctx, fmt, list);
	va_end(list);
	ASSERT(text);
	return text;
}

const char *show_bytes(TALLOC_CTX *ctx, int64_t bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024)
		return format(ctx, "%" PRId64 " B", bytes);
	while (value >= 1023.95 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	return format(ctx, value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

const char *show_ms(TALLOC_CTX *ctx, int64_t ms)
{
	if (ms < 1000)
		return format(ctx, "%" PRId64 " ms", ms);
	if (ms < 60000)
		return format(ctx, "%.1f s", (double)ms / 1000);
	if (ms < 3600000)
		return format(ctx, "%" PRId64 " min %" PRId64 " s", ms / 60000, ms / 1000 % 60);
	return format(ctx, "%" PRId64 " h %" PRId64 " min", ms / 3600000, ms / 60000 % 60);
}

const char *show_time(TALLOC_CTX *ctx, int64_t wall_ms)
{
	struct clock_text t;

	if (!wall_ms)
		return "";
	t = clock_format(wall_ms);
	return format(ctx, "%.10s %.8s UTC", t.text, t.text + 11);
}

const char *show_age(TALLOC_CTX *ctx, int64_t wall_ms)
{
	static const struct {
		int64_t below_s, unit_s;
		const char *name;
	} steps[] = {{120, 1, "s"}, {7200, 60, "min"}, {172800, 3600, "h"}, {INT64_MAX, 86400, "d"}};
	int64_t age_s = MAX((clock_wall_ms() - wall_ms) / 1000, 0);

	if (!wall_ms)
		return "";
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (age_s < steps[i].below_s)
			return format(ctx, "%" PRId64 " %s ago", age_s / steps[i].unit_s, steps[i].name);
	return "";
}

const char *show_number(TALLOC_CTX *ctx, int64_t number)
{
	return format(ctx, "%" PRId64, number);
}

const char *show_short(TALLOC_CTX *ctx, const struct digest *d)
{
	return digest_is_none(d) ? "" : format(ctx, "sha256:%.12s", digest_hex(d).text);
}

const char *show_image_name(const struct cli *cli, TALLOC_CTX *ctx, const struct digest *d)
{
	return cli->width ? show_short(ctx, d) : format(ctx, "%s", digest_text(d).text);
}

const char *show_texts(TALLOC_CTX *ctx, const struct proto_texts *texts)
{
	char *text = talloc_strdup(ctx, "");

	for (size_t i = 0; i < texts->count; i++)
		text = talloc_asprintf_append(text, "%s%s", i ? ", " : "", texts->items[i]);
	ASSERT(text);
	return text;
}

const char *show_flag(bool flag)
{
	return flag ? "yes" : "";
}

struct fields {
	const char **names, **values;
	size_t count;
};

struct fields *fields_new(TALLOC_CTX *ctx)
{
	struct fields *f = talloc_zero(ctx, struct fields);

	ASSERT(f);
	return f;
}

void fields_add(struct fields *f, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	f->names = talloc_realloc(f, f->names, const char *, f->count + 1);
	f->values = talloc_realloc(f, f->values, const char *, f->count + 1);
	ASSERT(f->names && f->values);
	f->names[f->count] = name;
	f->values[f->count++] = text_clean(f, value);
}

void fields_print(const struct fields *f, FILE *out)
{
	size_t width = 0;

	for (size_t i = 0; i < f->count; i++)
		width = MAX(width, strlen(f->names[i]));
	for (size_t i = 0; i < f->count; i++)
		fprintf(out, "%s:%*s %s\n", f->names[i], (int)(width - strlen(f->names[i])), "", f->values[i]);
}
