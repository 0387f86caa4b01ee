#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/path.h"
#include "services/analyzer-worker/layer_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOB 1000 /* bytes of each blob in these tests */

struct place {
	char dir[64];
	struct layer_cache *cache;
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	struct err e;

	snprintf(p->dir, sizeof(p->dir), "/tmp/cache-test-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	assert_int_equal(layer_cache_open(NULL, p->dir, 3 * BLOB, &p->cache, &e), ERR_OK);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	struct err e;

	talloc_free(p->cache);
	assert_int_equal(path_remove_tree(AT_FDCWD, p->dir, &e), ERR_OK);
	free(p);
	return 0;
}

static struct digest blob_digest(unsigned n, char bytes[BLOB])
{
	memset(bytes, 0, BLOB);
	snprintf(bytes, BLOB, "blob %u", n);
	return digest_of(bytes, BLOB);
}

static struct layer_visit enter_for(struct layer_cache *c, const char *account, unsigned n)
{
	char bytes[BLOB];
	struct digest d = blob_digest(n, bytes);
	struct layer_visit v;
	struct err e;

	assert_int_equal(layer_cache_enter(c, account, &d, BLOB, NULL, NULL, &v, &e), ERR_OK);
	return v;
}

static struct layer_visit enter(struct layer_cache *c, unsigned n)
{
	return enter_for(c, "default", n);
}

static void download(struct layer_cache *c, unsigned n)
{
	char bytes[BLOB];
	struct layer_visit v = enter(c, n);

	(void)blob_digest(n, bytes);
	assert_int_equal(v.fd, -1);
	layer_cache_write(&v, bytes, BLOB);
	layer_cache_keep(&v);
	layer_cache_leave(&v);
}

static bool is_cached(struct layer_cache *c, unsigned n)
{
	struct layer_visit v = enter(c, n);
	bool hit = v.fd >= 0;

	layer_cache_leave(&v);
	return hit;
}

static uint64_t bytes_on_disk(const struct place *p)
{
	char *path = talloc_asprintf(NULL, "%s/sha256", p->dir);
	DIR *d = opendir(path);
	uint64_t sum = 0;
	struct stat st;

	for (const struct dirent *entry; (entry = readdir(d));)
		if (fstatat(dirfd(d), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	closedir(d);
	talloc_free(path);
	return sum;
}

static void what_was_kept_is_read_back(void **state)
{
	struct place *p = *state;
	char bytes[BLOB], back[BLOB];
	struct layer_visit v;

	download(p->cache, 1);
	v = enter(p->cache, 1);
	assert_true(v.fd >= 0);
	assert_int_equal(read(v.fd, back, BLOB), BLOB);
	(void)blob_digest(1, bytes);
	assert_memory_equal(back, bytes, BLOB);
	layer_cache_leave(&v);
}

static void what_one_account_downloaded_is_not_there_for_another(void **state)
{
	static const char *const impossible[] = {"", "../default", "a/b"};
	struct place *p = *state;
	struct layer_visit mine, other;
	char bytes[BLOB];
	struct digest d = blob_digest(1, bytes);
	struct err e;

	download(p->cache, 1);
	other = enter_for(p->cache, "other", 1);
	assert_int_equal(other.fd, -1);
	mine = enter(p->cache, 1); /* while the other downloads */
	assert_true(mine.fd >= 0);
	layer_cache_damaged(&mine);
	layer_cache_leave(&mine);
	layer_cache_write(&other, bytes, BLOB);
	layer_cache_keep(&other);
	layer_cache_leave(&other);
	assert_false(is_cached(p->cache, 1));
	other = enter_for(p->cache, "other", 1);
	assert_true(other.fd >= 0);
	layer_cache_leave(&other);
	for (size_t i = 0; i < ARRAY_SIZE(impossible); i++)
		assert_int_equal(layer_cache_enter(p->cache, impossible[i], &d, BLOB, NULL, NULL, &other, &e),
		                 ERR_INVALID);
}

static void the_least_recently_used_goes_first(void **state)
{
	struct place *p = *state;

	download(p->cache, 1);
	download(p->cache, 2);
	download(p->cache, 3);
	assert_true(is_cached(p->cache, 1));
	download(p->cache, 4);
	assert_true(is_cached(p->cache, 1));
	assert_true(is_cached(p->cache, 3));
	assert_true(is_cached(p->cache, 4));
	assert_false(is_cached(p->cache, 2));
}

static void a_pinned_blob_stays_and_what_cannot_fit_goes_past(void **state)
{
	struct place *p = *state;
	struct layer_visit pins[3];

	for (unsigned i = 0; i < 3; i++) {
		download(p->cache, i);
		pins[i] = enter(p->cache, i);
	}
	download(p->cache, 9); /* streamed past */
	assert_true(bytes_on_disk(p) <= 3 * BLOB);
	for (unsigned i = 0; i < 3; i++) {
		struct layer_visit again = enter(p->cache, i);

		assert_true(again.fd >= 0);
		layer_cache_leave(&again);
		layer_cache_leave(&pins[i]);
	}
	assert_false(is_cached(p->cache, 9));
}

static void an_aborted_download_leaves_no_trace(void **state)
{
	struct place *p = *state;
	struct layer_visit v = enter(p->cache, 1);
	struct layer_cache_stats stats;

	layer_cache_write(&v, "half", 4);
	layer_cache_leave(&v);
	layer_cache_read_stats(p->cache, &stats);
	assert_int_equal(stats.bytes, 0);
	assert_int_equal(bytes_on_disk(p), 0);
	assert_false(is_cached(p->cache, 1));
}

static void a_blob_of_another_length_is_not_kept(void **state)
{
	struct place *p = *state;
	struct layer_visit v = enter(p->cache, 1);

	layer_cache_write(&v, "short", 5);
	layer_cache_keep(&v);
	layer_cache_leave(&v);
	assert_false(is_cached(p->cache, 1));
}

static void a_damaged_blob_is_evicted_even_while_others_read_it(void **state)
{
	struct place *p = *state;
	struct layer_visit first, second;
	struct layer_cache_stats stats;

	download(p->cache, 1);
	first = enter(p->cache, 1);
	second = enter(p->cache, 1);
	layer_cache_damaged(&first);
	layer_cache_leave(&first);
	download(p->cache, 1);
	layer_cache_leave(&second);
	layer_cache_read_stats(p->cache, &stats);
	assert_int_equal(stats.damaged, 1);
	assert_int_equal(stats.bytes, BLOB);
	assert_int_equal(stats.bytes_pinned, 0);
	assert_int_equal(bytes_on_disk(p), BLOB);
}

static void another_worker_takes_over_what_is_whole_and_drops_the_rest(void **state)
{
	struct place *p = *state;
	char *partial = talloc_asprintf(NULL, "%s/sha256/partial-x", p->dir);
	char *nobodys = talloc_asprintf(partial, "%s/sha256/%s", p->dir, digest_hex(&(struct digest){{7}}).text);
	struct err e;

	for (unsigned i = 1; i <= 3; i++)
		download(p->cache, i);
	talloc_free(p->cache);
	close(open(partial, O_CREAT | O_WRONLY, 0600));
	close(open(nobodys, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(layer_cache_open(NULL, p->dir, 2 * BLOB, &p->cache, &e), ERR_OK);
	assert_int_equal(access(partial, F_OK), -1);
	assert_int_equal(access(nobodys, F_OK), -1);
	assert_int_equal(bytes_on_disk(p), 2 * BLOB);
	assert_false(is_cached(p->cache, 1));
	assert_true(is_cached(p->cache, 3));
	talloc_free(partial);
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

static void waiting_for_a_download_can_be_stopped(void **state)
{
	struct place *p = *state;
	struct layer_visit v = enter(p->cache, 1), waiting;
	char bytes[BLOB];
	struct digest d = blob_digest(1, bytes);
	struct err e = {0};

	assert_int_equal(layer_cache_enter(p->cache, "default", &d, BLOB, always, NULL, &waiting, &e), ERR_CANCELLED);
	layer_cache_leave(&v);
}

/* Threads that want the same few blobs all the time, of which only three fit. */
struct storm {
	struct place *place;
	_Atomic int downloads, hits, over_limit;
};

static void *storm_thread(void *arg)
{
	struct storm *s = arg;
	unsigned seed = (unsigned)(uintptr_t)&seed;

	for (int i = 0; i < 300; i++) {
		unsigned n = (unsigned)rand_r(&seed) % 8;
		struct layer_visit v = enter(s->place->cache, n);
		char bytes[BLOB], back[BLOB];

		(void)blob_digest(n, bytes);
		if (v.fd >= 0) {
			if (read(v.fd, back, BLOB) == BLOB && memcmp(back, bytes, BLOB) == 0)
				atomic_fetch_add(&s->hits, 1);
		} else {
			layer_cache_write(&v, bytes, BLOB);
			if (bytes_on_disk(s->place) > 3 * BLOB)
				atomic_fetch_add(&s->over_limit, 1);
			layer_cache_keep(&v);
			atomic_fetch_add(&s->downloads, 1);
		}
		layer_cache_leave(&v);
	}
	return NULL;
}

static void the_limit_holds_while_many_threads_come_and_go(void **state)
{
	struct storm s = {.place = *state};
	pthread_t threads[8];
	struct layer_cache_stats stats;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, &s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	layer_cache_read_stats(s.place->cache, &stats);
	assert_int_equal(s.over_limit, 0);
	assert_int_equal(s.downloads + s.hits, 8 * 300);
	assert_true(stats.bytes <= 3 * BLOB);
	assert_int_equal(stats.bytes, bytes_on_disk(s.place));
	assert_int_equal(stats.bytes_pinned, 0);
}

struct waiter {
	struct layer_cache *cache;
	_Atomic bool was_hit;
};

static void *wait_for_one(void *arg)
{
	struct waiter *w = arg;

	atomic_store(&w->was_hit, is_cached(w->cache, 1));
	return NULL;
}

static void two_who_want_one_blob_download_it_once(void **state)
{
	struct place *p = *state;
	struct layer_visit v = enter(p->cache, 1);
	struct waiter w = {.cache = p->cache};
	char bytes[BLOB];
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, wait_for_one, &w), 0);
	usleep(50000);
	(void)blob_digest(1, bytes);
	layer_cache_write(&v, bytes, BLOB);
	layer_cache_keep(&v);
	layer_cache_leave(&v);
	pthread_join(thread, NULL);
	assert_true(w.was_hit);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    CASE(what_was_kept_is_read_back),
	    CASE(what_one_account_downloaded_is_not_there_for_another),
	    CASE(the_least_recently_used_goes_first),
	    CASE(a_pinned_blob_stays_and_what_cannot_fit_goes_past),
	    CASE(an_aborted_download_leaves_no_trace),
	    CASE(a_blob_of_another_length_is_not_kept),
	    CASE(a_damaged_blob_is_evicted_even_while_others_read_it),
	    CASE(another_worker_takes_over_what_is_whole_and_drops_the_rest),
	    CASE(waiting_for_a_download_can_be_stopped),
	    CASE(the_limit_holds_while_many_threads_come_and_go),
	    CASE(two_who_want_one_blob_download_it_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
