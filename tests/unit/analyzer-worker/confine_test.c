#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/analyzer-worker/parser/confine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void confine_here(bool seal)
{
	const struct confine_limits limits = {.memory = GIB, .cpu_seconds = 10, .file_bytes = MIB};
	struct err e = {.text = ""};

	if (confine_begin(&limits, 8, &e) != ERR_OK || (seal && confine_seal(&e) != ERR_OK)) {
		fprintf(stderr, "%s\n", e.text);
		_exit(99);
	}
}

/* How a confined process ends that does this: it exits with what act returns. */
static int ending_of(bool seal, int (*act)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		confine_here(seal);
		_exit(act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int count_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct held[_LINUX_CAPABILITY_U32S_3];
	int count = 0;

	if (syscall(SYS_capget, &header, held) != 0)
		return 98;
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		count += __builtin_popcount(held[i].effective | held[i].permitted | held[i].inheritable);
	return count;
}

/* Only who was root can give up what a program that is executed might be given back. */
static int count_bounds(void)
{
	int count = 0;

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		count += prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0;
	return getuid() == 0 ? count : 0;
}

static int is_without_privileges(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1;
}

static void a_confined_process_has_no_privileges(void **state)
{
	(void)state;
	if (getuid() == 0)
		assert_int_not_equal(count_capabilities(), 0);
	assert_int_equal(ending_of(false, count_capabilities), 0);
	assert_int_equal(ending_of(false, count_bounds), 0);
	assert_int_equal(ending_of(false, is_without_privileges), 0);
}

static int read_password_file(void)
{
	return open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES ? 0 : 1;
}

static int write_below_tmp(void)
{
	return open("/tmp", O_TMPFILE | O_WRONLY, 0600) < 0 && errno == EACCES ? 0 : 1;
}

static int list_root(void)
{
	return open("/", O_RDONLY | O_DIRECTORY) < 0 && errno == EACCES ? 0 : 1;
}

static void landlock_closes_the_file_system_before_the_seal_does(void **state)
{
	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1U) < 1)
		return; /* a kernel without it */
	assert_int_equal(ending_of(false, read_password_file), 0);
	assert_int_equal(ending_of(false, write_below_tmp), 0);
	assert_int_equal(ending_of(false, list_root), 0);
}

static int do_open(void)
{
	return open("/dev/null", O_RDONLY) >= 0;
}

static int do_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static int do_fork(void)
{
	return fork() >= 0;
}

static int do_execute(void)
{
	char name[] = "/bin/true", *argv[] = {name, NULL};

	return execv(name, argv);
}

static int do_signal_parent(void)
{
	return kill(getppid(), 0);
}

static int do_remove(void)
{
	return unlink("/nonexistent");
}

static int do_trace(void)
{
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void a_sealed_process_dies_of_what_it_has_no_use_for(void **state)
{
	static const struct {
		const char *name;
		int (*act)(void);
	} cases[] = {
	    {"open", do_open},   {"socket", do_socket},        {"fork", do_fork},     {"execute", do_execute},
	    {"trace", do_trace}, {"signal", do_signal_parent}, {"unlink", do_remove},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = ending_of(true, cases[i].act);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: status %x", cases[i].name, (unsigned)status);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_confined_process_has_no_privileges),
	};
	/* Sanitizers cannot run under these: tests/run/test has a build without them, and asks it for them. */
	const struct CMUnitTest sealed[] = {
	    cmocka_unit_test(landlock_closes_the_file_system_before_the_seal_does),
	    cmocka_unit_test(a_sealed_process_dies_of_what_it_has_no_use_for),
	};
	int failed;

	if (argc == 2 && strcmp(argv[1], "--sealed") == 0 && !confine_seals()) {
		fprintf(stderr, "this build does not seal\n");
		return 1;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return failed + (confine_seals() ? cmocka_run_group_tests(sealed, NULL, NULL) : 0);
}
