#include "services/analyzer-worker/layer_cache.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/path.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#define TEMPORARY "partial-"
#define HEX_LEN (2 * DIGEST_BYTES)
#define ACCOUNT_MAX 128 /* bytes */
#define NAME_SIZE (HEX_LEN + 1 + ACCOUNT_MAX + 1)
#define TEMPORARY_SIZE (sizeof(TEMPORARY) + NAME_SIZE)

static struct metric hits_total = METRIC_COUNTER("stowage_layer_cache_hits_total", "Layers read from the cache.");
static struct metric misses_total = METRIC_COUNTER("stowage_layer_cache_misses_total", "Layers not in the cache.");
static struct metric evictions_total = METRIC_COUNTER("stowage_layer_cache_evictions_total", "Layers evicted.");
static struct metric damaged_total =
    METRIC_COUNTER("stowage_layer_cache_damaged_total", "Cached layers that had another digest when read.");
static struct metric bytes_gauge = METRIC_GAUGE("stowage_layer_cache_bytes", "Bytes in the layer cache.");

/* Known to the cache: on disk, being downloaded, or both in turn. Removed when neither and nobody waits. */
struct cached_blob {
	char name[NAME_SIZE]; /* its file's: HEX.ACCOUNT */
	uint64_t size;        /* taken from bytes_max: whole, from the moment a download starts */
	uint64_t used;        /* larger: more recently */
	unsigned readers;     /* pins */
	unsigned waiters;
	bool downloading;
	bool present;
	UT_hash_handle hh;
};

struct layer_cache {
	char *dir;
	int dir_fd;
	pthread_mutex_t mutex; /* guards all below, and the blobs */
	pthread_cond_t changed;
	struct cached_blob *blobs;
	uint64_t clock;
	struct layer_cache_stats stats;
};

static void blob_forget(struct layer_cache *c, struct cached_blob *b)
{
	if (b->present || b->downloading || b->readers || b->waiters)
		return;
	HASH_DEL(c->blobs, b);
	free(b);
}

static struct cached_blob *blob_find(struct layer_cache *c, const char *name)
{
	struct cached_blob *b;

	HASH_FIND_STR(c->blobs, name, b);
	if (b)
		return b;
	b = calloc(1, sizeof(*b));
	ASSERT(b);
	memcpy(b->name, name, strlen(name) + 1);
	HASH_ADD_STR(c->blobs, name, b);
	return b;
}

/* The account is the catalog's word, but it becomes part of a path. */
static enum err_code name_blob(const char *account, const struct digest *digest, char name[NAME_SIZE], struct err *e)
{
	size_t len = strlen(account);

	if (len == 0 || len > ACCOUNT_MAX || strchr(account, '/'))
		return ERR(e, ERR_INVALID, "account \"%.128s\" cannot have cached layers", account);
	snprintf(name, NAME_SIZE, "%s.%s", digest_hex(digest).text, account);
	return ERR_OK;
}

static bool is_blob_name(const char *name)
{
	struct digest digest;
	size_t len = strlen(name);

	return len > HEX_LEN + 1 && len < NAME_SIZE && name[HEX_LEN] == '.' && digest_parse_hex(name, HEX_LEN, &digest);
}

static void blob_evict(struct layer_cache *c, struct cached_blob *b)
{
	unlinkat(c->dir_fd, b->name, 0);
	b->present = false;
	c->stats.bytes -= b->size;
	blob_forget(c, b);
	metric_set(&bytes_gauge, (int64_t)c->stats.bytes);
}

/* Makes room for size bytes and takes it. False: it cannot fit, whatever is evicted. */
static bool room_take(struct layer_cache *c, uint64_t size)
{
	while (size <= c->stats.bytes_max && c->stats.bytes > c->stats.bytes_max - size) {
		struct cached_blob *oldest = NULL, *b, *next;

		HASH_ITER (hh, c->blobs, b, next) {
			if (b->present && !b->readers && (!oldest || b->used < oldest->used))
				oldest = b;
		}
		if (!oldest)
			return false;
		blob_evict(c, oldest);
		c->stats.evictions++;
		metric_add(&evictions_total, 1);
	}
	if (size > c->stats.bytes_max)
		return false;
	c->stats.bytes += size;
	metric_set(&bytes_gauge, (int64_t)c->stats.bytes);
	return true;
}

struct found_file {
	char name[NAME_SIZE];
	uint64_t size;
	struct timespec written;
};

