#include "services/analyzer-worker/catalogers/catalogers.h"
#include "services/analyzer-worker/parser/build.h"
#include "services/analyzer-worker/parser/child.h"
#include "services/analyzer-worker/parser/confine.h"
#include "services/analyzer-worker/parser/inflate.h"
#include "services/analyzer-worker/parser/report.h"
#include "services/analyzer-worker/parser/tar.h"

#include <fcntl.h>
#include <iconv.h>
#include <langinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FD_BLOB = 0, FD_FILES = 3, FD_SUMMARY, FD_SPILL, FD_REPORT, FD_STATUS };

#define STATUS_MAX 4096
#define SUMMARY_PIECE (64 * KIB)

/* A document on its way to a descriptor. */
struct output {
	int fd;
	uint64_t at, max;
	struct buf pending; /* of the summary, whose lines are small */
};

struct child {
	struct report_parameters parameters;
	struct inflate inflate;
	struct tar tar;
	struct output files, summary;
	struct spill spill;
	struct wants *missing; /* NULL: the worker would not repeat */
	pthread_t thread;
	pthread_mutex_t gate; /* held until the process is sealed; the other thread passes it first */
};

static enum err_code write_all(int fd, const char *bytes, size_t len, struct err *e)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_SYS(e, err_from_errno(errno), "writing a document");
		bytes += n;
		len -= (size_t)n;
	}
	return ERR_OK;
}

/* files_write for both documents. */
static enum err_code output_write(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct output *o = arg;

	if (len > o->max - o->at)
		return ERR(e, ERR_TOO_LARGE, "a document of the layer has more than %llu bytes",
		           (unsigned long long)o->max);
	/* At its own place: the descriptor's position may be anywhere, it is shared with the worker. */
	TRY(spill_write(&(struct spill){.fd = o->fd}, o->at, bytes, len, e));
	o->at += len;
	return ERR_OK;
}

static enum err_code output_add(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct output *o = arg;

	buf_add(&o->pending, bytes, len);
	if (buf_failed(&o->pending))
		return ERR(e, ERR_TOO_LARGE, "a document of the layer has more than %llu bytes",
		           (unsigned long long)o->max);
	if (o->pending.len < SUMMARY_PIECE)
		return ERR_OK;
	TRY(output_write(o, o->pending.bytes, o->pending.len, e));
	buf_reset(&o->pending);
	return ERR_OK;
}

static void send_report(const struct report *report)
{
	CLEANUP(buf_release) struct buf line;
	struct err ignored;

	buf_init(&line, REPORT_LINE_MAX);
	report_print(&line, report);
	ASSERT(!buf_failed(&line));
	/* A worker that does not listen any more has ended, and this process with it. */
	if (write_all(FD_REPORT, line.bytes, line.len, &ignored) != ERR_OK)
		_exit(1);
}

static void on_progress(void *arg, uint64_t bytes_in, uint64_t bytes_out)
{
	struct child *c = arg;
	struct report report = {
	    .kind = REPORT_PROGRESS,
	    .progress = {.bytes_in = bytes_in,
	                 .bytes_out = bytes_out,
	                 .entries = atomic_load_explicit(&c->tar.entries, memory_order_relaxed)},
	};

	send_report(&report);
}

static void *inflate_thread(void *arg)
{
	struct child *c = arg;

	pthread_mutex_lock(&c->gate);
	pthread_mutex_unlock(&c->gate);
	inflate_run(&c->inflate);
	return NULL;
}

/* The kernel's own word for the most memory this process held; getrusage would count the worker's, from before exec. */
static uint64_t peak_rss(void)
{
	char status[STATUS_MAX];
	ssize_t n = pread(FD_STATUS, status, sizeof(status) - 1, 0);
	const char *line;

	if (n <= 0)
		return 0;
	status[n] = '\0';
	line = strstr(status, "VmHWM:");
	return line ? strtoull(line + 6, NULL, 10) * KIB : 0;
}

static enum err_code write_documents(struct child *c, const struct digest *diff_id, uint64_t *lower_links,
                                     struct err *e)
{
	struct summary_counts counts;

	summary_print_head(&c->summary.pending, ANALYZER_REVISION);
	TRY(build_write(c->tar.build, output_write, &c->files, output_add, &c->summary, &counts, e));
	summary_print_end(&c->summary.pending, diff_id, c->inflate.bytes_out, &counts);
	if (buf_failed(&c->summary.pending))
		return ERR(e, ERR_TOO_LARGE, "the summary has more than %llu bytes",
		           (unsigned long long)c->summary.max);
	*lower_links = counts.lower_links;
	return output_write(&c->summary, c->summary.pending.bytes, c->summary.pending.len, e);
}

static enum err_code parse(struct child *c, struct layer_result *result, struct err *e)
{
	enum err_code code = tar_read(&c->tar, e);

