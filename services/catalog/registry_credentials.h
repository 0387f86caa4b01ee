/*
 * registry_credentials: how an account gets into a registry. One row for each (account, registry); passwords are sealed
 * (vault.h) and never leave by any message but job_lease.
 */
#ifndef CATALOG_REGISTRY_CREDENTIALS_H
#define CATALOG_REGISTRY_CREDENTIALS_H

#include "common/db.h"
#include "common/vault.h"
#include "proto/messages.h"
#include "services/catalog/registry_pool.h"

/* Anonymous when the account has none for this registry. Texts hang on ctx. */
enum err_code registry_credentials_find(struct db *db, TALLOC_CTX *ctx, const struct vault *vault, const char *account,
                                        const char *registry, struct registry_access *access, struct err *e) MUST_CHECK;

/* registry is written as in references: host[:port]. ERR_INVALID for what is none. */
enum err_code registry_credentials_put(struct db *db, const struct vault *vault, const char *account,
                                       const struct registry_add_request *request, struct err *e) MUST_CHECK;

enum err_code registry_credentials_read_all(struct db *db, TALLOC_CTX *ctx, const char *account,
                                            struct registry_list_reply *reply, struct err *e) MUST_CHECK;

/* Passwords that the previous cluster secret sealed are sealed by the current one; they would be lost when the previous
 * one is dropped. What neither opens is left as it is, and logged. */
enum err_code registry_credentials_renew(struct db *db, const struct vault *vault, struct err *e) MUST_CHECK;

/* ERR_NOT_FOUND names the registry. */
enum err_code registry_credentials_remove(struct db *db, const char *account, const char *registry,
                                          struct err *e) MUST_CHECK;

#endif