static int older_first(const void *a, const void *b)
{
	const struct found_file *x = a, *y = b;

	if (x->written.tv_sec != y->written.tv_sec)
		return x->written.tv_sec < y->written.tv_sec ? -1 : 1;
	return (x->written.tv_nsec > y->written.tv_nsec) - (x->written.tv_nsec < y->written.tv_nsec);
}

/* What an earlier worker left: whole blobs, and files it was writing when it ended. */
static enum err_code scan(struct layer_cache *c, TALLOC_CTX *ctx, struct found_file **files, size_t *count,
                          struct err *e)
{
	int fd = dup(c->dir_fd);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!dir) {
		fd_cleanup(&fd);
		return ERR_SYS(e, err_from_errno(errno), "cannot read layer cache %s", c->dir);
	}
	while ((entry = readdir(dir))) {
		struct found_file file;
		struct stat st;

		if (entry->d_name[0] == '.')
			continue;
		if (!is_blob_name(entry->d_name) || fstatat(c->dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    !S_ISREG(st.st_mode)) {
			unlinkat(c->dir_fd, entry->d_name, 0);
			continue;
		}
		memcpy(file.name, entry->d_name, strlen(entry->d_name) + 1);
		file.size = (uint64_t)st.st_size;
		file.written = st.st_mtim;
		*files = talloc_realloc(ctx, *files, struct found_file, *count + 1);
		ASSERT(*files);
		(*files)[(*count)++] = file;
	}
	closedir(dir);
	return ERR_OK;
}

static enum err_code take_over(struct layer_cache *c, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct found_file *files = NULL;
	size_t count = 0;

	TRY(scan(c, ctx, &files, &count, e));
	if (count)
		qsort(files, count, sizeof(*files), older_first);
	for (size_t i = 0; i < count; i++) {
		struct cached_blob *b;

		if (!room_take(c, files[i].size)) {
			unlinkat(c->dir_fd, files[i].name, 0);
			continue;
		}
		b = blob_find(c, files[i].name);
		b->size = files[i].size;
		b->present = true;
		b->used = ++c->clock;
	}
	return ERR_OK;
}

static int cache_destroy(struct layer_cache *c)
{
	struct cached_blob *b, *next;

	HASH_ITER (hh, c->blobs, b, next) {
		ASSERT(!b->readers && !b->downloading && !b->waiters);
		HASH_DEL(c->blobs, b);
		free(b);
	}
	fd_cleanup(&c->dir_fd);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->mutex);
	return 0;
}

enum err_code layer_cache_open(TALLOC_CTX *ctx, const char *dir, uint64_t bytes_max, struct layer_cache **out,
                               struct err *e)
{
	struct layer_cache *c = talloc_zero(ctx, struct layer_cache);
	pthread_condattr_t monotonic;
	enum err_code code;

	ASSERT(c && pthread_mutex_init(&c->mutex, NULL) == 0 && pthread_condattr_init(&monotonic) == 0);
	ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
	       pthread_cond_init(&c->changed, &monotonic) == 0);
	pthread_condattr_destroy(&monotonic);
	c->dir_fd = -1;
	c->stats.bytes_max = bytes_max;
	talloc_set_destructor(c, cache_destroy);
	c->dir = talloc_asprintf(c, "%s/sha256", dir);
	code = path_make_directories(c->dir, 0700, e);
	if (code == ERR_OK) {
		c->dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		code = c->dir_fd < 0 ? ERR_SYS(e, err_from_errno(errno), "cannot open layer cache %s", c->dir)
		                     : take_over(c, e);
	}
	if (code != ERR_OK) {
		talloc_free(c);
		return code;
	}
	*out = c;
	return ERR_OK;
}

/* Half a second, or until something changed. */
static void wait_a_little(struct layer_cache *c)
{
	int64_t until = clock_monotonic_ms() + 500;
	struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

	pthread_cond_timedwait(&c->changed, &c->mutex, &at);
}

static bool become_reader(struct layer_cache *c, struct cached_blob *b, struct layer_visit *visit)
{
	int fd = openat(c->dir_fd, b->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0) { /* somebody cleaned up by hand */
		b->present = false;
		c->stats.bytes -= b->size;
		return false;
	}
	utimensat(c->dir_fd, b->name, NULL, AT_SYMLINK_NOFOLLOW); /* for take_over's order */
	b->readers++;
	b->used = ++c->clock;
	c->stats.hits++;
	metric_add(&hits_total, 1);
	visit->fd = fd;
	return true;
}

static void temporary_name(const struct cached_blob *b, char name[TEMPORARY_SIZE])
{
	snprintf(name, TEMPORARY_SIZE, TEMPORARY "%s", b->name);
}

