/*
 * retry: how long and how often something is tried.
 *
 * A patience is what the caller of a blocking operation is ready to wait for: a deadline, and a question that is asked
 * now and then, from the thread that waits. A retry counts the attempts of one operation:
 *
 *     struct retry retry = retry_start(&options->retry, patience);
 *
 *     do {
 *             code = attempt(..., e);
 *     } while (code != ERR_OK && retry_again(&retry, e));
 *     return code;
 *
 * retry_again looks at the error: only codes that err_retry calls LATER are tried again. It waits with full jitter, at
 * least as long as the error's retry_ms says, and gives up, leaving the last error, when attempts or budget are spent,
 * or the wait would end after the deadline. Being cancelled while waiting replaces the error by ERR_CANCELLED.
 */
#ifndef COMMON_RETRY_H
#define COMMON_RETRY_H

#include "common/err.h"

struct patience {
	int64_t deadline_ms;     /* clock_monotonic_ms(); 0: none */
	bool (*stop)(void *arg); /* true: give up; NULL: never. Called at least once a second */
	void *stop_arg;
};

struct retry_policy {
	unsigned attempts;        /* in all, the first one included; 0: RETRY_DEFAULT's value */
	unsigned base_ms, cap_ms; /* of the jittered wait; 0: the same */
	int64_t budget_ms;        /* of waiting, in all; 0: the same */
};

#define RETRY_DEFAULT ((struct retry_policy){.attempts = 5, .base_ms = 200, .cap_ms = 5000, .budget_ms = 20000})

struct retry {
	struct retry_policy policy;
	const struct patience *patience; /* may be NULL */
	unsigned failed;                 /* attempts so far */
	int64_t waited_ms;
};

/* patience must outlive the retry; NULL is endless. */
struct retry retry_start(const struct retry_policy *policy, const struct patience *patience);

/* After a failure: true when it is time for another attempt. *e must hold that failure. */
bool retry_again(struct retry *r, struct err *e);

/* The operation has come forward: attempts and budget start anew. */
void retry_progress(struct retry *r);

/* ERR_CANCELLED or ERR_DEADLINE, with what in the text, when patience is over. NULL has no end. */
enum err_code patience_check(const struct patience *p, const char *what, struct err *e) MUST_CHECK;

/* Milliseconds left, at least 0; INT64_MAX without deadline. */
int64_t patience_left(const struct patience *p);

#endif
