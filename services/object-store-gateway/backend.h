/*
 * backend: a place where chunks of one store are: a bucket, a directory, the database itself.
 *
 * The table objects.backend remembers every back end that a store ever wrote to: its driver, its identity (what and
 * where it is, without secrets) and its configuration, sealed with a key from the cluster secret. Each chunk's row
 * names its back end. So what was stored stays readable when the configuration names another one, and a replica that
 * was not restarted yet reads what its neighbours write to the new one.
 *
 * The back end of the configuration is opened when the store is, and takes all new chunks. Another one is opened when
 * the first of its chunks is asked for, and stays open. One that cannot be opened is not asked again for a few seconds;
 * its chunks are ERR_UNAVAILABLE until then. One thread opens it: others wait for that no longer than BACKEND_WAIT_MS.
 *
 * A place that chunks were put in is never made anew, as a directory, a bucket or a container can be: that it is not
 * there is ERR_UNAVAILABLE, and at a start ERR_PRECONDITION.
 *
 *     TRY(backends_open(s, &setup, driver, e));             -- s->current
 *     TRY(backend_by_id(s, chunk->backend, &b, e));
 *     b->driver->get(b->conn, ...);
 *
 * A struct backend lives as long as its store, and may be used by any number of threads.
 */
#ifndef GATEWAY_BACKEND_H
#define GATEWAY_BACKEND_H

#include "services/object-store-gateway/store.h"

#define BACKEND_RETRY_MS 5000
#define BACKEND_WAIT_MS 2000
#define BACKEND_VAULT_PURPOSE "stowage object store back ends 1"

struct backend {
	int64_t id;
	const char *name;     /* for people, unique in the store: "s3", "s3-2" */
	const char *identity; /* as the driver says */
	const struct driver *driver;
	struct driver_conn *conn;
};

/* Opens the driver, registers what it reached, and makes it s->current. The configuration is remembered anew each time,
 * so that a changed password is. Without s->vault nothing is remembered. */
enum err_code backends_open(struct store *s, const struct driver *driver, const struct config_node *config,
                            struct err *e) MUST_CHECK;

/* The same for a connection that somebody opened, and gives away. A back end that was current stays open. */
enum err_code backends_adopt(struct store *s, const struct driver *driver, struct driver_conn *conn,
                             const struct config_node *config, struct err *e) MUST_CHECK;

/* Configurations that the previous cluster secret sealed are sealed by the current one: vault_renew. */
enum err_code backends_renew(struct store *s, struct err *e) MUST_CHECK;

/* ERR_UNAVAILABLE: it cannot be reached or opened, for the reason given. ERR_NOT_FOUND: no back end of the store has
 * the name; the message lists those there are. */
enum err_code backend_by_id(struct store *s, int64_t id, struct backend **out, struct err *e) MUST_CHECK;
enum err_code backend_by_name(struct store *s, const char *name, struct backend **out, struct err *e) MUST_CHECK;

/* Closes all. Nothing is under way. */
void backends_close(struct store *s);

#endif
