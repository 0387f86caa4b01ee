/*
 * child: one layer parsed in a process of its own.
 *
 * Bytes of an image are hostile, and the code that reads them is large. So the worker starts itself again as
 * `analyzer-worker --parse-layer PARAMETERS` for each layer: a process without file system, network, privileges or
 * environment, with limits on memory, processor time and output, which reads the compressed blob from a pipe and leaves
 * two documents in files that the worker opened. Whatever happens to it, the worker lives on and knows why.
 *
 *     fd 0   the compressed blob, a pipe
 *     fd 3   files document (proto/document/files.h), written from byte 0
 *     fd 4   summary document (proto/document/summary.h), written from byte 0
 *     fd 5   room to spill to, read and written
 *     fd 6   reports to the worker, a line of JSON each, a pipe
 *
 * In the worker, for each layer, on a thread that may block:
 *
 *     layer_child_start(&setup, &child, e);
 *     ... another thread, or this one if it feeds first: write the blob to child.blob_fd, then layer_child_eof(&child)
 *     layer_child_finish(&child, on_progress, arg, &result, e);
 *     layer_child_release(&child);
 *
 * The thread that starts the child must live until layer_child_finish has returned: the child ends with it.
 *
 * The worker must ignore SIGPIPE: a child that refuses a layer stops reading, and the write to blob_fd then fails with
 * EPIPE. That is no error of its own: layer_child_finish says what is wrong. blob_fd is non-blocking if the setup asks
 * for that.
 */
#ifndef ANALYZER_PARSER_CHILD_H
#define ANALYZER_PARSER_CHILD_H

#include "common/codec.h"
#include "common/digest.h"
#include "common/err.h"

#include <sys/types.h>

/* What a layer may be at most. Every limit ends the layer with ERR_TOO_LARGE, naming limit and value, except memory
 * (the child dies or says so) and cpu. */
struct layer_limits {
	uint64_t entries;     /* of the tar */
	uint64_t unpacked;    /* bytes of the tar, and bytes of file content, sparse files in full length */
	uint64_t ratio;       /* bytes of tar for each compressed byte ... */
	uint64_t ratio_free;  /* ... beyond this many bytes of tar */
	uint64_t links;       /* hard links */
	uint64_t packages;    /* packages proved */
	uint64_t document;    /* bytes of the files document, and of the spill file */
	uint64_t memory;      /* address space of the child; not enforced in sanitizer builds */
	uint64_t cpu_seconds; /* processor time of the child */
};

extern const struct layer_limits layer_limits_default;

struct layer_progress {
	uint64_t bytes_in, bytes_out, entries;
};

struct layer_result {
	enum codec codec; /* as found in the bytes */
	struct digest diff_id;
	uint64_t blob_bytes, tar_bytes;
	uint64_t entries;       /* of the tar */
	uint64_t files_bytes;   /* length of the files document */
	uint64_t summary_bytes; /* length of the summary document */
	uint64_t packages;
	uint64_t lower_links; /* hard links to lower layers' files: merge_layer.no_links is lower_links == 0 */
	/* Not 0: see layer_child_setup.may_repeat. */
	uint64_t wants_at, wants_len;
	/* About the child, for figures. */
	uint64_t peak_rss_bytes, cpu_us;
};

/* The child's side: main() calls this when argv[1] is --parse-layer, with argv[2], before anything else (no thread, no
 * libcurl, no locale). Returns the exit status. */
int layer_child_main(const char *parameters);

struct layer_child_setup {
	const char *program;               /* NULL: /proc/self/exe */
	const struct layer_limits *limits; /* NULL: the default */
	/* From the manifest's media type, checked against the bytes: a mismatch is ERR_CORRUPT. any_codec: take what
	 * the bytes say. */
	enum codec codec;
	bool any_codec;
	int files_fd, summary_fd, spill_fd; /* stay the caller's; empty files */
	bool nonblocking;                   /* blob_fd */
	/* Only when all names of a layer are known is it known whether files that passed unread are hard-linked from
	 * where a cataloger looks. With may_repeat, the documents are then no good, result.wants_len is not 0, and the
	 * same blob has to be parsed once more by a child that gets this result as again, the same spill file as it is,
	 * and the two document files emptied. That child does not ask again. Without it such links are noted as
	 * unparsed. */
	bool may_repeat;
	const struct layer_result *again;
};

struct layer_child {
	pid_t pid;
	int pid_fd;
	int blob_fd;   /* write end; -1 once closed */
	int report_fd; /* read end */
};

enum err_code layer_child_start(const struct layer_child_setup *setup, struct layer_child *child,
                                struct err *e) MUST_CHECK;

/* The whole blob was written. */
void layer_child_eof(struct layer_child *child);

/* Reads reports until the child is done, and waits for it. Blocks, and leaves blob_fd alone, so that another thread may
 * feed meanwhile. on_progress may be NULL. ERR_INTERNAL: the child died, with the signal; otherwise the child's own
 * error: ERR_CORRUPT, ERR_INVALID, ERR_TOO_LARGE, ERR_EXHAUSTED. */
enum err_code layer_child_finish(struct layer_child *child,
                                 void (*on_progress)(void *arg, const struct layer_progress *), void *arg,
                                 struct layer_result *result, struct err *e) MUST_CHECK;

/* Ends the child at once; layer_child_finish then says so. From any thread until layer_child_release, harmless after
 * the child's end. */
void layer_child_kill(const struct layer_child *child);

/* Closes what is open still; after layer_child_finish, when no other thread uses the struct any more. */
void layer_child_release(struct layer_child *child);

#endif
