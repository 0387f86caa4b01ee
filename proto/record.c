#include "proto/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SHOWN 60 /* bytes of a bad value that an error repeats */

/* Where we are, for messages: "image_add_request.platform". */
struct place {
	const struct proto_record *record;
	const struct proto_field *field;
};

static enum err_code bad(const struct place *at, struct err *e, const char *what)
{
	return ERR(e, ERR_INVALID, "%s.%s %s", at->record->name, at->field->name, what);
}

/* Bytes of the well-formed character at s, 0 if there is none. len > 0. */
static size_t utf8_char(const unsigned char *s, size_t len)
{
	size_t more = *s >= 0xf0 ? 3 : *s >= 0xe0 ? 2 : 1;
	uint32_t point;

	if (*s < 0x80)
		return *s ? 1 : 0;
	if (*s < 0xc2 || *s > 0xf4 || len <= more)
		return 0;
	point = *s & (0x3fU >> more);
	for (size_t i = 1; i <= more; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3f);
	}
	if ((more == 2 && (point < 0x800 || (point >= 0xd800 && point <= 0xdfff))) ||
	    (more == 3 && (point < 0x10000 || point > 0x10ffff)))
		return 0;
	return more + 1;
}

bool proto_is_utf8(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;

	while (len) {
		size_t n = utf8_char(s, len);

		if (!n)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

char *proto_clean_text(TALLOC_CTX *ctx, const char *text, size_t max)
{
	size_t len = strlen(text);
	char *clean = talloc_size(ctx, max + 1);
	size_t used = 0;

	ASSERT(clean);
	while (len) {
		size_t n = utf8_char((const unsigned char *)text, len);
		bool as_is = n > 1 || (n == 1 && (unsigned char)*text >= 0x20 && *text != 0x7f);
		size_t take = as_is ? n : 1, need = as_is ? n : 4;

		if (used + need > max)
			break;
		if (as_is)
			memcpy(clean + used, text, n);
		else
			snprintf(clean + used, 5, "\\%03o", (unsigned char)*text);
		used += need;
		text += take;
		len -= take;
	}
	clean[used] = '\0';
	return clean;
}

const char *proto_choice_text(const struct proto_choice *choices, int value)
{
	for (const struct proto_choice *c = choices; c->text; c++)
		if (c->value == value)
			return c->text;
	return "";
}

int proto_choice_value(const struct proto_choice *choices, const char *text)
{
	for (const struct proto_choice *c = choices; text && c->text; c++)
		if (strcmp(c->text, text) == 0)
			return c->value;
	return 0;
}

/* ---- checks that hold in both directions ---- */

static enum err_code check_text(const struct place *at, const char *text, struct err *e)
{
	const struct proto_field *f = at->field;
	size_t len = strlen(text);

	if ((int64_t)len < f->least || (int64_t)len > f->most)
		return ERR(e, ERR_INVALID, "%s.%s has %zu bytes, allowed are %lld to %lld", at->record->name, f->name,
		           len, (long long)f->least, (long long)f->most);
	if (!proto_is_utf8(text, len))
		return bad(at, e, "is not UTF-8");
	return ERR_OK;
}

/* A text inside an array or map: any length that the message's own limit allows. */
static enum err_code check_inner_text(const struct place *at, const char *text, struct err *e)
{
	if (!proto_is_utf8(text, strlen(text)))
		return bad(at, e, "is not UTF-8");
	return ERR_OK;
}

static enum err_code check_number(const struct place *at, int64_t n, struct err *e)
{
	const struct proto_field *f = at->field;

	if (n < f->least || n > f->most)
		return ERR(e, ERR_INVALID, "%s.%s is %lld, allowed are %lld to %lld", at->record->name, f->name,
		           (long long)n, (long long)f->least, (long long)f->most);
	return ERR_OK;
}

static enum err_code check_count(const struct place *at, size_t count, struct err *e)
{
	const struct proto_field *f = at->field;

	if ((int64_t)count < (f->required ? f->least : 0) || (int64_t)count > f->most)
		return ERR(e, ERR_INVALID, "%s.%s has %zu items, allowed are %lld to %lld", at->record->name, f->name,
		           count, (long long)f->least, (long long)f->most);
	return ERR_OK;
}

/* ---- decoding ---- */

static void *items_new(TALLOC_CTX *ctx, size_t size, size_t count)
{
	void *items = talloc_zero_size(ctx, MAX(size * count, (size_t)1));

	ASSERT(items);
	return items;
}

static enum err_code decode_text(const struct place *at, TALLOC_CTX *ctx, const cJSON *from, const char **into,
                                 struct err *e)
{
	if (!cJSON_IsString(from))
		return bad(at, e, "is not a string");
	TRY(check_text(at, from->valuestring, e));
	*into = talloc_strdup(ctx, from->valuestring);
	ASSERT(*into);
	return ERR_OK;
}

static enum err_code decode_number(const struct place *at, const cJSON *from, int64_t *into, struct err *e)
{
	if (!cJSON_IsNumber(from))
		return bad(at, e, "is not a number");
	if (from->valuedouble != floor(from->valuedouble) || fabs(from->valuedouble) > (double)PROTO_MAX_NUMBER)
		return ERR(e, ERR_INVALID, "%s.%s is %g, not a whole number below 2^53", at->record->name,
		           at->field->name, from->valuedouble);
	TRY(check_number(at, (int64_t)from->valuedouble, e));
	*into = (int64_t)from->valuedouble;
	return ERR_OK;
}

static enum err_code decode_digest(const struct place *at, const cJSON *from, struct digest *into, struct err *e)
{
	if (!cJSON_IsString(from))
		return bad(at, e, "is not a string");
	if (!digest_parse(from->valuestring, into))
		return ERR(e, ERR_INVALID, "%s.%s is \"%.*s\", not sha256: and 64 hexadecimal digits", at->record->name,
		           at->field->name, SHOWN, from->valuestring);
	return ERR_OK;
}

static enum err_code decode_choice(const struct place *at, const cJSON *from, void *into, struct err *e)
{
	int value;

	if (!cJSON_IsString(from))
		return bad(at, e, "is not a string");
	value = proto_choice_value(at->field->choices, from->valuestring);
	if (!value)
		return ERR(e, ERR_INVALID, "%s.%s is \"%.*s\", which is no %s", at->record->name, at->field->name,
		           SHOWN, from->valuestring, at->field->type_name);
	memcpy(into, &value, sizeof(value));
	return ERR_OK;
}

static enum err_code decode_map(const struct place *at, TALLOC_CTX *ctx, const cJSON *from, struct proto_map *into,
                                struct err *e)
{
	const cJSON *item;

	if (!cJSON_IsObject(from))
		return bad(at, e, "is not an object");
	TRY(check_count(at, (size_t)cJSON_GetArraySize(from), e));
	into->items = items_new(ctx, sizeof(*into->items), (size_t)cJSON_GetArraySize(from));
	cJSON_ArrayForEach (item, from) {
		if (!cJSON_IsString(item))
			return bad(at, e, "has a value that is not a string");
		TRY(check_inner_text(at, item->string, e));
		TRY(check_inner_text(at, item->valuestring, e));
		into->items[into->count].key = talloc_strdup(into->items, item->string);
		into->items[into->count++].value = talloc_strdup(into->items, item->valuestring);
	}
	return ERR_OK;
}

static enum err_code decode_array(const struct place *at, TALLOC_CTX *ctx, const cJSON *from, size_t item_size,
                                  void **items, struct err *e)
{
	if (!cJSON_IsArray(from))
		return bad(at, e, "is not an array");
	TRY(check_count(at, (size_t)cJSON_GetArraySize(from), e));
	*items = items_new(ctx, item_size, (size_t)cJSON_GetArraySize(from));
	return ERR_OK;
}

static enum err_code decode_texts(const struct place *at, TALLOC_CTX *ctx, const cJSON *from, struct proto_texts *into,
                                  struct err *e)
{
	const cJSON *item;
	void *items = NULL;

	TRY(decode_array(at, ctx, from, sizeof(char *), &items, e));
	ASSERT(items);
	into->items = items;
	cJSON_ArrayForEach (item, from) {
		if (!cJSON_IsString(item))
			return bad(at, e, "has an item that is not a string");
		TRY(check_inner_text(at, item->valuestring, e));
		into->items[into->count++] = talloc_strdup(items, item->valuestring);
	}
	return ERR_OK;
}

static enum err_code decode_digests(const struct place *at, TALLOC_CTX *ctx, const cJSON *from,
                                    struct proto_digests *into, struct err *e)
{
	const cJSON *item;
	void *items = NULL;

	TRY(decode_array(at, ctx, from, sizeof(struct digest), &items, e));
	ASSERT(items);
	into->items = items;
	cJSON_ArrayForEach (item, from) {
		TRY(decode_digest(at, item, &into->items[into->count], e));
		into->count++;
	}
	return ERR_OK;
}

static enum err_code decode_list(const struct place *at, TALLOC_CTX *ctx, const cJSON *from, enum proto_unknown unknown,
                                 char *into, struct err *e)
{
	const struct proto_record *inner = at->field->record();
	size_t *count = (size_t *)(void *)(into + at->field->count_offset);
	const cJSON *item;
	void *items = NULL;

	TRY(decode_array(at, ctx, from, inner->size, &items, e));
	ASSERT(items);
	memcpy(into + at->field->offset, &items, sizeof(items));
	cJSON_ArrayForEach (item, from) {
		TRY(proto_decode(inner, ctx, item, unknown, (char *)items + *count * inner->size, e));
		++*count;
	}
	return ERR_OK;
}

static enum err_code decode_record(const struct place *at, TALLOC_CTX *ctx, const cJSON *from,
                                   enum proto_unknown unknown, void *into, struct err *e)
{
	const struct proto_record *inner = at->field->record();
	void *item = items_new(ctx, inner->size, 1);

	TRY(proto_decode(inner, ctx, from, unknown, item, e));
	memcpy(into, &item, sizeof(item));
	return ERR_OK;
}

static enum err_code decode_field(const struct place *at, TALLOC_CTX *ctx, const cJSON *from,
                                  enum proto_unknown unknown, char *into, struct err *e)
{
	void *member = into + at->field->offset;

	switch (at->field->type) {
	case PROTO_text:
		return decode_text(at, ctx, from, member, e);
	case PROTO_flag:
		if (!cJSON_IsBool(from))
			return bad(at, e, "is neither true nor false");
		*(bool *)member = cJSON_IsTrue(from);
		return ERR_OK;
	case PROTO_number:
		return decode_number(at, from, member, e);
	case PROTO_digest:
		return decode_digest(at, from, member, e);
	case PROTO_choice:
		return decode_choice(at, from, member, e);
	case PROTO_map:
		return decode_map(at, ctx, from, member, e);
	case PROTO_texts:
		return decode_texts(at, ctx, from, member, e);
	case PROTO_digests:
		return decode_digests(at, ctx, from, member, e);
	case PROTO_record:
		return decode_record(at, ctx, from, unknown, member, e);
	case PROTO_list:
		return decode_list(at, ctx, from, unknown, into, e);
	}
	return ERR(e, ERR_INTERNAL, "%s.%s has an unknown type", at->record->name, at->field->name);
}

static enum err_code reject_unknown(const struct proto_record *record, const cJSON *from, struct err *e)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, from) {
		size_t i = 0;

		while (i < record->count && strcmp(record->fields[i].name, item->string) != 0)
			i++;
		if (i == record->count)
			return ERR(e, ERR_INVALID, "%s has no field \"%.*s\"", record->name, SHOWN, item->string);
	}
	return ERR_OK;
}

