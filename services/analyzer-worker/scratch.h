/*
 * scratch: private, ephemeral disk space for the jobs of one worker.
 *
 *     scratch_open       takes the directory's lock, removes what an earlier worker left behind
 *     scratch_job_new    <dir>/<job>-<token>/, removed when the job's context is freed
 *     scratch_file       a file without a name in there: gone when it is closed, whatever happens to the process
 *     scratch_check      is there still room? asked before a job and while it runs
 *
 * Always true:
 *  - One worker, one directory: opening fails while another process has the lock, and says which one. The lock is the
 *    kernel's, so it goes with the process, also after kill -9.
 *  - The files of all jobs together stay below bytes_max as far as scratch_check is asked, and reserve_bytes of the
 * file system stay free: a job that does not fit ends with ERR_EXHAUSTED and is tried again later, the disk is not
 * filled.
 *
 * Any thread may call any function; one mutex guards the list of open files.
 */
#ifndef ANALYZER_SCRATCH_H
#define ANALYZER_SCRATCH_H

#include "common/err.h"

struct scratch;
struct scratch_job;

struct scratch_options {
	const char *dir;        /* made if it is not there, mode 0700 */
	uint64_t bytes_max;     /* of all jobs' files */
	uint64_t reserve_bytes; /* of the file system, left free */
	const char *owner;      /* what another worker is told: this process's instance name */
};

/* ERR_CONFLICT: another process has the directory; the text names it. */
enum err_code scratch_open(TALLOC_CTX *ctx, const struct scratch_options *options, struct scratch **out,
                           struct err *e) MUST_CHECK;

enum err_code scratch_job_new(TALLOC_CTX *ctx, struct scratch *scratch, int64_t job, int64_t token,
                              struct scratch_job **out, struct err *e) MUST_CHECK;

/* A new empty file, read and write, O_CLOEXEC. It belongs to the job: scratch_file_close or the job's end closes it. */
enum err_code scratch_file(struct scratch_job *job, int *fd, struct err *e) MUST_CHECK;
void scratch_file_close(struct scratch_job *job, int fd);

/* ERR_EXHAUSTED with limit and value when a limit is passed. */
enum err_code scratch_check(struct scratch *scratch, struct err *e) MUST_CHECK;

uint64_t scratch_used(struct scratch *scratch); /* bytes of all open files */

#endif
