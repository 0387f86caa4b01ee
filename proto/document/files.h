/*
 * files: the files document, one for each layer: what the layer's tar holds, sorted, one line an entry.
 *
 *     stowage files 1
 *     etc d 755
 *     etc/hosts f 644 size=174 sha256=9f86d0...
 *     etc/mtab l link=../proc/self/mounts
 *     etc/old w
 *     opt o
 *     usr d 755 implied
 *     usr/lib/a.so h link=usr/lib/b.so
 *     end 8
 *
 * A line is path, type, mode in octal (not for l, h, w, o), then key=value pairs: uid and gid (left out when 0), size
 * (left out when 0), sha256 (of type f, left out when the size is 0), link, dev=MAJOR,MINOR. Bytes outside 0x21..0x7e
 * and the backslash are written as a backslash and three octal digits, so paths keep every byte they had.
 *
 *  - Paths are relative to the root and normalised: no leading slash, no empty, "." or ".." component. The root itself
 *    is ".".
 *  - Lines are sorted in component order: '/' sorts before every other byte, so a directory is followed directly by
 *    everything below it. A path has at most one w, one entry and one o line, in this order.
 *  - w: a whiteout. What lower layers have at the path, and below it, is gone. o: an opaque directory. What lower
 *    layers have below the path is gone.
 *  - implied: the tar has entries below this directory but none for it. Unpacking makes it with mode 755, owned by 0:0,
 *    unless a lower layer has the directory; then that one's attributes stay.
 *  - h: a hard link to a file that this layer does not have: it means the lower layers' file. Hard links to a file of
 *    the same layer are written as what they link to.
 *  - The last line counts the lines between the first and itself: a document without it was cut off.
 *
 * Reading and writing stream, with memory that does not depend on the number of lines.
 */
#ifndef PROTO_DOCUMENT_FILES_H
#define PROTO_DOCUMENT_FILES_H

#include "common/buf.h"
#include "common/digest.h"
#include "common/err.h"

#define FILES_PATH_MAX 4096 /* bytes of a path or a link target */

enum files_type {
	FILES_WHITEOUT = 'w',
	FILES_OPAQUE = 'o',
	FILES_REGULAR = 'f',
	FILES_DIRECTORY = 'd',
	FILES_SYMLINK = 'l',
	FILES_HARDLINK = 'h',
	FILES_CHAR = 'c',
	FILES_BLOCK = 'b',
	FILES_FIFO = 'p',
};

struct files_entry {
	const char *path; /* raw bytes, NUL-terminated; never has a NUL within */
	size_t path_len;
	const char *link; /* l: the target as it stands; h: a normalised path; otherwise NULL */
	size_t link_len;
	enum files_type type;
	bool implied;
	uint32_t mode; /* permission bits with setuid, setgid, sticky: 07777; 0777 for l, 0 for h, w, o */
	uint64_t uid, gid;
	uint64_t size;
	struct digest sha256;          /* of a regular file's content, the empty one's included; otherwise none */
	uint32_t dev_major, dev_minor; /* c and b */
};

/* -1, 0, 1 in component order. */
int files_path_compare(const char *a, size_t a_len, const char *b, size_t b_len);

/* Is path below dir (not dir itself)? Everything but the root is below ".". */
bool files_path_below(const char *path, size_t path_len, const char *dir, size_t dir_len);

/* Where the lines of one path are sorted: w 0, entries 1, o 2. */
int files_type_rank(enum files_type type);

/* The text that a path or link target has in a document, and back: *len bytes and a NUL in out, which has room for
 * FILES_PATH_MAX + 1; false for what no writer writes. */
void files_escape(struct buf *out, const char *bytes, size_t len);
bool files_unescape(const char *text, size_t text_len, char *out, size_t *len);

/* Writing: entries in order, then files_writer_end, which writes the last line and flushes. An entry that is out of
 * order is a broken invariant. write gets pieces of some 64 KiB. */
typedef enum err_code (*files_write)(void *arg, const void *bytes, size_t len, struct err *e);

struct files_writer;

struct files_writer *files_writer_new(TALLOC_CTX *ctx, files_write write, void *arg);
enum err_code files_writer_add(struct files_writer *w, const struct files_entry *entry, struct err *e) MUST_CHECK;
enum err_code files_writer_end(struct files_writer *w, struct err *e) MUST_CHECK;

/* Where a document is read from. read gives up to size bytes, *got == 0 at the end; rewind starts over. Both may block
 * and fail; their errors are passed on. */
struct files_source {
	enum err_code (*read)(void *arg, void *into, size_t size, size_t *got, struct err *e);
	enum err_code (*rewind)(void *arg, struct err *e);
	void *arg;
};

/* A source for a document in memory; bytes and the struct stay the caller's. */
struct files_memory {
	const char *bytes;
	size_t len, at;
};
struct files_source files_memory_source(struct files_memory *m);

/* A source for an open file from its byte 0, read with pread. The struct stays the caller's, the fd is not closed. */
struct files_file {
	int fd;
	uint64_t at;
};
struct files_source files_file_source(struct files_file *f);

/* Reading: *entry is NULL after the last line; it and its strings live until the next call. The reader rewinds the
 * source first. ERR_CORRUPT: not a files document, cut off, or out of order. */
struct files_reader;

struct files_reader *files_reader_new(TALLOC_CTX *ctx, const struct files_source *source);
enum err_code files_reader_next(struct files_reader *r, const struct files_entry **entry, struct err *e) MUST_CHECK;

/* The first line, of those not given yet, whose path is this one or sorted behind it. Lines before it are counted and
 * not looked at: a document that is sound gives the same as files_reader_next would until there, in a tenth of the
 * time; of one that is not, less is noticed. */
enum err_code files_reader_find(struct files_reader *r, const char *path, size_t path_len,
                                const struct files_entry **entry, struct err *e) MUST_CHECK;

#endif
