#include "services/object-store-gateway/prefix.h"

#include <string.h>

#define LAST_CHARACTER 0x10ffff
#define SURROGATES_FIRST 0xd800
#define SURROGATES_AFTER 0xe000

/* Where the last character starts, and which it is. */
static size_t last_character(const char *text, size_t len, uint32_t *character)
{
	static const uint8_t masks[] = {0x7f, 0x7f, 0x1f, 0x0f, 0x07};
	size_t at = len - 1;

	while (at > 0 && ((uint8_t)text[at] & 0xc0) == 0x80)
		at--;
	*character = (uint8_t)text[at] & masks[MIN(len - at, (size_t)4)];
	for (size_t i = at + 1; i < len; i++)
		*character = *character << 6 | ((uint8_t)text[i] & 0x3f);
	return at;
}

static size_t put_character(char *into, uint32_t c)
{
	static const struct {
		uint32_t below;
		uint8_t lead;
	} forms[] = {{0x80, 0}, {0x800, 0xc0}, {0x10000, 0xe0}, {0x110000, 0xf0}};
	size_t len = 1;

	while (c >= forms[len - 1].below)
		len++;
	for (size_t i = len; i-- > 1; c >>= 6)
		into[i] = (char)(0x80 | (c & 0x3f));
	into[0] = (char)(forms[len - 1].lead | c);
	return len;
}

char *prefix_end(TALLOC_CTX *ctx, const char *prefix)
{
	size_t len = strlen(prefix);
	char *end = talloc_zero_array(ctx, char, len + 4 + 1);

	ASSERT(end);
	while (len > 0) {
		uint32_t character;
		size_t at = last_character(prefix, len, &character);

		if (character < LAST_CHARACTER) {
			character++;
			if (character == SURROGATES_FIRST)
				character = SURROGATES_AFTER;
			memcpy(end, prefix, at);
			end[at + put_character(end + at, character)] = '\0';
			return end;
		}
		len = at;
	}
	talloc_free(end);
	return NULL;
}