static void become_downloader(struct layer_cache *c, struct cached_blob *b, uint64_t size, struct layer_visit *visit)
{
	char name[TEMPORARY_SIZE];

	b->downloading = true;
	c->stats.misses++;
	metric_add(&misses_total, 1);
	b->size = 0;
	if (!room_take(c, size))
		return;
	b->size = size;
	temporary_name(b, name);
	visit->write_fd = openat(c->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
}

enum err_code layer_cache_enter(struct layer_cache *cache, const char *account, const struct digest *digest,
                                uint64_t size, bool (*stop)(void *arg), void *arg, struct layer_visit *visit,
                                struct err *e)
{
	struct cached_blob *b;
	enum err_code code = ERR_OK;
	char name[NAME_SIZE];

	TRY(name_blob(account, digest, name, e));
	pthread_mutex_lock(&cache->mutex);
	b = blob_find(cache, name);
	*visit = (struct layer_visit){.fd = -1, .cache = cache, .blob = b, .write_fd = -1};
	b->waiters++;
	for (;;) {
		if (stop && stop(arg)) {
			code = ERR(e, ERR_CANCELLED, "stopped while waiting for layer %s", digest_text(digest).text);
			break;
		}
		if (b->downloading) {
			wait_a_little(cache);
			continue;
		}
		if (!b->present || !become_reader(cache, b, visit))
			become_downloader(cache, b, size, visit);
		break;
	}
	b->waiters--;
	if (code != ERR_OK) {
		visit->blob = NULL;
		blob_forget(cache, b);
	}
	pthread_mutex_unlock(&cache->mutex);
	return code;
}

void layer_cache_write(struct layer_visit *visit, const void *bytes, size_t len)
{
	const char *from = bytes;

	while (visit->write_fd >= 0 && len) {
		ssize_t n = write(visit->write_fd, from, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			LOG_WARN("layer not cached", LOG_TEXT("error", strerror(errno)));
			fd_cleanup(&visit->write_fd);
			return;
		}
		from += n;
		len -= (size_t)n;
	}
}

void layer_cache_keep(struct layer_visit *visit)
{
	struct layer_cache *c = visit->cache;
	struct stat st;
	char name[TEMPORARY_SIZE];

	if (visit->write_fd < 0)
		return;
	temporary_name(visit->blob, name);
	if (fstat(visit->write_fd, &st) != 0 || (uint64_t)st.st_size != visit->blob->size ||
	    renameat(c->dir_fd, name, c->dir_fd, visit->blob->name) != 0)
		return;
	visit->kept = true;
}

void layer_cache_damaged(struct layer_visit *visit)
{
	struct layer_cache *c = visit->cache;

	pthread_mutex_lock(&c->mutex);
	c->stats.damaged++;
	metric_add(&damaged_total, 1);
	if (visit->blob->present) {
		unlinkat(c->dir_fd, visit->blob->name, 0);
		visit->blob->present = false;
		c->stats.bytes -= visit->blob->size;
	}
	pthread_mutex_unlock(&c->mutex);
}

static void reader_leaves(struct layer_visit *visit)
{
	fd_cleanup(&visit->fd);
	visit->blob->readers--;
}

static void downloader_leaves(struct layer_cache *c, struct layer_visit *visit)
{
	struct cached_blob *b = visit->blob;
	char name[TEMPORARY_SIZE];

	fd_cleanup(&visit->write_fd);
	b->downloading = false;
	b->present = visit->kept;
	b->used = ++c->clock;
	if (visit->kept)
		return;
	temporary_name(b, name);
	unlinkat(c->dir_fd, name, 0);
	c->stats.bytes -= b->size;
	b->size = 0;
}

void layer_cache_leave(struct layer_visit *visit)
{
	struct layer_cache *c = visit->cache;

	if (!visit->blob)
		return;
	pthread_mutex_lock(&c->mutex);
	if (visit->fd >= 0)
		reader_leaves(visit);
	else
		downloader_leaves(c, visit);
	blob_forget(c, visit->blob);
	visit->blob = NULL;
	metric_set(&bytes_gauge, (int64_t)c->stats.bytes);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->mutex);
}

void layer_cache_read_stats(struct layer_cache *cache, struct layer_cache_stats *stats)
{
	struct cached_blob *b, *next;

	pthread_mutex_lock(&cache->mutex);
	*stats = cache->stats;
	HASH_ITER (hh, cache->blobs, b, next) {
		if (b->present && b->readers)
			stats->bytes_pinned += b->size;
	}
	pthread_mutex_unlock(&cache->mutex);
}
