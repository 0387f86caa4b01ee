#include "services/object-store-gateway/drivers/faulty.h"

struct driver_conn {
	const struct driver *inner;
	struct driver_conn *conn;
	struct faults *faults;
};

struct driver_conn *faulty_wrap(TALLOC_CTX *ctx, const struct driver *inner, struct driver_conn *conn,
                                struct faults *faults)
{
	struct driver_conn *c = talloc_zero(ctx, struct driver_conn);

	ASSERT(c);
	*c = (struct driver_conn){inner, conn, faults};
	return c;
}

static bool strikes(struct driver_conn *c, enum fault fault)
{
	int left = atomic_load(&c->faults->left[fault]);

	while (left > 0)
		if (atomic_compare_exchange_weak(&c->faults->left[fault], &left, left - 1))
			return true;
	return false;
}

/* A lie about this chunk. */
static bool lies(struct driver_conn *c, enum fault fault, const struct location *at)
{
	atomic_llong *victim = &c->faults->victims[fault];
	long long met = 0;

	if (atomic_load(&c->faults->left[fault]) == 0)
		return false;
	if (!atomic_compare_exchange_strong(victim, &met, at->number) && met != at->number)
		return false;
	if (!strikes(c, fault))
		return false;
	if (atomic_load(&c->faults->left[fault]) == 0)
		atomic_store(victim, 0);
	return true;
}

static enum err_code injected(const char *what, struct err *e)
{
	return ERR(e, ERR_UNAVAILABLE, "injected fault: %s", what);
}

static enum err_code faulty_open(TALLOC_CTX *ctx, const struct driver_setup *setup, struct driver_conn **out,
                                 struct err *e)
{
	(void)ctx;
	(void)out;
	return ERR(e, ERR_INVALID, "%s: the faulty driver wraps another one and cannot be configured", setup->store);
}

static enum err_code faulty_put(struct driver_conn *c, const struct location *at, const void *bytes, size_t len,
                                struct err *e)
{
	if (strikes(c, FAULT_PUT_BEFORE))
		return injected("put before its bytes", e);
	TRY(c->inner->put(c->conn, at, bytes, len, e));
	if (c->faults->meanwhile)
		c->faults->meanwhile(c->faults->meanwhile_arg);
	return strikes(c, FAULT_PUT_AFTER) ? injected("put after its bytes", e) : ERR_OK;
}

static enum err_code faulty_put_within(struct driver_conn *c, struct db *db, const struct location *at,
                                       const void *bytes, size_t len, struct err *e)
{
	if (strikes(c, FAULT_PUT_BEFORE))
		return injected("put before its bytes", e);
	TRY(c->inner->put_within(c->conn, db, at, bytes, len, e));
	return strikes(c, FAULT_PUT_AFTER) ? injected("put after its bytes", e) : ERR_OK;
}

static enum err_code faulty_get(struct driver_conn *c, const struct location *at, void *into, size_t size, size_t *got,
                                struct err *e)
{
	if (strikes(c, FAULT_GET_FAILS))
		return injected("get", e);
	if (lies(c, FAULT_GET_NOTHING, at))
		return ERR(e, ERR_NOT_FOUND, "injected fault: nothing there");
	TRY(c->inner->get(c->conn, at, into, size, got, e));
	if (*got > 0 && lies(c, FAULT_GET_FLIPS, at))
		((uint8_t *)into)[*got / 2] ^= 0x10;
	if (*got > 0 && lies(c, FAULT_GET_SHORT, at))
		(*got)--;
	return ERR_OK;
}

static enum err_code faulty_remove(struct driver_conn *c, const struct location *at, size_t count, struct err *e)
{
	if (strikes(c, FAULT_REMOVE_BEFORE))
		return injected("remove before anything", e);
	if (strikes(c, FAULT_REMOVE_SOME)) {
		TRY(c->inner->remove(c->conn, at, MIN(count, (size_t)1), e));
		return injected("remove after the first", e);
	}
	TRY(c->inner->remove(c->conn, at, count, e));
	return strikes(c, FAULT_REMOVE_AFTER) ? injected("remove after all", e) : ERR_OK;
}

static enum err_code faulty_list(struct driver_conn *c, const struct location *after, struct location *into, size_t max,
                                 size_t *count, struct err *e)
{
	if (strikes(c, FAULT_LIST_FAILS))
		return injected("list", e);
	return c->inner->list(c->conn, after, into, max, count, e);
}

static void faulty_close(struct driver_conn *c)
{
	c->inner->close(c->conn);
	talloc_free(c);
}

static const char *faulty_identity(struct driver_conn *c)
{
	return c->inner->identity(c->conn);
}

static enum err_code faulty_ping(struct driver_conn *c, struct err *e)
{
	return c->inner->ping ? c->inner->ping(c->conn, e) : ERR_OK;
}

const struct driver driver_faulty = {
    .name = "faulty",
    .open = faulty_open,
    .identity = faulty_identity,
    .put = faulty_put,
    .get = faulty_get,
    .remove = faulty_remove,
    .list = faulty_list,
    .close = faulty_close,
    .ping = faulty_ping,
};

const struct driver driver_faulty_within = {
    .name = "faulty",
    .open = faulty_open,
    .identity = faulty_identity,
    .put = faulty_put,
    .get = faulty_get,
    .remove = faulty_remove,
    .list = faulty_list,
    .close = faulty_close,
    .ping = faulty_ping,
    .put_within = faulty_put_within,
};
