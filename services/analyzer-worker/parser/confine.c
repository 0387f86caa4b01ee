#include "services/analyzer-worker/parser/confine.h"

#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static enum err_code limit(int resource, uint64_t most, const char *name, struct err *e)
{
	struct rlimit now, wanted = {.rlim_cur = most, .rlim_max = most};

	if (getrlimit(resource, &now) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "reading the limit of %s", name);
	wanted.rlim_max = MIN(wanted.rlim_max, now.rlim_max);
	wanted.rlim_cur = MIN(wanted.rlim_cur, wanted.rlim_max);
	if (setrlimit(resource, &wanted) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "limiting %s", name);
	return ERR_OK;
}

enum err_code confine_begin(const struct confine_limits *limits, int highest_fd, struct err *e)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "giving up privileges");
	if (close_range((unsigned)highest_fd + 1, ~0u, 0) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "closing descriptors");
	/* A second arena would reserve 128 MiB of address space for nothing. */
	mallopt(M_ARENA_MAX, 1);
	TRY(limit(RLIMIT_CORE, 0, "core dumps", e));
	TRY(limit(RLIMIT_CPU, limits->cpu_seconds, "processor time", e));
	TRY(limit(RLIMIT_FSIZE, limits->file_bytes, "file size", e));
	TRY(limit(RLIMIT_NOFILE, (uint64_t)highest_fd + 8, "descriptors", e));
	if (SANITIZED)
		return ERR_OK;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "closing the process to debuggers");
	return limit(RLIMIT_AS, limits->memory, "memory", e);
}

static const int allowed[] = {
    /* the pipes and files that are open */
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(close),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat), /* glibc's fstat, with an empty path; names lead nowhere without open */
    /* memory */
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    /* the two threads waiting for each other, and their ends */
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* time, random keys, and dying with a message */
    SCMP_SYS(clock_gettime),
    SCMP_SYS(getrandom),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(tgkill),
};

static enum err_code load(scmp_filter_ctx filter, struct err *e)
{
	int status = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	for (size_t i = 0; i < ARRAY_SIZE(allowed) && status == 0; i++)
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (status == 0)
		status = seccomp_load(filter);
	if (status != 0) {
		errno = -status;
		return ERR_SYS(e, ERR_INTERNAL, "loading the list of system calls");
	}
	return ERR_OK;
}

enum err_code confine_seal(struct err *e)
{
	scmp_filter_ctx filter;
	enum err_code code;

	if (SANITIZED)
		return ERR_OK;
	filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return ERR(e, ERR_INTERNAL, "no list of system calls can be made");
	code = load(filter, e);
	seccomp_release(filter);
	return code;
}
