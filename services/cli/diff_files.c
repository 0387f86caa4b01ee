#include "services/cli/diff.h"
#include "services/cli/tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One image's merged tree, in a file without a name. */
struct side {
	int fd;
	struct files_file file;
	struct files_source source;
	struct files_writer *writer;
	struct files_reader *reader;
	const struct files_entry *entry;
};

static void side_release(struct side *s)
{
	fd_cleanup(&s->fd);
}

static enum err_code open_temporary(int *fd, struct err *e)
{
	const char *directory = getenv("TMPDIR");

	*fd = open(directory && *directory ? directory : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*fd < 0)
		return ERR_SYS(e, err_from_errno(errno), "a temporary file in %s", directory ? directory : "/tmp");
	return ERR_OK;
}

static enum err_code write_piece(void *arg, const void *bytes, size_t len, struct err *e)
{
	const struct side *s = arg;
	const char *from = bytes;

	while (len) {
		ssize_t done = write(s->fd, from, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return ERR_SYS(e, err_from_errno(errno), "a temporary file");
		from += done;
		len -= (size_t)done;
	}
	return ERR_OK;
}

static enum err_code keep_entry(void *arg, size_t layer, const struct files_entry *entry, struct err *e)
{
	const struct side *s = arg;

	(void)layer;
	return files_writer_add(s->writer, entry, e);
}

static enum err_code side_open(struct side *s, TALLOC_CTX *ctx, struct cli *cli, const struct image_detail *image,
                               struct err *e)
{
	TRY(open_temporary(&s->fd, e));
	s->writer = files_writer_new(ctx, write_piece, s);
	TRY(tree_walk(cli, image, keep_entry, s, e));
	TRY(files_writer_end(s->writer, e));
	s->file = (struct files_file){.fd = s->fd};
	s->source = files_file_source(&s->file);
	s->reader = files_reader_new(ctx, &s->source);
	return files_reader_next(s->reader, &s->entry, e);
}

static bool same(const struct files_entry *a, const struct files_entry *b)
{
	return a->type == b->type && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->size == b->size &&
	       digest_equal(&a->sha256, &b->sha256) && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor &&
	       a->link_len == b->link_len && (!a->link_len || memcmp(a->link, b->link, a->link_len) == 0);
}

static int compare(const struct side *a, const struct side *b)
{
	if (!a->entry || !b->entry)
		return a->entry ? -1 : 1;
	return files_path_compare(a->entry->path, a->entry->path_len, b->entry->path, b->entry->path_len);
}

static enum err_code walk(struct side *a, struct side *b, diff_file_found found, void *arg, struct err *e)
{
	while (a->entry || b->entry) {
		int order = compare(a, b);

		if (order != 0 || !same(a->entry, b->entry))
			TRY(found(arg, order <= 0 ? a->entry : NULL, order >= 0 ? b->entry : NULL, e));
		if (order <= 0)
			TRY(files_reader_next(a->reader, &a->entry, e));
		if (order >= 0)
			TRY(files_reader_next(b->reader, &b->entry, e));
	}
	return ERR_OK;
}

enum err_code diff_files(struct cli *cli, const struct image_detail *a, const struct image_detail *b,
                         diff_file_found found, void *arg, struct err *e)
{
	SCRATCH_CTX(scratch);
	CLEANUP(side_release) struct side before = {.fd = -1}, after = {.fd = -1};

	TRY(side_open(&before, scratch, cli, a, e));
	TRY(side_open(&after, scratch, cli, b, e));
	return walk(&before, &after, found, arg, e);
}
