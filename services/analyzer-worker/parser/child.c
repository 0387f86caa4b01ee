#include "services/analyzer-worker/parser/child.h"
#include "services/analyzer-worker/parser/report.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FDS 5 /* 0 and 3 to 6 */
#define PIPE_SIZE (1024 * 1024)
#define SAFE_FD 16 /* above every number that the child's descriptors get */

const struct layer_limits layer_limits_default = {
    .entries = 10 * 1000 * 1000,
    .unpacked = 100 * GIB,
    .ratio = 200,
    .ratio_free = 64 * MIB,
    .links = 1000 * 1000,
    .packages = 250 * 1000,
    .document = 8 * GIB,
    .memory = 512 * MIB,
    .cpu_seconds = 3600,
};

struct pipes {
	int blob[2], report[2]; /* read end, write end */
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void pipes_close(struct pipes *p)
{
	for (int i = 0; i < 2; i++) {
		close_fd(&p->blob[i]);
		close_fd(&p->report[i]);
	}
}

static enum err_code pipes_open(struct pipes *p, bool nonblocking, struct err *e)
{
	if (pipe2(p->blob, O_CLOEXEC) != 0 || pipe2(p->report, O_CLOEXEC) != 0)
		return ERR_SYS(e, ERR_EXHAUSTED, "pipes for a layer");
	/* Larger is faster; where it is not allowed, smaller works. */
	(void)fcntl(p->blob[1], F_SETPIPE_SZ, PIPE_SIZE);
	if (nonblocking && fcntl(p->blob[1], F_SETFL, O_NONBLOCK) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "pipe for a layer");
	return ERR_OK;
}

/* The descriptor numbers of the child and what becomes them. A source may have the number of another's target, so all
 * are moved out of the way first. */
static int plan_fds(posix_spawn_file_actions_t *actions, const int source[CHILD_FDS])
{
	static const int target[CHILD_FDS] = {0, 3, 4, 5, 6};
	int status = 0;

	for (int i = 0; i < CHILD_FDS && status == 0; i++)
		status = posix_spawn_file_actions_adddup2(actions, source[i], SAFE_FD + i);
	for (int i = 0; i < CHILD_FDS && status == 0; i++)
		status = posix_spawn_file_actions_adddup2(actions, SAFE_FD + i, target[i]);
	for (int i = 0; i < CHILD_FDS && status == 0; i++)
		status = posix_spawn_file_actions_addclose(actions, SAFE_FD + i);
	if (status == 0)
		status = posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
	return status;
}

/* Sources above the range that plan_fds uses, so that nothing is overwritten before it was moved. */
static enum err_code lift(const int source[CHILD_FDS], int lifted[CHILD_FDS], struct err *e)
{
	for (int i = 0; i < CHILD_FDS; i++)
		lifted[i] = -1;
	for (int i = 0; i < CHILD_FDS; i++) {
		lifted[i] = fcntl(source[i], F_DUPFD_CLOEXEC, SAFE_FD + CHILD_FDS);
		if (lifted[i] < 0)
			return ERR_SYS(e, ERR_EXHAUSTED, "descriptors for a layer");
	}
	return ERR_OK;
}

static enum err_code spawn(const struct layer_child_setup *setup, const int source[CHILD_FDS], pid_t *pid,
                           struct err *e)
{
	SCRATCH_CTX(ctx);
	struct report_parameters parameters = {
	    .limits = setup->limits ? *setup->limits : layer_limits_default,
	    .codec = setup->codec,
	    .any_codec = setup->any_codec,
	    .may_repeat = setup->may_repeat && !setup->again,
	    .wants_at = setup->again ? setup->again->wants_at : 0,
	    .wants_len = setup->again ? setup->again->wants_len : 0,
	};
	char name[] = "analyzer-worker", option[] = "--parse-layer";
	char *argv[] = {name, option, report_print_parameters(ctx, &parameters), NULL};
	char *environment[] = {NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int status;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	status = plan_fds(&actions, source);
	if (status == 0)
		status = posix_spawn(pid, setup->program ? setup->program : "/proc/self/exe", &actions, &attributes,
		                     argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	errno = status;
	return status == 0 ? ERR_OK : ERR_SYS(e, ERR_EXHAUSTED, "starting a process for a layer");
}

static enum err_code spawn_lifted(const struct layer_child_setup *setup, const struct pipes *pipes, pid_t *pid,
                                  struct err *e)
{
	const int source[CHILD_FDS] = {pipes->blob[0], setup->files_fd, setup->summary_fd, setup->spill_fd,
	                               pipes->report[1]};
	int lifted[CHILD_FDS];
	enum err_code code = lift(source, lifted, e);

	if (code == ERR_OK)
		code = spawn(setup, lifted, pid, e);
	for (int i = 0; i < CHILD_FDS; i++)
		close_fd(&lifted[i]);
	return code;
}

enum err_code layer_child_start(const struct layer_child_setup *setup, struct layer_child *child, struct err *e)
{
	struct pipes pipes = {.blob = {-1, -1}, .report = {-1, -1}};
	enum err_code code = pipes_open(&pipes, setup->nonblocking, e);

	*child = (struct layer_child){.pid = -1, .pid_fd = -1, .blob_fd = -1, .report_fd = -1};
	if (code == ERR_OK)
		code = spawn_lifted(setup, &pipes, &child->pid, e);
	if (code != ERR_OK) {
		pipes_close(&pipes);
		return code;
	}
	child->pid_fd = pidfd_open(child->pid, 0);
	ASSERT(child->pid_fd >= 0);
	child->blob_fd = pipes.blob[1];
	child->report_fd = pipes.report[0];
	pipes.blob[1] = pipes.report[0] = -1;
	pipes_close(&pipes);
	return ERR_OK;
}

void layer_child_eof(struct layer_child *child)
{
	close_fd(&child->blob_fd);
}

void layer_child_kill(const struct layer_child *child)
{
	/* Through the descriptor: the number may be another process's by now. */
	(void)pidfd_send_signal(child->pid_fd, SIGKILL, NULL, 0);
}

void layer_child_release(struct layer_child *child)
{
	close_fd(&child->blob_fd);
	close_fd(&child->pid_fd);
}

/* What the pipe brought so far, and the last word. */
struct hearing {
	char bytes[REPORT_LINE_MAX];
	size_t len;
	bool spoken; /* last is good */
	struct report last;
};

static void hear_line(struct hearing *h, const char *line, size_t len,
                      void (*on_progress)(void *arg, const struct layer_progress *), void *arg)
{
	struct report report;
	struct err ignored;

	/* A line that is not understood is nothing; without a last word the child counts as dead. */
	if (report_parse(line, len, &report, &ignored) != ERR_OK)
		return;
	if (report.kind == REPORT_PROGRESS) {
		if (on_progress)
			on_progress(arg, &report.progress);
		return;
	}
	h->last = report;
	h->spoken = true;
}

static void hear(int fd, struct hearing *h, void (*on_progress)(void *arg, const struct layer_progress *), void *arg)
{
	for (;;) {
		ssize_t n = read(fd, h->bytes + h->len, sizeof(h->bytes) - h->len);
		char *newline;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		h->len += (size_t)n;
		while ((newline = memchr(h->bytes, '\n', h->len))) {
			size_t len = (size_t)(newline - h->bytes);

			hear_line(h, h->bytes, len, on_progress, arg);
			memmove(h->bytes, newline + 1, h->len - len - 1);
			h->len -= len + 1;
		}
		if (h->len == sizeof(h->bytes))
			h->len = 0;
	}
}

static enum err_code explain_death(int status, struct err *e)
{
	if (!WIFSIGNALED(status))
		return ERR(e, ERR_INTERNAL, "the layer's process ended with status %d and without a word",
		           WEXITSTATUS(status));
	if (WTERMSIG(status) == SIGXCPU)
		return ERR(e, ERR_TOO_LARGE, "the layer needs more processor time than is allowed");
	if (WTERMSIG(status) == SIGXFSZ)
		return ERR(e, ERR_TOO_LARGE, "the layer's documents are larger than is allowed");
	return ERR(e, ERR_INTERNAL, "the layer's process was killed by signal %d (%s)", WTERMSIG(status),
	           strsignal(WTERMSIG(status)));
}

enum err_code layer_child_finish(struct layer_child *child,
                                 void (*on_progress)(void *arg, const struct layer_progress *), void *arg,
                                 struct layer_result *result, struct err *e)
{
	struct hearing h = {.len = 0};
	struct rusage usage = {0};
	int status = 0;
	pid_t waited;

	hear(child->report_fd, &h, on_progress, arg);
	close_fd(&child->report_fd);
	do
		waited = wait4(child->pid, &status, 0, &usage);
	while (waited < 0 && errno == EINTR);
	if (waited < 0)
		return ERR_SYS(e, ERR_INTERNAL, "waiting for the layer's process");
	if (!h.spoken)
		return explain_death(status, e);
	if (h.last.kind == REPORT_FAILED) {
		if (e)
			*e = h.last.error;
		return h.last.error.code;
	}
	*result = h.last.result;
	result->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	                 (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	return ERR_OK;
}
