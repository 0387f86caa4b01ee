#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/path.h"
#include "services/analyzer-worker/scratch.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct place {
	char dir[64];
};

static int set_up(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->dir, sizeof(p->dir), "/tmp/scratch-test-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct place *p = *state;
	struct err e;

	assert_int_equal(path_remove_tree(AT_FDCWD, p->dir, &e), ERR_OK);
	free(p);
	return 0;
}

static enum err_code open_it(const struct place *p, uint64_t max, uint64_t reserve, struct scratch **out, struct err *e)
{
	return scratch_open(NULL, &(struct scratch_options){p->dir, max, reserve, "worker-a"}, out, e);
}

static size_t entries_in(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	for (const struct dirent *entry; (entry = readdir(d));)
		n += entry->d_name[0] != '.';
	closedir(d);
	return n;
}

static void a_second_worker_is_refused_and_told_who_has_it(void **state)
{
	const struct place *p = *state;
	struct scratch *first;
	struct err e = {0};
	pid_t child;
	int status;

	assert_int_equal(open_it(p, GIB, 0, &first, &e), ERR_OK);
	child = fork();
	if (child == 0) {
		struct scratch *second;

		_exit(open_it(p, GIB, 0, &second, &e) == ERR_CONFLICT && strstr(e.text, "worker-a") &&
		              strstr(e.text, p->dir)
		          ? 0
		          : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	talloc_free(first);
}

static void what_a_killed_worker_left_is_swept_by_the_next(void **state)
{
	const struct place *p = *state;
	struct scratch *s;
	struct err e = {0};
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct scratch *mine;
		struct scratch_job *job;
		char *path;

		if (open_it(p, GIB, 0, &mine, &e) != ERR_OK || scratch_job_new(NULL, mine, 7, 1, &job, &e) != ERR_OK)
			_exit(1);
		path = talloc_asprintf(NULL, "%s/7-1/left", p->dir);
		close(open(path, O_CREAT | O_WRONLY, 0600));
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(entries_in(p->dir), 1);
	assert_int_equal(open_it(p, GIB, 0, &s, &e), ERR_OK);
	assert_int_equal(entries_in(p->dir), 0);
	talloc_free(s);
}

static void a_job_leaves_nothing_behind(void **state)
{
	const struct place *p = *state;
	struct scratch *s;
	struct scratch_job *job;
	struct err e = {0};
	int kept, closed;

	assert_int_equal(open_it(p, GIB, 0, &s, &e), ERR_OK);
	assert_int_equal(scratch_job_new(NULL, s, 1, 1, &job, &e), ERR_OK);
	assert_int_equal(scratch_file(job, &kept, &e), ERR_OK);
	assert_int_equal(scratch_file(job, &closed, &e), ERR_OK);
	scratch_file_close(job, closed);
	assert_int_equal(entries_in(p->dir), 1);
	talloc_free(job);
	assert_int_equal(entries_in(p->dir), 0);
	assert_int_equal(fcntl(kept, F_GETFD), -1);
	talloc_free(s);
}

static void the_limit_counts_what_all_jobs_wrote(void **state)
{
	const struct place *p = *state;
	static char block[64 * 1024];
	struct scratch *s;
	struct scratch_job *a, *b;
	struct err e = {0};
	int fd_a, fd_b, another;

	memset(block, 'x', sizeof(block));
	assert_int_equal(open_it(p, 100 * KIB, 0, &s, &e), ERR_OK);
	assert_int_equal(scratch_job_new(NULL, s, 1, 1, &a, &e), ERR_OK);
	assert_int_equal(scratch_job_new(NULL, s, 2, 1, &b, &e), ERR_OK);
	assert_int_equal(scratch_file(a, &fd_a, &e), ERR_OK);
	assert_int_equal(scratch_file(b, &fd_b, &e), ERR_OK);
	assert_int_equal(write(fd_a, block, sizeof(block)), sizeof(block));
	assert_int_equal(scratch_check(s, &e), ERR_OK);
	assert_int_equal(write(fd_b, block, sizeof(block)), sizeof(block));
	assert_int_equal(scratch_check(s, &e), ERR_EXHAUSTED);
	assert_non_null(strstr(e.text, "scratch_max_gigabytes"));
	assert_int_equal(scratch_file(a, &another, &e), ERR_EXHAUSTED);
	talloc_free(b);
	assert_int_equal(scratch_check(s, &e), ERR_OK);
	talloc_free(a);
	talloc_free(s);
}

static void the_reserve_of_the_file_system_is_left_alone(void **state)
{
	const struct place *p = *state;
	struct scratch *s;
	struct err e = {0};

	assert_int_equal(open_it(p, GIB, UINT64_MAX / 2, &s, &e), ERR_OK);
	assert_int_equal(scratch_check(s, &e), ERR_EXHAUSTED);
	assert_non_null(strstr(e.text, "have to stay free"));
	talloc_free(s);
}

static void sweeping_does_not_follow_links_out(void **state)
{
	const struct place *p = *state;
	char outside[] = "/tmp/scratch-outside-XXXXXX";
	char *link = talloc_asprintf(NULL, "%s/link", p->dir), *file;
	struct scratch *s;
	struct err e = {0};

	assert_non_null(mkdtemp(outside));
	file = talloc_asprintf(link, "%s/precious", outside);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(symlink(outside, link), 0);
	assert_int_equal(open_it(p, GIB, 0, &s, &e), ERR_OK);
	assert_int_equal(access(file, F_OK), 0);
	assert_int_equal(entries_in(p->dir), 0);
	talloc_free(s);
	talloc_free(link);
	assert_int_equal(path_remove_tree(AT_FDCWD, outside, &e), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_second_worker_is_refused_and_told_who_has_it, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_a_killed_worker_left_is_swept_by_the_next, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_job_leaves_nothing_behind, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_limit_counts_what_all_jobs_wrote, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(the_reserve_of_the_file_system_is_left_alone, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(sweeping_does_not_follow_links_out, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
