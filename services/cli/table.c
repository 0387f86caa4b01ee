#include "services/cli/table.h"

#include <string.h>
#include <wchar.h>

#define GAP 2
#define ELASTIC_LEAST 12

struct table {
	struct table_column columns[TABLE_COLUMNS_MAX];
	size_t column_count;
	const char **cells; /* row by row */
	size_t row_count;
};

/* One character at text: its bytes, its code point; 1 and -1 for a byte that is no UTF-8. */
static size_t decode(const char *text, int32_t *point)
{
	static const struct {
		uint8_t mask, lead;
		size_t len;
		int32_t least;
	} forms[] = {{0x80, 0x00, 1, 0}, {0xe0, 0xc0, 2, 0x80}, {0xf0, 0xe0, 3, 0x800}, {0xf8, 0xf0, 4, 0x10000}};
	const uint8_t *b = (const uint8_t *)text;

	for (size_t f = 0; f < ARRAY_SIZE(forms); f++) {
		if ((b[0] & forms[f].mask) != forms[f].lead)
			continue;
		*point = b[0] & (uint8_t)~forms[f].mask;
		for (size_t i = 1; i < forms[f].len; i++) {
			if ((b[i] & 0xc0) != 0x80)
				goto bad;
			*point = *point << 6 | (b[i] & 0x3f);
		}
		if (*point < forms[f].least || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
			break;
		return forms[f].len;
	}
bad:
	*point = -1;
	return 1;
}

/* What moves the cursor, or turns the writing around, is not shown. */
static bool is_harmful(int32_t point)
{
	return point < 0x20 || (point >= 0x7f && point < 0xa0) || (point >= 0x200e && point <= 0x200f) ||
	       (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

static size_t point_width(int32_t point)
{
	int width = wcwidth((wchar_t)point);

	/* The C locale knows no widths; one cell is then the best guess. */
	return width < 0 ? 1 : (size_t)width;
}

char *text_clean(TALLOC_CTX *ctx, const char *text)
{
	char *clean = talloc_size(ctx, strlen(text) + 1), *to = clean;

	ASSERT(clean);
	while (*text) {
		int32_t point;
		size_t len = decode(text, &point);

		if (is_harmful(point)) {
			*to++ = '?';
		} else {
			memcpy(to, text, len);
			to += len;
		}
		text += len;
	}
	*to = '\0';
	return clean;
}

size_t text_width(const char *text)
{
	size_t width = 0;

	while (*text) {
		int32_t point;

		text += decode(text, &point);
		width += point < 0 ? 1 : point_width(point);
	}
	return width;
}

/* Bytes of text that fit into width cells, and the cells they take. */
static size_t fitting(const char *text, size_t width, size_t *taken)
{
	const char *at = text;
	size_t whole = width;

	while (*at) {
		int32_t point;
		size_t len = decode(at, &point), cells = point < 0 ? 1 : point_width(point);

		if (cells > width)
			break;
		width -= cells;
		at += len;
	}
	*taken = whole - width;
	return (size_t)(at - text);
}

struct table *table_new(TALLOC_CTX *ctx, const struct table_column *columns)
{
	struct table *t = talloc_zero(ctx, struct table);

	ASSERT(t);
	while (columns[t->column_count].title) {
		ASSERT(t->column_count < TABLE_COLUMNS_MAX);
		t->columns[t->column_count] = columns[t->column_count];
		t->column_count++;
	}
	return t;
}

void table_add(struct table *t, const char *const *cells, size_t count)
{
	size_t at = t->row_count * t->column_count;

	ASSERT(count == t->column_count);
	if ((t->row_count & (t->row_count + 1)) == 0) {
		t->cells = talloc_realloc(t, t->cells, const char *, (2 * t->row_count + 2) * count);
		ASSERT(t->cells);
	}
	for (size_t i = 0; i < count; i++)
		t->cells[at + i] = text_clean(t, cells[i] ? cells[i] : "");
	t->row_count++;
}

size_t table_rows(const struct table *t)
{
	return t->row_count;
}

static size_t total(const size_t *widths, size_t count)
{
	size_t sum = count ? (count - 1) * GAP : 0;

	for (size_t i = 0; i < count; i++)
		sum += widths[i];
	return sum;
}

/* Takes cells from the widest elastic column until the whole fits, or there is none left to take from. */
static void shrink(const struct table *t, size_t *widths, size_t limit)
{
	while (total(widths, t->column_count) > limit) {
		size_t widest = t->column_count;

		for (size_t i = 0; i < t->column_count; i++)
			if (t->columns[i].elastic && widths[i] > ELASTIC_LEAST &&
			    (widest == t->column_count || widths[i] > widths[widest]))
				widest = i;
		if (widest == t->column_count)
			return;
		widths[widest]--;
	}
}

static void print_cell(FILE *out, const char *text, size_t width, bool right, bool last)
{
	size_t cells = text_width(text), len = strlen(text);
	bool cut = cells > width;

	if (cut) {
		len = fitting(text, width - 1, &cells);
		cells++;
	}
	if (right)
		fprintf(out, "%*s", (int)(width - cells), "");
	fwrite(text, 1, len, out);
	if (cut)
		fputs("\u2026", out);
	if (!last)
		fprintf(out, "%*s", (int)(right ? GAP : width - cells + GAP), "");
}

/* Nothing is written behind the last cell that has a text. */
static void print_line(const struct table *t, FILE *out, const char *const *cells, const size_t *widths)
{
	size_t count = t->column_count;

	while (count && !*cells[count - 1])
		count--;
	for (size_t i = 0; i < count; i++)
		print_cell(out, cells[i], widths[i], t->columns[i].right, i + 1 == count);
	fputc('\n', out);
}

void table_print(const struct table *t, FILE *out, size_t width)
{
	const char *titles[TABLE_COLUMNS_MAX];
	size_t widths[TABLE_COLUMNS_MAX];
	size_t count = t->column_count;

	for (size_t i = 0; i < count; i++) {
		widths[i] = text_width(t->columns[i].title);
		for (size_t row = 0; row < t->row_count; row++)
			widths[i] = MAX(widths[i], text_width(t->cells[row * count + i]));
	}
	if (width)
		shrink(t, widths, width);
	for (size_t i = 0; i < count; i++)
		titles[i] = t->columns[i].title;
	print_line(t, out, titles, widths);
	for (size_t row = 0; row < t->row_count; row++)
		print_line(t, out, &t->cells[row * count], widths);
}