enum err_code proto_decode(const struct proto_record *record, TALLOC_CTX *ctx, const cJSON *from,
                           enum proto_unknown unknown, void *into, struct err *e)
{
	memset(into, 0, record->size);
	if (from && !cJSON_IsObject(from))
		return ERR(e, ERR_INVALID, "%s is not an object", record->name);
	if (unknown == PROTO_REJECT_UNKNOWN && from)
		TRY(reject_unknown(record, from, e));
	for (size_t i = 0; i < record->count; i++) {
		struct place at = {record, &record->fields[i]};
		const cJSON *item = from ? cJSON_GetObjectItemCaseSensitive(from, at.field->name) : NULL;

		if (item && !cJSON_IsNull(item))
			TRY(decode_field(&at, ctx, item, unknown, into, e));
		else if (at.field->required)
			return bad(&at, e, "is missing");
	}
	return ERR_OK;
}

/* ---- encoding ---- */

static cJSON *add_to(cJSON *object, const struct place *at, cJSON *item)
{
	ASSERT(item && cJSON_AddItemToObject(object, at->field->name, item));
	return item;
}

static enum err_code encode_text(const struct place *at, cJSON *out, const char *text, struct err *e)
{
	if (!text)
		return at->field->required ? bad(at, e, "is missing") : ERR_OK;
	TRY(check_text(at, text, e));
	add_to(out, at, cJSON_CreateString(text));
	return ERR_OK;
}

