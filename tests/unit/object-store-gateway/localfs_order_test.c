/*
 * The driver localfs, with the calls that it makes to the system in view and in hand: what is flushed before what, and
 * what is left when one of them fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/driver.h"

#include <dlfcn.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN 10000

static char directory[64];
static char seen[4096];     /* calls, a line each, below directory/object_store */
static const char *failing; /* the call that fails the next time, with that errno */
static int failing_errno;
static bool in_pieces; /* write takes a little at a time, and is interrupted in between */

static void note(const char *what, const char *name)
{
	size_t used = strlen(seen);

	snprintf(seen + used, sizeof(seen) - used, "%s %s\n", what, name);
}

static bool fails(const char *what)
{
	if (!failing || strcmp(failing, what) != 0)
		return false;
	failing = NULL;
	errno = failing_errno;
	return true;
}

/* Of what is below the store; NULL for anything else, such as the test's own output. */
static const char *name_of_fd(int fd, char *into, size_t size)
{
	char link[64], store[80];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, into, size - 1);
	if (len < 0)
		return NULL;
	into[len] = '\0';
	snprintf(store, sizeof(store), "%s/object_store", directory);
	if (!directory[0] || strncmp(into, store, strlen(store)) != 0)
		return NULL;
	return into[strlen(store)] ? into + strlen(store) + 1 : ".";
}

int fsync(int fd)
{
	int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	char link[4096];
	const char *name = name_of_fd(fd, link, sizeof(link));

	if (!name)
		return real(fd);
	note("fsync", name);
	return fails("fsync") ? -1 : real(fd);
}

int mkdirat(int fd, const char *name, mode_t mode)
{
	int (*real)(int, const char *, mode_t) = (int (*)(int, const char *, mode_t))dlsym(RTLD_NEXT, "mkdirat");
	int result = real(fd, name, mode);

	if (result == 0)
		note("mkdir", name);
	return result;
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	int (*real)(int, const char *, int, const char *) =
	    (int (*)(int, const char *, int, const char *))dlsym(RTLD_NEXT, "renameat");

	note("rename", from);
	return fails("rename") ? -1 : real(from_fd, from, to_fd, to);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	ssize_t (*real)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	static bool interrupted;
	char link[4096];

	if (!name_of_fd(fd, link, sizeof(link)))
		return real(fd, bytes, len);
	if (fails("write"))
		return -1;
	if (!in_pieces)
		return real(fd, bytes, len);
	interrupted = !interrupted;
	errno = EINTR;
	return interrupted ? -1 : real(fd, bytes, MIN(len, (size_t)999));
}

static struct driver_conn *open_it(TALLOC_CTX *ctx, struct err *e)
{
	const struct config_node *config;
	struct driver_conn *c = NULL;
	char text[128];

