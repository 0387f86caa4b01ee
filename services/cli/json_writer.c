#include "services/cli/json_writer.h"

#include <inttypes.h>
#include <string.h>

struct json_writer {
	FILE *out;
	struct {
		bool array, filled;
	} open[JSON_WRITER_DEPTH];
	size_t depth;
};

struct json_writer *json_writer_new(TALLOC_CTX *ctx, FILE *out)
{
	struct json_writer *w = talloc_zero(ctx, struct json_writer);

	ASSERT(w);
	w->out = out;
	return w;
}

/* Length of the well-formed UTF-8 character at the start of text; 0 if there is none. */
static size_t character(const uint8_t *b, size_t len)
{
	size_t need = b[0] < 0x80 ? 1 : (b[0] & 0xe0) == 0xc0 ? 2 : (b[0] & 0xf0) == 0xe0 ? 3 : 4;
	uint32_t point = need == 1 ? b[0] : b[0] & (0x7fU >> need);
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

	if ((b[0] & 0xc0) == 0x80 || b[0] >= 0xf8 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (b[i] & 0x3f);
	}
	return point < least[need] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? 0 : need;
}

static void write_string(FILE *out, const char *text, size_t len)
{
	fputc('"', out);
	while (len) {
		uint8_t c = (uint8_t)*text;
		size_t n = character((const uint8_t *)text, len);

		if (n == 0)
			fputs("\\ufffd", out);
		else if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			fwrite(text, 1, n, out);
		n = n ? n : 1;
		text += n;
		len -= n;
	}
	fputc('"', out);
}

static void break_line(struct json_writer *w)
{
	fputc('\n', w->out);
	for (size_t i = 0; i < w->depth; i++)
		fputs("  ", w->out);
}

/* What stands before a value: comma, line, name. */
static void begin_value(struct json_writer *w, const char *name)
{
	if (w->depth == 0)
		return;
	ASSERT((name == NULL) == w->open[w->depth - 1].array);
	if (w->open[w->depth - 1].filled)
		fputc(',', w->out);
	w->open[w->depth - 1].filled = true;
	break_line(w);
	if (name) {
		write_string(w->out, name, strlen(name));
		fputs(": ", w->out);
	}
}

static void open_value(struct json_writer *w, const char *name, bool array)
{
	begin_value(w, name);
	ASSERT(w->depth < JSON_WRITER_DEPTH);
	w->open[w->depth].array = array;
	w->open[w->depth++].filled = false;
	fputc(array ? '[' : '{', w->out);
}

void json_open_object(struct json_writer *w, const char *name)
{
	open_value(w, name, false);
}

void json_open_array(struct json_writer *w, const char *name)
{
	open_value(w, name, true);
}

void json_close(struct json_writer *w)
{
	ASSERT(w->depth > 0);
	w->depth--;
	if (w->open[w->depth].filled)
		break_line(w);
	fputc(w->open[w->depth].array ? ']' : '}', w->out);
	if (w->depth == 0)
		fputc('\n', w->out);
}

void json_add_bytes(struct json_writer *w, const char *name, const char *text, size_t len)
{
	begin_value(w, name);
	write_string(w->out, text, len);
}

void json_add_text(struct json_writer *w, const char *name, const char *text)
{
	json_add_bytes(w, name, text, strlen(text));
}

void json_add_known(struct json_writer *w, const char *name, const char *text)
{
	if (text && *text)
		json_add_text(w, name, text);
}

void json_add_number(struct json_writer *w, const char *name, int64_t number)
{
	begin_value(w, name);
	fprintf(w->out, "%" PRId64, number);
}

void json_add_flag(struct json_writer *w, const char *name, bool flag)
{
	begin_value(w, name);
	fputs(flag ? "true" : "false", w->out);
}

void json_add_value(struct json_writer *w, const char *name, const cJSON *value)
{
	char *text = cJSON_PrintUnformatted(value);

	ASSERT(text);
	begin_value(w, name);
	fputs(text, w->out);
	cJSON_free(text);
}