static enum err_code encode_number(const struct place *at, cJSON *out, int64_t n, struct err *e)
{
	if (n == 0 && !at->field->required)
		return ERR_OK;
	TRY(check_number(at, n, e));
	add_to(out, at, cJSON_CreateNumber((double)n));
	return ERR_OK;
}

static enum err_code encode_digest(const struct place *at, cJSON *out, const struct digest *d, struct err *e)
{
	if (digest_is_none(d))
		return at->field->required ? bad(at, e, "is missing") : ERR_OK;
	add_to(out, at, cJSON_CreateString(digest_text(d).text));
	return ERR_OK;
}

static enum err_code encode_choice(const struct place *at, cJSON *out, const void *member, struct err *e)
{
	int value;
	const char *text;

	memcpy(&value, member, sizeof(value));
	if (!value)
		return at->field->required ? bad(at, e, "is missing") : ERR_OK;
	text = proto_choice_text(at->field->choices, value);
	if (!*text)
		return ERR(e, ERR_INVALID, "%s.%s is %d, which is no %s", at->record->name, at->field->name, value,
		           at->field->type_name);
	add_to(out, at, cJSON_CreateString(text));
	return ERR_OK;
}

static enum err_code encode_map(const struct place *at, cJSON *out, const struct proto_map *map, struct err *e)
{
	cJSON *object;

