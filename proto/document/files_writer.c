#include "proto/document/files.h"

#include <string.h>

#define PIECE (64 * KIB)
/* The longest line: path and link with every byte escaped, and some numbers. */
#define LINE_MAX_BYTES (8 * FILES_PATH_MAX + 512)

struct files_writer {
	files_write write;
	void *arg;
	uint64_t lines;
	size_t used;
	size_t last_len;
	int last_rank;
	char last[FILES_PATH_MAX];
	char bytes[PIECE + LINE_MAX_BYTES];
};

struct files_writer *files_writer_new(TALLOC_CTX *ctx, files_write write, void *arg)
{
	struct files_writer *w = talloc(ctx, struct files_writer);
	static const char head[] = "stowage files 1\n";

	ASSERT(w != NULL);
	w->write = write;
	w->arg = arg;
	w->lines = 0;
	w->last_len = 0;
	w->last_rank = -1;
	w->used = sizeof(head) - 1;
	memcpy(w->bytes, head, w->used);
	return w;
}

static char *put_text(char *to, const char *text)
{
	size_t len = strlen(text);

	memcpy(to, text, len);
	return to + len;
}

static char *put_escaped(char *to, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if (c > 0x20 && c < 0x7f && c != '\\') {
			*to++ = (char)c;
			continue;
		}
		*to++ = '\\';
		*to++ = (char)('0' + (c >> 6));
		*to++ = (char)('0' + (c >> 3 & 7));
		*to++ = (char)('0' + (c & 7));
	}
	return to;
}

static char *put_number(char *to, uint64_t value, unsigned base)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % base);
		value /= base;
	} while (value);
	memcpy(to, digits + at, sizeof(digits) - at);
	return to + sizeof(digits) - at;
}

static char *put_digest(char *to, const struct digest *d)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		*to++ = digits[d->bytes[i] >> 4];
		*to++ = digits[d->bytes[i] & 15];
	}
	return to;
}

static char *put_attributes(char *to, const struct files_entry *entry)
{
	if (entry->uid)
		to = put_number(put_text(to, " uid="), entry->uid, 10);
	if (entry->gid)
		to = put_number(put_text(to, " gid="), entry->gid, 10);
	if (entry->type == FILES_REGULAR && entry->size) {
		to = put_number(put_text(to, " size="), entry->size, 10);
		to = put_digest(put_text(to, " sha256="), &entry->sha256);
	}
	if (entry->type == FILES_CHAR || entry->type == FILES_BLOCK) {
		to = put_number(put_text(to, " dev="), entry->dev_major, 10);
		to = put_number(put_text(to, ","), entry->dev_minor, 10);
	}
	if (entry->implied)
		to = put_text(to, " implied");
	return to;
}

static char *put_entry(char *to, const struct files_entry *entry)
{
	to = put_escaped(to, entry->path, entry->path_len);
	*to++ = ' ';
	*to++ = (char)entry->type;
	switch (entry->type) {
	case FILES_WHITEOUT:
	case FILES_OPAQUE:
		break;
	case FILES_HARDLINK:
	case FILES_SYMLINK:
		if (entry->type == FILES_SYMLINK)
			to = put_attributes(to, entry);
		to = put_escaped(put_text(to, " link="), entry->link, entry->link_len);
		break;
	case FILES_REGULAR:
	case FILES_DIRECTORY:
	case FILES_CHAR:
	case FILES_BLOCK:
	case FILES_FIFO:
		*to++ = ' ';
		to = put_attributes(put_number(to, entry->mode & 07777, 8), entry);
		break;
	}
	*to++ = '\n';
	return to;
}

static enum err_code flush(struct files_writer *w, struct err *e)
{
	TRY(w->write(w->arg, w->bytes, w->used, e));
	w->used = 0;
	return ERR_OK;
}

static void check_order(struct files_writer *w, const struct files_entry *entry)
{
	int rank = files_type_rank(entry->type);
	int order;

	ASSERT(entry->path_len > 0 && entry->path_len <= FILES_PATH_MAX && entry->link_len <= FILES_PATH_MAX);
	order = w->lines ? files_path_compare(w->last, w->last_len, entry->path, entry->path_len) : -1;
	ASSERT(order < 0 || (order == 0 && w->last_rank < rank));
	memcpy(w->last, entry->path, entry->path_len);
	w->last_len = entry->path_len;
	w->last_rank = rank;
}

enum err_code files_writer_add(struct files_writer *w, const struct files_entry *entry, struct err *e)
{
	check_order(w, entry);
	w->used = (size_t)(put_entry(w->bytes + w->used, entry) - w->bytes);
	w->lines++;
	return w->used >= PIECE ? flush(w, e) : ERR_OK;
}

enum err_code files_writer_end(struct files_writer *w, struct err *e)
{
	char *to = put_number(put_text(w->bytes + w->used, "end "), w->lines, 10);

	*to++ = '\n';
	w->used = (size_t)(to - w->bytes);
	return flush(w, e);
}
