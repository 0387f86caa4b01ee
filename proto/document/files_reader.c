#include "proto/document/files.h"

#include <string.h>

#define LINE_MAX_BYTES (8 * FILES_PATH_MAX + 512)
#define PIECE (128 * KIB)

struct files_reader {
	struct files_source source;
	bool started, ended;
	uint64_t lines;
	size_t at, filled; /* in bytes: the next line, the end of what was read */
	size_t last_len;
	int last_rank;
	struct files_entry entry;
	char path[FILES_PATH_MAX + 1], link[FILES_PATH_MAX + 1], last[FILES_PATH_MAX + 1];
	char bytes[PIECE];
};

/* sha256 of nothing */
static const uint8_t empty_digest[DIGEST_BYTES] = {
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
};

struct files_reader *files_reader_new(TALLOC_CTX *ctx, const struct files_source *source)
{
	struct files_reader *r = talloc(ctx, struct files_reader);

	ASSERT(r != NULL);
	memset(r, 0, offsetof(struct files_reader, path));
	r->source = *source;
	r->last_rank = -1;
	return r;
}

/* More of the source behind what is left of it; *more is false at its end. */
static enum err_code refill(struct files_reader *r, bool *more, struct err *e)
{
	size_t got;

	memmove(r->bytes, r->bytes + r->at, r->filled - r->at);
	r->filled -= r->at;
	r->at = 0;
	TRY(r->source.read(r->source.arg, r->bytes + r->filled, sizeof(r->bytes) - r->filled, &got, e));
	ASSERT(got <= sizeof(r->bytes) - r->filled);
	r->filled += got;
	*more = got > 0;
	return ERR_OK;
}

/* The next line, its newline turned into a NUL. */
static enum err_code next_line(struct files_reader *r, char **line, size_t *len, struct err *e)
{
	bool more = true;
	char *end;

	while (!(end = memchr(r->bytes + r->at, '\n', r->filled - r->at))) {
		if (r->filled - r->at > LINE_MAX_BYTES)
			return ERR(e, ERR_CORRUPT, "files document: line %llu is too long",
			           (unsigned long long)r->lines);
		TRY(refill(r, &more, e));
		if (!more)
			return ERR(e, ERR_CORRUPT, "files document: cut off after %llu lines",
			           (unsigned long long)r->lines);
	}
	*line = r->bytes + r->at;
	*len = (size_t)(end - *line);
	*end = '\0';
	r->at += *len + 1;
	return ERR_OK;
}

static enum err_code start(struct files_reader *r, struct err *e)
{
	char *line;
	size_t len;

	r->started = true;
	TRY(r->source.rewind(r->source.arg, e));
	TRY(next_line(r, &line, &len, e));
	if (strcmp(line, "stowage files 1") != 0)
		return ERR(e, ERR_CORRUPT, "not a files document: \"%.40s\"", line);
	return ERR_OK;
}

/* Reads an escaped word up to a space or the line's end into to; NULL when it is none. */
static char *read_word(char *at, char *to, size_t *len)
{
	char *end = strchrnul(at, ' ');

	*len = (size_t)(end - at);
	if (!memchr(at, '\\', *len)) {
		if (*len == 0 || *len > FILES_PATH_MAX)
			return NULL;
		memcpy(to, at, *len);
		to[*len] = '\0';
		return end;
	}
	return files_unescape(at, *len, to, len) ? end : NULL;
}

static char *read_number(char *at, unsigned base, uint64_t max, uint64_t *value)
{
	uint64_t v = 0;

	if ((unsigned)(*at - '0') >= base)
		return NULL;
	for (; (unsigned)(*at - '0') < base; at++) {
		if (v > (max - (unsigned)(*at - '0')) / base)
			return NULL;
		v = v * base + (unsigned)(*at - '0');
	}
	*value = v;
	return at;
}

