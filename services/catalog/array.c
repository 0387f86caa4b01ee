#include "services/catalog/array.h"

#include "common/buf.h"

#include <inttypes.h>
#include <string.h>

#define BYTES_MAX (64 * MIB)

struct array {
	struct buf text;
	size_t count;
	bool ended;
};

static int release(struct array *a)
{
	buf_release(&a->text);
	return 0;
}

struct array *array_new(TALLOC_CTX *ctx)
{
	struct array *a = talloc_zero(ctx, struct array);

	ASSERT(a);
	buf_init(&a->text, BYTES_MAX);
	talloc_set_destructor(a, release);
	return a;
}

static void next(struct array *a)
{
	ASSERT(!a->ended);
	buf_add_char(&a->text, a->count++ ? ',' : '{');
}

void array_add_text(struct array *a, const char *text)
{
	next(a);
	if (!text) {
		buf_add_text(&a->text, "NULL");
		return;
	}
	buf_add_char(&a->text, '"');
	while (*text) {
		size_t plain = strcspn(text, "\"\\");

		buf_add(&a->text, text, plain);
		text += plain;
		if (*text) {
			buf_add_char(&a->text, '\\');
			buf_add_char(&a->text, *text++);
		}
	}
	buf_add_char(&a->text, '"');
}

void array_add_digest(struct array *a, const struct digest *digest)
{
	next(a);
	buf_add_format(&a->text, "\"\\\\x%s\"", digest_hex(digest).text);
}

void array_add_number(struct array *a, int64_t number)
{
	next(a);
	buf_add_format(&a->text, "%" PRId64, number);
}

struct db_param array_param(struct array *a)
{
	if (!a->ended)
		buf_add_text(&a->text, a->count ? "}" : "{}");
	a->ended = true;
	ASSERT(!buf_failed(&a->text));
	return (struct db_param){.bytes = a->text.bytes, .len = a->text.len, .type = DB_PARAM_TEXT};
}

size_t array_count(const struct array *a)
{
	return a->count;
}
