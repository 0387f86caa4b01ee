/*
 * registry: images from a registry that speaks the OCI distribution protocol (Docker Registry HTTP API v2).
 *
 *     TRY(registry_new(ctx, reference.registry, &options, &registry, e));
 *     TRY(registry_resolve(registry, ctx, &reference, &platform, patience, &image, e));
 *     TRY(registry_get_blob(registry, &reference, &image.manifest.config, IMAGE_CONFIG_SIZE_MAX, patience,
 *                           &bytes, e));
 *     for each layer:
 *             TRY(registry_stream_blob(registry, &reference, &layer->blob, sink, arg, patience, e));
 *
 * A struct registry stands for one host with one set of credentials. It keeps connections, tokens and whether the host
 * speaks https, so that it pays to keep it. Any number of threads may use one at the same time; each call blocks its
 * thread until it is done, fails, its deadline passes or patience->stop says so (asked at least once a second).
 *
 * What is promised:
 *  - Manifests and blobs in memory have the digest they were asked for by, computed here. A streamed blob has the size
 *    that was asked for, exactly; its digest is the caller's to compute while it passes.
 *  - Credentials go to the registry's own host (scheme, name and port) and to the token server it names, never along a
 *    redirect to another host. A token server must be https, or have the registry's host name when the registry itself
 *    is spoken to in plain http.
 *  - Plain http only for hosts that options call insecure, and for localhost, 127.0.0.0/8 and [::1]: https is tried
 *    first and remembered if it works. An untrusted certificate is an error, never a reason for plain http.
 *  - Transient failures (429, 5xx, resets, stalls, no connection) are tried again with jitter, Retry-After is
 *    honoured within the retry budget; a stream goes on where it broke, also if the server ignores Range.
 *  - Proxies of the environment (https_proxy, http_proxy, no_proxy) are used, but not for loopback hosts.
 *
 * Errors: ERR_NOT_FOUND, ERR_UNAUTHENTICATED, ERR_FORBIDDEN as the registry says, with its own words; ERR_UNAVAILABLE
 * host unknown, not reachable or failing after all retries; ERR_EXHAUSTED rate limited (retry_ms set where it said
 * until when); ERR_DEADLINE too slow; ERR_PRECONDITION its certificate is not trusted; ERR_CORRUPT wrong digest or
 * size; ERR_CANCELLED stopped; and those of common/manifest.h. Texts name the reference.
 */
#ifndef COMMON_REGISTRY_H
#define COMMON_REGISTRY_H

#include "common/buf.h"
#include "common/manifest.h"
#include "common/reference.h"
#include "common/retry.h"

struct registry;

struct registry_options {            /* texts are copied; zero is a good value for everything */
	const char *user, *password; /* NULL or "": anonymous */
	const char *token;           /* a bearer token, sent as it is; instead of user and password */
	const char *ca_file;         /* PEM; trusted instead of the system's authorities */
	bool insecure;               /* plain http is allowed */
	bool skip_verify;            /* certificates are not checked */
	int64_t connect_ms;          /* 0: 10 s */
	int64_t stall_ms;            /* a transfer below stall_bytes in such a time has stalled; 0: 30 s */
	uint64_t stall_bytes;        /* 0: 1 KiB */
	struct retry_policy retry;
};

struct registry_image {
	struct digest digest;       /* of what the reference names: the index, or the manifest itself */
	struct digest index_digest; /* none when the reference names a manifest */
	struct digest manifest_digest;
	bool platform_stated;       /* by the index: the wanted one; else only the configuration can say */
	const char *manifest_bytes; /* exactly as received */
	size_t manifest_len;
	struct manifest manifest;
};

/* host: reference.registry. The object hangs on ctx and must not be freed while a call runs. ERR_INVALID: credentials
 * that cannot be sent, both token and user. */
enum err_code registry_new(TALLOC_CTX *ctx, const char *host, const struct registry_options *options,
                           struct registry **out, struct err *e) MUST_CHECK;

/*
 * Fetches the manifest that the reference names by digest or tag; of an index, the one for the platform (NULL:
 * platform_default). Results hang on ctx. Whether an image has the wanted platform of which no index says it is not
 * checked here: see platform_check.
 */
enum err_code registry_resolve(struct registry *r, TALLOC_CTX *ctx, const struct reference *reference,
                               const struct platform *platform, const struct patience *patience,
                               struct registry_image *image, struct err *e) MUST_CHECK;

/* A small blob of the reference's repository in memory, checked by digest. ERR_TOO_LARGE when blob->size > max. bytes
 * is initialised here and the caller's to release; on failure there is nothing to release. */
enum err_code registry_get_blob(struct registry *r, const struct reference *reference, const struct descriptor *blob,
                                size_t max, const struct patience *patience, struct buf *bytes,
                                struct err *e) MUST_CHECK;

/* Takes the next bytes of a stream. An error ends the transfer and is what registry_stream_blob returns. May block. */
typedef enum err_code (*registry_sink)(void *arg, const void *bytes, size_t len, struct err *e);

/* All blob->size bytes, in order, each once, to sink on the calling thread. ERR_CORRUPT when the registry has more or
 * fewer; sink may by then have seen up to blob->size bytes. */
enum err_code registry_stream_blob(struct registry *r, const struct reference *reference, const struct descriptor *blob,
                                   registry_sink sink, void *arg, const struct patience *patience,
                                   struct err *e) MUST_CHECK;

#endif