/* Without branches on the digits, which are random: half the time of reading a line went into mispredicting them. */
static char *read_digest(char *at, struct digest *d)
{
	bool good = true;

	if (strnlen(at, 2 * DIGEST_BYTES) < 2 * DIGEST_BYTES)
		return NULL;
	for (size_t i = 0; i < DIGEST_BYTES; i++, at += 2) {
		unsigned char high = (unsigned char)at[0], low = (unsigned char)at[1];

		good &= ((unsigned)(high - '0') < 10) | ((unsigned)(high - 'a') < 6);
		good &= ((unsigned)(low - '0') < 10) | ((unsigned)(low - 'a') < 6);
		d->bytes[i] = (uint8_t)(((high & 15) + 9 * (high >> 6)) << 4 | ((low & 15) + 9 * (low >> 6)));
	}
	return good ? at : NULL;
}

static char *read_device(char *at, struct files_entry *entry)
{
	uint64_t major, minor;

	at = read_number(at, 10, UINT32_MAX, &major);
	if (!at || *at != ',')
		return NULL;
	at = read_number(at + 1, 10, UINT32_MAX, &minor);
	if (!at)
		return NULL;
	entry->dev_major = (uint32_t)major;
	entry->dev_minor = (uint32_t)minor;
	return at;
}

static char *read_attribute(struct files_reader *r, char *at)
{
	struct files_entry *entry = &r->entry;

	if (strncmp(at, "size=", 5) == 0)
		return read_number(at + 5, 10, UINT64_MAX, &entry->size);
	if (strncmp(at, "sha256=", 7) == 0)
		return read_digest(at + 7, &entry->sha256);
	if (strncmp(at, "link=", 5) == 0) {
		entry->link = r->link;
		return read_word(at + 5, r->link, &entry->link_len);
	}
	if (strncmp(at, "uid=", 4) == 0)
		return read_number(at + 4, 10, UINT64_MAX, &entry->uid);
	if (strncmp(at, "gid=", 4) == 0)
		return read_number(at + 4, 10, UINT64_MAX, &entry->gid);
	if (strncmp(at, "dev=", 4) == 0)
		return read_device(at + 4, entry);
	if (strncmp(at, "implied", 7) == 0) {
		entry->implied = true;
		return at + 7;
	}
	return NULL;
}

static char *read_type(struct files_entry *entry, char *at)
{
	uint64_t mode;

	switch (at[0]) {
	case FILES_WHITEOUT:
	case FILES_OPAQUE:
	case FILES_HARDLINK:
		break;
	case FILES_SYMLINK:
		entry->mode = 0777;
		break;
	case FILES_REGULAR:
	case FILES_DIRECTORY:
	case FILES_CHAR:
	case FILES_BLOCK:
	case FILES_FIFO:
		entry->type = (enum files_type)at[0];
		at = at[1] == ' ' ? read_number(at + 2, 8, 07777, &mode) : NULL;
		entry->mode = at ? (uint32_t)mode : 0;
		return at;
	default:
		return NULL;
	}
	entry->type = (enum files_type)at[0];
	return at + 1;
}

static bool read_entry(struct files_reader *r, char *line)
{
	struct files_entry *entry = &r->entry;
	char *at;

	*entry = (struct files_entry){.path = r->path};
	at = read_word(line, r->path, &entry->path_len);
	if (!at || *at != ' ')
		return false;
	at = read_type(entry, at + 1);
	while (at && *at == ' ')
		at = read_attribute(r, at + 1);
	if (!at || *at)
		return false;
	if (entry->type == FILES_REGULAR && entry->size == 0)
		memcpy(entry->sha256.bytes, empty_digest, DIGEST_BYTES);
	return (entry->link != NULL) == (entry->type == FILES_SYMLINK || entry->type == FILES_HARDLINK);
}

