#include "services/analyzer-worker/parser/confine.h"

#include <linux/capability.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
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

/* A worker that root started would pass on what root may do. The bounding set first: shrinking it is a privilege. */
static enum err_code drop_capabilities(struct err *e)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0 && errno != EPERM)
			return ERR_SYS(e, ERR_INTERNAL, "giving up capability %lu for ever", cap);
	/* Kernels before 4.3 know no ambient set. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
		return ERR_SYS(e, ERR_INTERNAL, "giving up ambient capabilities");
	if (syscall(SYS_capset, &header, none) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "giving up capabilities");
	return ERR_OK;
}

/* As linux/landlock.h has them; older headers lack the newer part. Fields that a kernel does not know must be 0. */
struct landlock_attributes {
	uint64_t files, network, scoped;
};

#define LANDLOCK_ABI_FLAG 1U

/* All that the kernel's version of Landlock can refuse, and no rule that would allow any of it again. */
static struct landlock_attributes landlock_everything(long abi)
{
	static const unsigned file_rights[] = {13, 14, 15, 15, 16}; /* of version 1, 2, ...: so many bits */
	size_t known = MIN((size_t)abi, ARRAY_SIZE(file_rights));

	return (struct landlock_attributes){
	    .files = ((uint64_t)1 << file_rights[known - 1]) - 1,
	    .network = abi >= 4 ? 3 : 0, /* binding and connecting TCP */
	    .scoped = abi >= 6 ? 3 : 0,  /* other processes' abstract sockets, and signals to them */
	};
}

/* The list of system calls has no open either: this is the second lock on the same door. */
static enum err_code close_files(struct err *e)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_ABI_FLAG), ruleset;
	struct landlock_attributes attributes;
	enum err_code code = ERR_OK;

	if (abi < 1)
		return ERR_OK; /* this kernel has none, or it is switched off */
	attributes = landlock_everything(abi);
	ruleset = syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);
	if (ruleset < 0)
		return ERR_SYS(e, ERR_INTERNAL, "closing the file system");
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		code = ERR_SYS(e, ERR_INTERNAL, "closing the file system");
	close((int)ruleset);
	return code;
}

enum err_code confine_begin(const struct confine_limits *limits, int highest_fd, struct err *e)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "giving up privileges");
	TRY(drop_capabilities(e));
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "tying the process to the worker");
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
	TRY(close_files(e));
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

bool confine_seals(void)
{
	return !SANITIZED;
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
