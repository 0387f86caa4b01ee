/*
 * faulty: a driver around another one, which does what back ends do on bad days. For tests; no configuration names it.
 *
 *     struct faults faults = {0};
 *     store.conn = faulty_wrap(ctx, &driver_mem, conn, &faults);
 *     store.driver = &driver_faulty;
 *     atomic_store(&faults.left[FAULT_PUT_AFTER], 1);       -- the next put writes its bytes and then fails
 *
 * Each fault has a number of calls that it still spoils; 0 is none, and a driver without faults is the other one. The
 * three lies of a get keep to the chunk that they met first, until none is left: that chunk is damaged, and those that
 * other threads read are not. The wrapper owns the connection that it wraps and closes it; the faults stay the caller's
 * and may be changed by any thread.
 */
#ifndef GATEWAY_DRIVERS_FAULTY_H
#define GATEWAY_DRIVERS_FAULTY_H

#include "services/object-store-gateway/driver.h"

#include <stdatomic.h>

enum fault {
	FAULT_PUT_BEFORE,    /* fails, nothing written: ERR_UNAVAILABLE */
	FAULT_PUT_AFTER,     /* fails, all written: ERR_UNAVAILABLE */
	FAULT_GET_FAILS,     /* ERR_UNAVAILABLE */
	FAULT_GET_FLIPS,     /* success, one bit another */
	FAULT_GET_SHORT,     /* success, the last byte missing */
	FAULT_GET_NOTHING,   /* ERR_NOT_FOUND although it is there */
	FAULT_REMOVE_BEFORE, /* fails, nothing removed: ERR_UNAVAILABLE */
	FAULT_REMOVE_SOME,   /* fails after the first one: ERR_UNAVAILABLE */
	FAULT_REMOVE_AFTER,  /* fails, all removed: ERR_UNAVAILABLE */
	FAULT_LIST_FAILS,    /* ERR_UNAVAILABLE */
	FAULTS
};

struct faults {
	atomic_int left[FAULTS];
	atomic_llong victims[FAULTS]; /* number of the chunk that a lie keeps to; 0: none yet */
	/* Called in every put when its bytes are written and nobody knows it yet: what others do meanwhile. May be
	 * NULL; set before the first call. */
	void (*meanwhile)(void *arg);
	void *meanwhile_arg;
};

/* Hangs on ctx. */
struct driver_conn *faulty_wrap(TALLOC_CTX *ctx, const struct driver *inner, struct driver_conn *conn,
                                struct faults *faults);

/* faulty: chunks are written in steps, whatever the inner driver offers. faulty_within: also offers put_within, for an
 * inner driver that has it. */
extern const struct driver driver_faulty, driver_faulty_within;

#endif