static bool in_order(struct files_reader *r)
{
	int rank = files_type_rank(r->entry.type);
	int order = r->lines ? files_path_compare(r->last, r->last_len, r->path, r->entry.path_len) : -1;

	if (order > 0 || (order == 0 && r->last_rank >= rank))
		return false;
	memcpy(r->last, r->path, r->entry.path_len);
	r->last_len = r->entry.path_len;
	r->last_rank = rank;
	return true;
}

static enum err_code read_end(struct files_reader *r, char *line, struct err *e)
{
	uint64_t lines;
	char *at = read_number(line + 4, 10, UINT64_MAX, &lines);

	if (!at || *at || lines != r->lines)
		return ERR(e, ERR_CORRUPT, "files document: has %llu lines and says \"%.40s\"",
		           (unsigned long long)r->lines, line);
	r->ended = true;
	return ERR_OK;
}

static bool is_end(const char *line)
{
	return strncmp(line, "end ", 4) == 0 && line[4] >= '0' && line[4] <= '9';
}

enum err_code files_reader_next(struct files_reader *r, const struct files_entry **entry, struct err *e)
{
	char *line;
	size_t len;

	*entry = NULL;
	if (r->ended)
		return ERR_OK;
	if (!r->started)
		TRY(start(r, e));
	TRY(next_line(r, &line, &len, e));
	if (is_end(line))
		return read_end(r, line, e);
	if (strlen(line) != len || !read_entry(r, line))
		return ERR(e, ERR_CORRUPT, "files document: line %llu is not understood: \"%.200s\"",
		           (unsigned long long)r->lines + 2, line);
	if (!in_order(r))
		return ERR(e, ERR_CORRUPT, "files document: line %llu is out of order: \"%.200s\"",
		           (unsigned long long)r->lines + 2, r->path);
	r->lines++;
	*entry = &r->entry;
	return ERR_OK;
}

/* ---- passing over lines ---- */

/* Does a line, which ends with the newline at end, stand before the path? One that is not understood does not: it is
 * read, and complained of. */
static bool stands_before(const char *line, const char *end, const char *path, size_t path_len)
{
	const char *space = memchr(line, ' ', (size_t)(end - line));
	size_t len = space ? (size_t)(space - line) : 0;
	char unescaped[FILES_PATH_MAX + 1];

	if (!space || is_end(line))
		return false;
	if (memchr(line, '\\', len)) {
		if (!files_unescape(line, len, unescaped, &len))
			return false;
		line = unescaped;
	}
	return files_path_compare(line, len, path, path_len) < 0;
}

/* Passes over lines up to end, which is behind a newline. */
static void pass_lines(struct files_reader *r, const char *end)
{
	const char *at = r->bytes + r->at;

	for (; at < end; r->lines++)
		at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
	r->at = (size_t)(end - r->bytes);
}

/* Passes over all whole lines at hand if the last of them stands before the path; else to the first that does not. */
static bool pass_piece(struct files_reader *r, const char *path, size_t path_len)
{
	const char *at = r->bytes + r->at, *last = memrchr(at, '\n', r->filled - r->at), *line, *newline;

	if (!last)
		return true;
	line = memrchr(at, '\n', (size_t)(last - at));
	if (stands_before(line ? line + 1 : at, last, path, path_len)) {
		pass_lines(r, last + 1);
		return true;
	}
	while ((newline = memchr(at, '\n', (size_t)(last + 1 - at))) && stands_before(at, newline, path, path_len))
		at = newline + 1;
	pass_lines(r, at);
	return false;
}

enum err_code files_reader_find(struct files_reader *r, const char *path, size_t path_len,
                                const struct files_entry **entry, struct err *e)
{
	bool more = !r->ended;

	*entry = NULL;
	if (!r->started)
		TRY(start(r, e));
	while (more && pass_piece(r, path, path_len) && r->filled - r->at <= LINE_MAX_BYTES)
		TRY(refill(r, &more, e));
	return files_reader_next(r, entry, e);
}
