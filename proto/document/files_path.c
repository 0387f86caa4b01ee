#include "proto/document/files.h"

#include <string.h>

/* The position of the first byte that differs, or n. */
static size_t common_prefix(const char *a, const char *b, size_t n)
{
	size_t i = 0;

	while (i + sizeof(uint64_t) <= n) {
		uint64_t x, y;

		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		if (x != y)
			break;
		i += sizeof(x);
	}
	while (i < n && a[i] == b[i])
		i++;
	return i;
}

static bool is_root(const char *path, size_t len)
{
	return len == 1 && path[0] == '.';
}

int files_path_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned char x, y;
	size_t at;

	a_len = is_root(a, a_len) ? 0 : a_len;
	b_len = is_root(b, b_len) ? 0 : b_len;
	at = common_prefix(a, b, MIN(a_len, b_len));
	if (at == a_len || at == b_len)
		return (a_len > b_len) - (a_len < b_len);
	x = (unsigned char)a[at];
	y = (unsigned char)b[at];
	if (x == '/')
		return -1;
	if (y == '/')
		return 1;
	return x < y ? -1 : 1;
}

bool files_path_below(const char *path, size_t path_len, const char *dir, size_t dir_len)
{
	if (is_root(dir, dir_len))
		return !is_root(path, path_len);
	return path_len > dir_len && path[dir_len] == '/' && memcmp(path, dir, dir_len) == 0;
}

int files_type_rank(enum files_type type)
{
	if (type == FILES_WHITEOUT)
		return 0;
	return type == FILES_OPAQUE ? 2 : 1;
}

void files_escape(struct buf *out, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c > 0x20 && c < 0x7f && c != '\\')
			buf_add_char(out, (char)c);
		else
			buf_add_format(out, "\\%03o", c);
	}
}

static bool octal(char c, char most)
{
	return c >= '0' && c <= most;
}

bool files_unescape(const char *text, size_t text_len, char *out, size_t *len)
{
	size_t n = 0;

	for (size_t i = 0; i < text_len; i++) {
		char c = text[i];

		if (c == '\\') {
			if (text_len - i < 4 || !octal(text[i + 1], '3') || !octal(text[i + 2], '7') ||
			    !octal(text[i + 3], '7'))
				return false;
			c = (char)((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0'));
			i += 3;
		}
		if (c == '\0' || n == FILES_PATH_MAX)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	*len = n;
	return n > 0;
}