	ring_abandon(c->tar.ring);
	/* On failure the other thread may sit in a read for as long as the worker does not notice: do not wait for it.
	 */
	if (code != ERR_OK)
		return code;
	pthread_join(c->thread, NULL);
	result->codec = c->inflate.codec;
	result->diff_id = ring_digest(c->tar.ring);
	TRY(write_documents(c, &result->diff_id, &result->lower_links, e));
	result->blob_bytes = c->inflate.bytes_in;
	result->tar_bytes = c->inflate.bytes_out;
	result->entries = atomic_load(&c->tar.entries);
	result->packages = c->tar.packages;
	result->files_bytes = c->files.at;
	result->summary_bytes = c->summary.at;
	if (c->missing && wants_count(c->missing) > 0)
		TRY(wants_save(c->missing, &c->spill, &result->wants_at, &result->wants_len, e));
	result->peak_rss_bytes = peak_rss();
	return ERR_OK;
}

/* What libraries read from files at first use, they read here, before that is impossible: libcrypto its configuration,
 * libc its list of character sets, which libarchive asks for at the first name outside ASCII. */
static void warm_up(void)
{
	iconv_t conversion = iconv_open(nl_langinfo(CODESET), "UTF-8");

	if (conversion != (iconv_t)-1)
		iconv_close(conversion);
	digest_of("", 0);
}

static void set_up(struct child *c, TALLOC_CTX *ctx)
{
	const struct layer_limits *limits = &c->parameters.limits;
	struct ring *ring = ring_new(ctx);

	c->spill = (struct spill){.fd = FD_SPILL, .max = limits->document};
	c->files = (struct output){.fd = FD_FILES, .max = limits->document};
	c->summary = (struct output){.fd = FD_SUMMARY, .max = SUMMARY_BYTES_MAX};
	buf_init(&c->summary.pending, SUMMARY_BYTES_MAX);
	c->inflate = (struct inflate){
	    .fd = FD_BLOB,
	    .ring = ring,
	    .limits = limits,
	    .expected = c->parameters.codec,
	    .any_codec = c->parameters.any_codec,
	    .progress = on_progress,
	    .progress_arg = c,
	};
	c->tar.ring = ring;
	c->tar.limits = limits;
	c->tar.build = build_new(ctx, &c->spill, limits, 0);
	c->tar.content = content_new(ctx, &c->spill);
	c->missing = c->parameters.may_repeat ? wants_new(ctx) : NULL;
}

/* A second reading begins with what the first one missed; the spill file is used from behind it on. */
static enum err_code take_wants(struct child *c, TALLOC_CTX *ctx, struct err *e)
{
	const struct report_parameters *p = &c->parameters;

	if (p->wants_len > 0) {
		c->spill.end = p->wants_at + p->wants_len;
		c->tar.wants = wants_new(ctx);
		TRY(wants_load(c->tar.wants, &c->spill, p->wants_at, p->wants_len, e));
	}
	build_set_wants(c->tar.build, c->missing, c->tar.wants);
	return ERR_OK;
}

static enum err_code confine(struct child *c, struct err *e)
{
	const struct layer_limits *limits = &c->parameters.limits;
	struct confine_limits confined = {
	    .memory = limits->memory, .cpu_seconds = limits->cpu_seconds, .file_bytes = limits->document};
	int status = open("/proc/self/status", O_RDONLY);

	if (status >= 0 && status != FD_STATUS) {
		dup2(status, FD_STATUS);
		close(status);
	}
	return confine_begin(&confined, FD_STATUS, e);
}

static enum err_code run(struct child *c, const char *parameters, struct layer_result *result, struct err *e)
{
	SCRATCH_CTX(ctx);
	enum err_code code;

	TRY(report_parse_parameters(parameters, &c->parameters, e));
	warm_up();
	TRY(confine(c, e));
	set_up(c, ctx);
	TRY(take_wants(c, ctx, e));
	pthread_mutex_init(&c->gate, NULL);
	pthread_mutex_lock(&c->gate);
	if (pthread_create(&c->thread, NULL, inflate_thread, c) != 0)
		return ERR(e, ERR_EXHAUSTED, "no thread for decompressing");
	TRY(confine_seal(e));
	pthread_mutex_unlock(&c->gate);
	code = parse(c, result, e);
	if (code != ERR_OK) {
		struct report failed = {.kind = REPORT_FAILED, .error = *e};

		/* From here, not from the caller: the other thread still uses what hangs on ctx. */
		send_report(&failed);
		_exit(1);
	}
	return ERR_OK;
}

int layer_child_main(const char *parameters)
{
	static struct child child;
	struct report report = {.kind = REPORT_DONE};
	enum err_code code;

	signal(SIGPIPE, SIG_IGN);
	code = run(&child, parameters, &report.result, &report.error);
	if (code != ERR_OK)
		report.kind = REPORT_FAILED;
	send_report(&report);
	_exit(code == ERR_OK ? 0 : 1);
}
