/* What a crash of the machine would leave of files: every flush that the driver localfs asks for is seen here, and may
 * fail. What all drivers have in common is in driver_conformance_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/driver.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock; /* for what follows */
	char seen[4096];      /* a line for each flush: path below the store's directory */
	const char *fails;    /* a flush of a path that ends so is refused; NULL: none is */
} flushes = {.lock = PTHREAD_MUTEX_INITIALIZER};

static char directory[] = "/tmp/stowage-localfs-test-XXXXXX";

/* Called instead of libc's. */
int fsync(int fd)
{
	char link[64], path[512] = "", root[128];
	bool refused;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	assert_true(readlink(link, path, sizeof(path) - 1) > 0);
	snprintf(root, sizeof(root), "%s/data/object_store", directory);
	assert_memory_equal(path, root, strlen(root));
	pthread_mutex_lock(&flushes.lock);
	snprintf(flushes.seen + strlen(flushes.seen), sizeof(flushes.seen) - strlen(flushes.seen), "%s\n",
	         path[strlen(root)] ? path + strlen(root) + 1 : ".");
	refused = flushes.fails && strlen(path) > strlen(flushes.fails) &&
	          strcmp(path + strlen(path) - strlen(flushes.fails), flushes.fails) == 0;
	pthread_mutex_unlock(&flushes.lock);
	if (refused) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

static void forget_flushes(void)
{
	flushes.seen[0] = '\0';
}

static struct driver_conn *open_driver(TALLOC_CTX *ctx)
{
	static const struct config_option options[] = {
	    {.path = "config", .type = CONFIG_TREE},
	    CONFIG_END,
	};
	const char *path = talloc_asprintf(ctx, "%s/c.yaml", directory);
	const struct config_node *node = NULL;
	FILE *file = fopen(path, "w");
	struct driver_conn *c;
	struct err e;

	assert_non_null(file);
	assert_true(fprintf(file, "config: {archive_data_dir: \"%s/data\"}\n", directory) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(config_load(ctx, &path, 1, options, &node, &e), ERR_OK);
	assert_int_equal(
	    driver_localfs.open(ctx, &(struct driver_setup){.store = "object_store", .config = node}, &c, &e), ERR_OK);
	forget_flushes();
	return c;
}

/* The folder is what a test chooses. */
static struct location location_in(uint8_t first, uint8_t second, int64_t number)
{
	struct location at = {.number = number};

	memset(at.sha256.bytes, 0x5c, sizeof(at.sha256.bytes));
	at.sha256.bytes[0] = first;
	at.sha256.bytes[1] = second;
	return at;
}

static char *name_of(TALLOC_CTX *ctx, const struct location *at)
{
	struct digest_text hex = digest_hex(&at->sha256);

	return talloc_asprintf(ctx, "%.2s/%.2s/%s-%lld", hex.text, hex.text + 2, hex.text, (long long)at->number);
}

static enum err_code put(struct driver_conn *c, const struct location *at)
{
	struct err e;

	return driver_localfs.put(c, at, "bytes", 5, &e);
}

static void test_a_put_flushes_the_file_before_its_name_and_all_folders_that_lead_to_it(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c = open_driver(ctx);
	struct location at = location_in(0xab, 0xcd, 1);

	(void)state;
	assert_int_equal(put(c, &at), ERR_OK);
	assert_string_equal(flushes.seen, talloc_asprintf(ctx, "%s.part\nab/cd\nab\n.\n", name_of(ctx, &at)));
	driver_localfs.close(c);
}

static void test_folders_above_are_flushed_once(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c = open_driver(ctx);
	struct location first = location_in(0xab, 0xce, 2), second = location_in(0xab, 0xce, 3);

	(void)state;
	assert_int_equal(put(c, &first), ERR_OK);
	forget_flushes();
	assert_int_equal(put(c, &second), ERR_OK);
	assert_string_equal(flushes.seen, talloc_asprintf(ctx, "%s.part\nab/ce\n", name_of(ctx, &second)));
	driver_localfs.close(c);
}

static void test_a_folder_that_somebody_else_made_is_not_trusted(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c = open_driver(ctx);
	struct location at = location_in(0x01, 0x02, 4);

	(void)state;
	assert_int_equal(mkdir(talloc_asprintf(ctx, "%s/data/object_store/01", directory), 0750), 0);
	assert_int_equal(mkdir(talloc_asprintf(ctx, "%s/data/object_store/01/02", directory), 0750), 0);
	assert_int_equal(put(c, &at), ERR_OK);
	assert_string_equal(flushes.seen, talloc_asprintf(ctx, "%s.part\n01/02\n01\n.\n", name_of(ctx, &at)));
	driver_localfs.close(c);
}

static void test_a_folder_that_was_taken_away_is_made_and_flushed_anew(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c = open_driver(ctx);
	struct location first = location_in(0x03, 0x04, 5), second = location_in(0x03, 0x04, 6);
	struct err e;

	(void)state;
	assert_int_equal(put(c, &first), ERR_OK);
	assert_int_equal(driver_localfs.remove(c, &first, 1, &e), ERR_OK);
	assert_int_equal(rmdir(talloc_asprintf(ctx, "%s/data/object_store/03/04", directory)), 0);
	forget_flushes();
	assert_int_equal(put(c, &second), ERR_OK);
	assert_string_equal(flushes.seen, talloc_asprintf(ctx, "%s.part\n03/04\n03\n.\n", name_of(ctx, &second)));
	driver_localfs.close(c);
}

static void test_a_put_whose_folders_cannot_be_flushed_fails_and_is_not_trusted_later(void **state)
{
	static const char *const folders[] = {"/05/06", "/05", "/object_store"};
	SCRATCH_CTX(ctx);
	struct driver_conn *c = open_driver(ctx);
	struct location at = location_in(0x05, 0x06, 7);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		flushes.fails = folders[i];
		assert_int_not_equal(put(c, &at), ERR_OK);
	}
	flushes.fails = NULL;
	forget_flushes();
	assert_int_equal(put(c, &at), ERR_OK);
	assert_non_null(strstr(flushes.seen, "05/06\n05\n.\n"));
	driver_localfs.close(c);
}

static void test_a_removal_is_flushed(void **state)
{
	enum { COUNT = 250 }; /* several threads' */
	SCRATCH_CTX(ctx);
	struct driver_conn *c = open_driver(ctx);
	struct location at[COUNT];
	struct err e;

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		at[i] = location_in(0x10, (uint8_t)(i % 2), 100 + i);
		if (i % 3) /* the others never were */
			assert_int_equal(put(c, &at[i]), ERR_OK);
		forget_flushes();
	}
	assert_int_equal(driver_localfs.remove(c, at, COUNT, &e), ERR_OK);
	assert_non_null(strstr(flushes.seen, "10/00\n"));
	assert_non_null(strstr(flushes.seen, "10/01\n"));
	for (int i = 0; i < COUNT; i++)
		assert_int_not_equal(
		    access(talloc_asprintf(ctx, "%s/data/object_store/%s", directory, name_of(ctx, &at[i])), F_OK), 0);
	flushes.fails = "/10/01";
	assert_int_not_equal(driver_localfs.remove(c, at, COUNT, &e), ERR_OK);
	flushes.fails = NULL;
	driver_localfs.close(c);
}

static void test_a_removal_from_folders_that_never_were_is_success(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *c = open_driver(ctx);
	struct location at[] = {location_in(0x20, 0x21, 8), location_in(0x22, 0x23, 9)};
	struct err e;

	(void)state;
	assert_int_equal(driver_localfs.remove(c, at, ARRAY_SIZE(at), &e), ERR_OK);
	assert_int_equal(driver_localfs.remove(c, at, 0, &e), ERR_OK);
	driver_localfs.close(c);
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_put_flushes_the_file_before_its_name_and_all_folders_that_lead_to_it),
	    cmocka_unit_test(test_folders_above_are_flushed_once),
	    cmocka_unit_test(test_a_folder_that_somebody_else_made_is_not_trusted),
	    cmocka_unit_test(test_a_folder_that_was_taken_away_is_made_and_flushed_anew),
	    cmocka_unit_test(test_a_put_whose_folders_cannot_be_flushed_fails_and_is_not_trusted_later),
	    cmocka_unit_test(test_a_removal_is_flushed),
	    cmocka_unit_test(test_a_removal_from_folders_that_never_were_is_success),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
