/*
 * event: what happened, for people: one row each, kept for a while and in a limited number.
 *
 * An event is written in the transaction of what it tells about. It holds no lock that anybody waits for.
 */
#ifndef CATALOG_EVENT_H
#define CATALOG_EVENT_H

#include "common/db.h"
#include "proto/messages.h"

struct event {
	const char *account;
	const char *kind;    /* "image.analysed" */
	const char *subject; /* a digest, a tag, a name; NULL: none */
	const char *message; /* NULL: none */
};

enum err_code event_add(struct db *db, const struct event *event, struct err *e) MUST_CHECK;

enum err_code event_read(struct db *db, TALLOC_CTX *ctx, const char *account, const struct event_list_request *request,
                         struct event_list_reply *reply, struct err *e) MUST_CHECK;

/* Removes a batch of the oldest beyond `keep` or older than age_ms; *more: there may be more to remove. */
enum err_code event_prune(struct db *db, int64_t keep, int64_t age_ms, bool *more, struct err *e) MUST_CHECK;

#endif