	snprintf(text, sizeof(text), "{\"archive_data_dir\": \"%s\"}", directory);
	assert_int_equal(config_from_text(ctx, "test", text, &config, e), ERR_OK);
	(void)!driver_localfs.open(ctx, &(struct driver_setup){.store = "object_store", .config = config}, &c, e);
	return c;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int make_directory(void **state)
{
	char made[] = "/tmp/stowage-localfs-XXXXXX";

	(void)state;
	if (!mkdtemp(made))
		return -1;
	memcpy(directory, made, sizeof(made));
	return 0;
}

static int remove_directory(void **state)
{
	char made[sizeof(directory)];

	(void)state;
	memcpy(made, directory, sizeof(made));
	directory[0] = '\0';
	return nftw(made, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static unsigned files;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)path;
	(void)st;
	(void)ftw;
	files += kind == FTW_F;
	return 0;
}

static unsigned files_there(void)
{
	files = 0;
	assert_int_equal(nftw(directory, count_one, 16, FTW_PHYS), 0);
	return files;
}

static struct location location_of(const char *bytes, int64_t number)
{
	return (struct location){.sha256 = digest_of(bytes, LEN), .number = number};
}

static char *content(TALLOC_CTX *ctx, char first)
{
	char *bytes = talloc_zero_size(ctx, LEN);

	memset(bytes, first, LEN);
	return bytes;
}

static void expect_seen(TALLOC_CTX *ctx, const struct location *at, const char *const *lines, size_t count)
{
	struct digest_text hex = digest_hex(&at->sha256);
	char *expected = talloc_strdup(ctx, "");

	/* A = ab, B = ab/cd, F = the file's temporary name */
	for (size_t i = 0; i < count; i++) {
		size_t verb = strlen(lines[i]) - 1;
		char what = lines[i][verb];

		expected = talloc_asprintf_append(expected, "%.*s", (int)verb, lines[i]);
		if (what == 'A')
			expected = talloc_asprintf_append(expected, "%.2s\n", hex.text);
		else if (what == 'B')
			expected = talloc_asprintf_append(expected, "%.2s/%.2s\n", hex.text, hex.text + 2);
		else if (what == 'F')
			expected = talloc_asprintf_append(expected, "%.2s/%.2s/%s-%d.part\n", hex.text, hex.text + 2,
			                                  hex.text, (int)at->number);
		else
			expected = talloc_asprintf_append(expected, ".\n");
	}
	assert_string_equal(seen, expected);
}

static void a_put_is_flushed_renamed_and_flushed_again_up_to_the_top(void **state)
{
	static const char *const first[] = {"mkdir A", "mkdir B", "fsync F", "rename F",
	                                    "fsync B", "fsync A", "fsync ."};
	static const char *const second[] = {"fsync F", "rename F", "fsync B"};
	/* Who made what leads to it may not have flushed that yet. */
	static const char *const neighbour[] = {"mkdir B", "fsync F", "rename F", "fsync B", "fsync A", "fsync ."};
	SCRATCH_CTX(ctx);
	struct err e;
	struct driver_conn *c = open_it(ctx, &e);
	char *bytes = content(ctx, 'x');
	struct location at = location_of(bytes, 1), again = location_of(bytes, 2), beside = at;

	(void)state;
	assert_non_null(c);
	seen[0] = '\0';
	assert_int_equal(driver_localfs.put(c, &at, bytes, LEN, &e), ERR_OK);
	expect_seen(ctx, &at, first, ARRAY_SIZE(first));
	seen[0] = '\0';
	assert_int_equal(driver_localfs.put(c, &again, bytes, LEN, &e), ERR_OK);
	expect_seen(ctx, &again, second, ARRAY_SIZE(second));
	beside.sha256.bytes[1] ^= 1;
	seen[0] = '\0';
	assert_int_equal(driver_localfs.put(c, &beside, bytes, LEN, &e), ERR_OK);
	expect_seen(ctx, &beside, neighbour, ARRAY_SIZE(neighbour));
	driver_localfs.close(c);
}

static void what_is_written_in_pieces_is_whole(void **state)
{
	SCRATCH_CTX(ctx);
	struct err e;
	struct driver_conn *c = open_it(ctx, &e);
	char *bytes = content(ctx, 'p'), *back = talloc_zero_size(ctx, LEN);
	struct location at = location_of(bytes, 1);
	size_t got = 0;

	(void)state;
	in_pieces = true;
	assert_int_equal(driver_localfs.put(c, &at, bytes, LEN, &e), ERR_OK);
	in_pieces = false;
	assert_int_equal(driver_localfs.get(c, &at, back, LEN, &got, &e), ERR_OK);
	assert_int_equal(got, LEN);
	assert_memory_equal(back, bytes, LEN);
	driver_localfs.close(c);
}

static void a_put_that_fails_leaves_nothing(void **state)
{
	static const struct {
		const char *call;
		int sys;
		enum err_code code;
	} cases[] = {
	    {"write", ENOSPC, ERR_EXHAUSTED}, {"write", EDQUOT, ERR_EXHAUSTED},  {"fsync", ENOSPC, ERR_EXHAUSTED},
	    {"fsync", EDQUOT, ERR_EXHAUSTED}, {"rename", ENOSPC, ERR_EXHAUSTED}, {"rename", EROFS, ERR_UNAVAILABLE},
	};
	SCRATCH_CTX(ctx);
	struct err e;
	struct driver_conn *c = open_it(ctx, &e);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *bytes = content(ctx, (char)('a' + i)), back[1];
		struct location at = location_of(bytes, (int64_t)i + 1);
		size_t got;

		failing = cases[i].call;
		failing_errno = cases[i].sys;
		assert_int_equal(driver_localfs.put(c, &at, bytes, LEN, &e), cases[i].code);
		assert_int_equal(e.code, cases[i].code);
		assert_null(failing);
		assert_int_equal(files_there(), 0);
		assert_int_equal(driver_localfs.get(c, &at, back, 1, &got, &e), ERR_NOT_FOUND);
		assert_int_equal(driver_localfs.put(c, &at, bytes, LEN, &e), ERR_OK);
		assert_int_equal(driver_localfs.remove(c, &at, 1, &e), ERR_OK);
	}
	driver_localfs.close(c);
}

static void the_start_tries_the_directory_out(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c;
	struct err e;

	(void)state;
	seen[0] = '\0';
	c = open_it(ctx, &e);
	assert_non_null(c);
	assert_non_null(strstr(seen, "rename "));
	assert_int_equal(files_there(), 0);
	driver_localfs.close(c);
	/* What is on a full disk can be read all the same. */
	failing = "write";
	failing_errno = ENOSPC;
	c = open_it(ctx, &e);
	assert_non_null(c);
	driver_localfs.close(c);
	failing = "fsync";
	failing_errno = EIO;
	assert_null(open_it(ctx, &e));
	assert_non_null(strstr(e.text, "cannot flush"));
	failing = "rename";
	failing_errno = EACCES;
	assert_null(open_it(ctx, &e));
	assert_int_equal(e.code, ERR_FORBIDDEN);
	assert_int_equal(files_there(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_put_is_flushed_renamed_and_flushed_again_up_to_the_top, make_directory,
	                                    remove_directory),
	    cmocka_unit_test_setup_teardown(what_is_written_in_pieces_is_whole, make_directory, remove_directory),
	    cmocka_unit_test_setup_teardown(a_put_that_fails_leaves_nothing, make_directory, remove_directory),
	    cmocka_unit_test_setup_teardown(the_start_tries_the_directory_out, make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
