/*
 * layer_cache: compressed layers that this worker downloaded, kept on its own disk for the next image that has them.
 *
 * The cache belongs to one worker, whose scratch lock guards it. Losing it costs time, never data.
 *
 * A blob is kept for the account that downloaded it. Another account's image that names the same digest proves nothing:
 * anybody can write a digest into a manifest. That account downloads the blob itself, and has its own copy.
 *
 *     layer_cache_enter   wants a blob: either it is here, pinned and ready to read, or the caller becomes its one
 *                         downloader; whoever else wants it waits inside this call
 *     layer_cache_write   ... the downloader, as bytes arrive
 *     layer_cache_keep    digest right: the blob is in the cache, and those who wait wake with it
 *     layer_cache_leave   the end of both: a reader unpins; a downloader that did not keep leaves no trace, and one of
 *                         those who wait becomes the downloader
 *     layer_cache_damaged a reader found another digest: the blob is evicted
 *
 * Always true, also while jobs run without pause and after kill -9:
 *  - A file sha256/<hex>.<account> was complete and had that digest when it got this name.
 *  - The bytes on disk, those being written included, do not exceed bytes_max: room is made before it is taken, from
 * the least recently used blobs that nobody has pinned. A blob that cannot fit is streamed past the cache: the visit is
 *    then a downloader's, and what it writes and keeps is nowhere.
 *  - A pinned blob is not evicted.
 *
 * Any number of threads; one mutex guards everything, and is not held while bytes are moved.
 */
#ifndef ANALYZER_LAYER_CACHE_H
#define ANALYZER_LAYER_CACHE_H

#include "common/digest.h"
#include "common/err.h"

struct layer_cache;

struct layer_visit {
	int fd; /* a reader's, at byte 0; -1 for a downloader */
	/* the cache's own */
	struct layer_cache *cache;
	struct cached_blob *blob;
	int write_fd;
	bool kept;
};

struct layer_cache_stats {
	uint64_t hits, misses, evictions, damaged;
	uint64_t bytes, bytes_pinned, bytes_max;
};

/* bytes_max 0: nothing is ever kept; visits still let one download serve the next. Files with a temporary name are
 * removed, files in the cache are taken over, the least recently written ones evicted if they are too many. */
enum err_code layer_cache_open(TALLOC_CTX *ctx, const char *dir, uint64_t bytes_max, struct layer_cache **out,
                               struct err *e) MUST_CHECK;

/* May wait for another thread's download; stop is asked twice a second and makes it ERR_CANCELLED. */
enum err_code layer_cache_enter(struct layer_cache *cache, const char *account, const struct digest *digest,
                                uint64_t size, bool (*stop)(void *arg), void *arg, struct layer_visit *visit,
                                struct err *e) MUST_CHECK;

/* A full disk is no failure: the blob is then not kept. */
void layer_cache_write(struct layer_visit *visit, const void *bytes, size_t len);
void layer_cache_keep(struct layer_visit *visit);
void layer_cache_damaged(struct layer_visit *visit);
void layer_cache_leave(struct layer_visit *visit);

void layer_cache_read_stats(struct layer_cache *cache, struct layer_cache_stats *stats);

#endif
