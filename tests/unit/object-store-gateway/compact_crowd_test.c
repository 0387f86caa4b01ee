/*
 * While two replicas empty and drop tables all the time, others read, write and remove: nobody misses anything, and
 * nobody waits long.
 */
#include "tests/unit/object-store-gateway/compact_support.h"

#include <pthread.h>
#include <stdatomic.h>

#define BASE 40 /* chunks that everybody reads all the time */
#define BASE_LEN 400000
#define OWN_LEN 300000
#define OWN 12 /* that each writer has at a time */
#define CROWD_MS 6000

struct crowd {
	struct fixture *f;
	atomic_bool over;
	atomic_int reads, writes, dropped;
	atomic_long slowest_read_us, slowest_write_us;
	pthread_mutex_t mutex;
	char wrong[600];
};

struct member {
	struct crowd *crowd;
	struct driver_conn *conn;
	int64_t number, kept;
};

static void note(struct crowd *w, const char *what, int64_t number, const struct err *e)
{
	pthread_mutex_lock(&w->mutex);
	if (!w->wrong[0])
		snprintf(w->wrong, sizeof(w->wrong), "%s %lld: %s", what, (long long)number, e->text);
	pthread_mutex_unlock(&w->mutex);
}

static void keep_slowest(atomic_long *slowest, int64_t us)
{
	long seen = atomic_load(slowest);

	while (us > seen && !atomic_compare_exchange_weak(slowest, &seen, (long)us))
		;
}

static void *read_all_the_time(void *arg)
{
	struct member *m = arg;
	struct crowd *w = m->crowd;

	for (int64_t n = m->number; !atomic_load(&w->over); n++) {
		int64_t began = clock_monotonic_us();
		struct err e = {0};

		if (get_at(m->conn, 1 + n % BASE, BASE_LEN, &e) != ERR_OK)
			note(w, "reading", 1 + n % BASE, &e);
		keep_slowest(&w->slowest_read_us, clock_monotonic_us() - began);
		atomic_fetch_add(&w->reads, 1);
	}
	return NULL;
}

/* Puts chunks, and removes the oldest of its own: at the end exactly the youngest are there. */
static void *write_and_remove(void *arg)
{
	struct member *m = arg;
	struct crowd *w = m->crowd;
	int64_t first = m->number * 1000000;

	for (; !atomic_load(&w->over); m->kept++) {
		int64_t began = clock_monotonic_us(), oldest = first + m->kept - OWN;
		struct err e = {0};

		if (put_at(m->conn, first + m->kept, OWN_LEN, &e) != ERR_OK)
			note(w, "putting", first + m->kept, &e);
		keep_slowest(&w->slowest_write_us, clock_monotonic_us() - began);
		if (oldest >= first && remove_at(m->conn, oldest, &e) != ERR_OK)
			note(w, "removing", oldest, &e);
		if (oldest >= first && get_at(m->conn, oldest, OWN_LEN, &e) != ERR_NOT_FOUND)
			note(w, "is there after it was removed:", oldest, &e);
		atomic_fetch_add(&w->writes, 1);
	}
	return NULL;
}

static void *compact_all_the_time(void *arg)
{
	struct member *m = arg;
	struct crowd *w = m->crowd;

	while (!atomic_load(&w->over)) {
		struct compact_order order = {.percent = 95, .until_ms = clock_monotonic_ms() + 300};
		struct compaction done;
		struct err e = {0};

		order.before_ms = database_ms(w->f);

		if (driver_db.compact(m->conn, &order, &done, &e) != ERR_OK)
			note(w, "compacting", 0, &e);
		atomic_fetch_add(&w->dropped, (int)done.dropped);
	}
	return NULL;
}

/* Everything that should be there is, and nothing else. */
static void check_crowd(struct fixture *f, struct member *members, size_t count)
{
	struct driver_conn *c = members[0].conn;
	int64_t wanted = BASE * 2, number;
	struct err e = {0};

	for (int64_t n = 1; n <= BASE; n++)
		fixture_must(get_at(c, n, BASE_LEN, &e), &e);
	for (size_t i = 0; i < count; i++) {
		if (!members[i].kept)
			continue;
		for (int64_t n = MAX(members[i].kept - OWN, (int64_t)0); n < members[i].kept; n++) {
			number = members[i].number * 1000000 + n;
			fixture_must(get_at(c, number, OWN_LEN, &e), &e);
			wanted += 2;
		}
	}
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk_data"), wanted);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM (SELECT 1 FROM objects.chunk_data GROUP BY chunk, seq"
	                                   " HAVING count(*) > 1) AS twice"),
	                 0);
}

/* Readers see every chunk once and whole, wherever it is moved; removals miss nothing; nobody waits long. */
static void test_readers_writers_and_removers_go_on_meanwhile(void **state)
{
	static void *(*const bodies[])(void *) = {read_all_the_time, read_all_the_time,    write_and_remove,
	                                          write_and_remove,  compact_all_the_time, compact_all_the_time};
	struct fixture *f = fixture_or_skip();
	struct driver_conn *replicas[2] = {open_replica(f, "segment_mbytes: 4"), open_replica(f, "segment_mbytes: 4")};
	struct crowd w = {.f = f, .mutex = PTHREAD_MUTEX_INITIALIZER};
	struct member members[ARRAY_SIZE(bodies)];
	pthread_t threads[ARRAY_SIZE(bodies)];

	(void)state;
	fill(replicas[0], 1, BASE + 1, BASE_LEN);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		members[i] = (struct member){.crowd = &w, .conn = replicas[i % 2], .number = (int64_t)i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], &members[i]), 0);
	}
	usleep(CROWD_MS * 1000);
	atomic_store(&w.over, true);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
		pthread_join(threads[i], NULL);
	print_message("  %d reads, the slowest %ld ms; %d writes, the slowest %ld ms; %d tables dropped\n",
	              atomic_load(&w.reads), atomic_load(&w.slowest_read_us) / 1000, atomic_load(&w.writes),
	              atomic_load(&w.slowest_write_us) / 1000, atomic_load(&w.dropped));
	if (w.wrong[0])
		fail_msg("%s", w.wrong);
	check_crowd(f, members, ARRAY_SIZE(bodies));
	assert_true(atomic_load(&w.dropped) > 0);
	assert_true(atomic_load(&w.slowest_read_us) < 3000000);
	assert_true(atomic_load(&w.slowest_write_us) < 5000000);
	driver_db.close(replicas[0]);
	driver_db.close(replicas[1]);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_readers_writers_and_removers_go_on_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
