/*
 * audit: compares what a back end lists with the rows that say what is there, in the order of numbers, and tells what
 * is on one side only. The one thing here that lists a back end.
 *
 *     orphan    bytes without a row
 *     missing   a live or spare row without bytes
 *
 * What is being written or removed meanwhile is neither. A chunk's row is there before its bytes and goes after them.
 * So bytes that are listed and then have no row are being removed, or orphans. Orphans are what a second look finds
 * again, listed (or, where lists lag behind, got) and then still without a row, and so does a third one a second later:
 * a put that took longer than gc_write_grace removes its bytes itself. And a row whose bytes were not listed is of a
 * chunk put or removed meanwhile, unless asking for it finds nothing, and then the row is still there.
 *
 * A number that a row has is never an orphan's to be removed with, although the digest is another: whether the driver
 * tells the two apart, only the driver knows.
 */
#ifndef GATEWAY_AUDIT_H
#define GATEWAY_AUDIT_H

#include "services/object-store-gateway/chunk_heal.h"

#define AUDIT_WINDOW 32768  /* numbers of a page, at most */
#define AUDIT_FOUND_MAX 900 /* orphans and missing ones, each; those of one number stay together */
#define AUDIT_PAUSE_MS 1000

struct audit_order {
	struct backend *backend;
	int64_t after; /* number */
	size_t window; /* 1 to AUDIT_WINDOW */
	bool remove_orphans;
	bool mark_missing;   /* as damaged, and heal them where there is a good copy */
	int64_t deadline_ms; /* clock_monotonic_ms(): the page ends before */
};

/* Fills a page of the reply, which hangs on ctx. reply->last is where the next page begins; it may be behind after even
 * if nothing was found. Errors of the back end name it. */
enum err_code audit_page(struct store *s, TALLOC_CTX *ctx, const struct audit_order *order,
                         struct store_audit_reply *reply, struct err *e) MUST_CHECK;

#endif
