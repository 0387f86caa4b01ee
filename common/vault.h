/*
 * vault: secrets at rest, in a service's own tables. AES-256-GCM with keys derived by HKDF-SHA256 (RFC 5869) from the
 * cluster secrets; the current one seals, both open, so that the cluster secret can be rotated. Every user has a
 * purpose of its own, and with it keys of its own.
 *
 * Sealed bytes: version 1, nonce 12, ciphertext, tag 16. They are bound to a context ("registry/ACCOUNT/HOST") that is
 * authenticated and not stored: a row copied to another place does not open there.
 *
 * Used by any number of threads; the keys are only read.
 */
#ifndef COMMON_VAULT_H
#define COMMON_VAULT_H

#include "common/rpc.h"

struct vault;

/* purpose: a name that never changes, "stowage catalog secrets 1". ERR_INVALID: there is no secret. */
enum err_code vault_new(TALLOC_CTX *ctx, const char *purpose, const struct rpc_secret *secret, struct vault **out,
                        struct err *e) MUST_CHECK;

/* *sealed hangs on ctx. */
enum err_code vault_seal(const struct vault *v, TALLOC_CTX *ctx, const char *context, const char *text, void **sealed,
                         size_t *len, struct err *e) MUST_CHECK;

/* Makes what the previous secret sealed last when that is no longer configured: *renewed is the same text sealed by the
 * current one, on ctx, or NULL where it is already. ERR_CORRUPT: not sealed by either secret for this context. Whoever
 * keeps sealed bytes does this with all of them at its start. */
enum err_code vault_renew(const struct vault *v, TALLOC_CTX *ctx, const char *context, const void *sealed, size_t len,
                          void **renewed, size_t *renewed_len, struct err *e) MUST_CHECK;

/* ERR_CORRUPT: not sealed by either secret for this context. */
enum err_code vault_open(const struct vault *v, TALLOC_CTX *ctx, const char *context, const void *sealed, size_t len,
                         char **text, struct err *e) MUST_CHECK;

#endif