	TRY(check_count(at, map->count, e));
	if (!map->count && !at->field->required)
		return ERR_OK;
	object = add_to(out, at, cJSON_CreateObject());
	for (size_t i = 0; i < map->count; i++) {
		TRY(check_inner_text(at, map->items[i].key, e));
		TRY(check_inner_text(at, map->items[i].value, e));
		ASSERT(cJSON_AddStringToObject(object, map->items[i].key, map->items[i].value));
	}
	return ERR_OK;
}

static enum err_code encode_texts(const struct place *at, cJSON *out, const struct proto_texts *texts, struct err *e)
{
	cJSON *array;

	TRY(check_count(at, texts->count, e));
	if (!texts->count && !at->field->required)
		return ERR_OK;
	array = add_to(out, at, cJSON_CreateArray());
	for (size_t i = 0; i < texts->count; i++) {
		TRY(check_inner_text(at, texts->items[i], e));
		ASSERT(cJSON_AddItemToArray(array, cJSON_CreateString(texts->items[i])));
	}
	return ERR_OK;
}

static enum err_code encode_digests(const struct place *at, cJSON *out, const struct proto_digests *digests,
                                    struct err *e)
{
	cJSON *array;

	TRY(check_count(at, digests->count, e));
	if (!digests->count && !at->field->required)
		return ERR_OK;
	array = add_to(out, at, cJSON_CreateArray());
	for (size_t i = 0; i < digests->count; i++)
		ASSERT(cJSON_AddItemToArray(array, cJSON_CreateString(digest_text(&digests->items[i]).text)));
	return ERR_OK;
}

static enum err_code encode_record(const struct place *at, cJSON *out, const void *member, struct err *e)
{
	const void *from;
	cJSON *item;

	memcpy(&from, member, sizeof(from));
	if (!from)
		return at->field->required ? bad(at, e, "is missing") : ERR_OK;
	TRY(proto_encode(at->field->record(), from, &item, e));
	add_to(out, at, item);
	return ERR_OK;
}

static enum err_code encode_list(const struct place *at, cJSON *out, const char *from, struct err *e)
{
	const struct proto_record *inner = at->field->record();
	const size_t *count = (const size_t *)(const void *)(from + at->field->count_offset);
	const char *items;
	cJSON *array;

	TRY(check_count(at, *count, e));
	if (!*count && !at->field->required)
		return ERR_OK;
	memcpy(&items, from + at->field->offset, sizeof(items));
	array = add_to(out, at, cJSON_CreateArray());
	for (size_t i = 0; i < *count; i++) {
		cJSON *item;

		TRY(proto_encode(inner, items + i * inner->size, &item, e));
		ASSERT(cJSON_AddItemToArray(array, item));
	}
	return ERR_OK;
}

static enum err_code encode_field(const struct place *at, cJSON *out, const char *from, struct err *e)
{
	const void *member = from + at->field->offset;

	switch (at->field->type) {
	case PROTO_text:
		return encode_text(at, out, *(const char *const *)member, e);
	case PROTO_flag:
		if (*(const bool *)member || at->field->required)
			add_to(out, at, cJSON_CreateBool(*(const bool *)member));
		return ERR_OK;
	case PROTO_number:
		return encode_number(at, out, *(const int64_t *)member, e);
	case PROTO_digest:
		return encode_digest(at, out, member, e);
	case PROTO_choice:
		return encode_choice(at, out, member, e);
	case PROTO_map:
		return encode_map(at, out, member, e);
	case PROTO_texts:
		return encode_texts(at, out, member, e);
	case PROTO_digests:
		return encode_digests(at, out, member, e);
	case PROTO_record:
		return encode_record(at, out, member, e);
	case PROTO_list:
		return encode_list(at, out, from, e);
	}
	return ERR(e, ERR_INTERNAL, "%s.%s has an unknown type", at->record->name, at->field->name);
}

enum err_code proto_encode(const struct proto_record *record, const void *from, cJSON **out, struct err *e)
{
	cJSON *object = cJSON_CreateObject();

	ASSERT(object);
	for (size_t i = 0; i < record->count; i++) {
		struct place at = {record, &record->fields[i]};
		enum err_code code = encode_field(&at, object, from, e);

		if (code != ERR_OK) {
			cJSON_Delete(object);
			return code;
		}
	}
	*out = object;
	return ERR_OK;
}
