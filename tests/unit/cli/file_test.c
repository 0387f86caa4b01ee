#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/cli/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tests run in a directory of their own. */
static int enter_directory(void **state)
{
	char *path = strdup("/tmp/stowage-file-XXXXXX");

	*state = path;
	return mkdtemp(path) && chdir(path) == 0 ? 0 : -1;
}

static int leave_directory(void **state)
{
	DIR *dir = opendir(".");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlink(entry->d_name);
	if (dir)
		closedir(dir);
	if (chdir("/") != 0 || rmdir(*state) != 0)
		return -1;
	free(*state);
	return 0;
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void assert_content(const char *path, const char *text)
{
	SCRATCH_CTX(ctx);
	const char *is;
	size_t len;
	struct err e;

	assert_int_equal(file_read(ctx, path, 100, &is, &len, &e), ERR_OK);
	assert_string_equal(is, text);
}

static size_t count_files(void)
{
	DIR *dir = opendir(".");
	size_t count = 0;
	struct dirent *entry;

	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void a_file_is_replaced_only_when_all_went_well(void **state)
{
	SCRATCH_CTX(ctx);
	struct file_out out;
	struct err e;

	(void)state;
	write_text("file", "old");
	assert_int_equal(file_open_out(ctx, "file", &out, &e), ERR_OK);
	fputs("half", out.out);
	file_discard(&out);
	assert_content("file", "old");
	assert_int_equal(file_open_out(ctx, "file", &out, &e), ERR_OK);
	fputs("new", out.out);
	assert_content("file", "old");
	assert_int_equal(file_commit(&out, &e), ERR_OK);
	file_discard(&out);
	assert_content("file", "new");
	assert_int_equal(count_files(), 1);
}

static void no_path_and_a_dash_are_stdout(void **state)
{
	SCRATCH_CTX(ctx);
	struct file_out out;
	struct err e;

	(void)state;
	assert_int_equal(file_open_out(ctx, NULL, &out, &e), ERR_OK);
	assert_ptr_equal(out.out, stdout);
	assert_int_equal(file_open_out(ctx, "-", &out, &e), ERR_OK);
	assert_ptr_equal(out.out, stdout);
	assert_int_equal(file_commit(&out, &e), ERR_OK);
	file_discard(&out);
	assert_int_equal(count_files(), 0);
}

static void a_link_stays_one(void **state)
{
	SCRATCH_CTX(ctx);
	struct file_out out;
	struct stat st;
	struct err e;

	(void)state;
	write_text("file", "old");
	assert_int_equal(symlink("file", "link"), 0);
	assert_int_equal(file_open_out(ctx, "link", &out, &e), ERR_OK);
	fputs("new", out.out);
	assert_int_equal(file_commit(&out, &e), ERR_OK);
	assert_int_equal(lstat("link", &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_content("file", "new");
}

/* A device must never be replaced by a file. */
static void what_is_no_file_is_written_to_as_it_is(void **state)
{
	SCRATCH_CTX(ctx);
	struct file_out out;
	struct stat st;
	struct err e;
	char got[8] = "";
	int fd;

	(void)state;
	assert_int_equal(mkfifo("pipe", 0600), 0);
	fd = open("pipe", O_RDWR | O_NONBLOCK);
	assert_true(fd >= 0);
	assert_int_equal(file_open_out(ctx, "pipe", &out, &e), ERR_OK);
	fputs("new", out.out);
	assert_int_equal(file_commit(&out, &e), ERR_OK);
	assert_int_equal(read(fd, got, sizeof(got)), 3);
	assert_string_equal(got, "new");
	assert_int_equal(file_open_out(ctx, "pipe", &out, &e), ERR_OK);
	file_discard(&out);
	assert_int_equal(stat("pipe", &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(count_files(), 1);
	close(fd);
}

static void a_directory_is_refused(void **state)
{
	SCRATCH_CTX(ctx);
	struct file_out out;
	struct err e;

	(void)state;
	assert_int_not_equal(file_open_out(ctx, "/", &out, &e), ERR_OK);
	assert_int_equal(file_open_out(ctx, "no/such/place", &out, &e), ERR_NOT_FOUND);
	assert_non_null(strstr(e.text, "no/such/place"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_file_is_replaced_only_when_all_went_well, enter_directory,
	                                    leave_directory),
	    cmocka_unit_test_setup_teardown(no_path_and_a_dash_are_stdout, enter_directory, leave_directory),
	    cmocka_unit_test_setup_teardown(a_link_stays_one, enter_directory, leave_directory),
	    cmocka_unit_test_setup_teardown(what_is_no_file_is_written_to_as_it_is, enter_directory, leave_directory),
	    cmocka_unit_test_setup_teardown(a_directory_is_refused, enter_directory, leave_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
