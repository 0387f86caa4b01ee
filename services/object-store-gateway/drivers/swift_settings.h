/*
 * swift_settings: the section `storage_driver.config` of the driver swift, read and made sure of.
 *
 * Its names are those that operators of Swift know from their environment (OS_AUTH_URL and the like, in lower case), so
 * that what they have can be pasted. One of three ways to authenticate must be given whole:
 *
 *   v1   auth, user, key
 *   v2   os_auth_url, os_username, os_password, os_tenant_name or os_tenant_id (or os_project_name or os_project_id)
 *   v3   os_auth_url and either os_username (or os_user_id), os_password and a project, or an application credential:
 *        its id, or its name and the user, and its secret
 *
 * auth_version says which. Without it, `auth` means v1; an application credential, a project or a domain means v3; else
 * the last part of os_auth_url decides, and v3 is what an os_auth_url that names no version is taken for unless only
 * a tenant is given.
 */
#ifndef GATEWAY_DRIVERS_SWIFT_SETTINGS_H
#define GATEWAY_DRIVERS_SWIFT_SETTINGS_H

#include "common/config.h"

enum swift_version { SWIFT_V1 = 1, SWIFT_V2, SWIFT_V3 };

struct swift_settings { /* NULL: not given */
	enum swift_version version;
	const char *auth_url; /* where to authenticate, with its version, without a slash at the end */

	const char *container;
	bool create_container;
	const char *key_prefix; /* "" or ends with a slash */

	const char *username, *password;     /* of v1 too */
	const char *user_id;                 /* v3, in place of the name and its domain */
	const char *tenant_name, *tenant_id; /* v2: one of them */
	const char *project_name, *project_id;
	const char *user_domain_name, *user_domain_id, *project_domain_name, *project_domain_id;
	const char *credential_id, *credential_name, *credential_secret;

	const char *region, *interface; /* "public", "internal" or "admin" */
	const char *storage_url;        /* in place of what authentication says; no slash at the end */
	const char *ca_file;
	int64_t request_ms; /* for one attempt of one request */
	int64_t budget_ms;  /* of waiting between the attempts of one operation */
};

/* Texts hang on ctx. ERR_INVALID names what is missing, contradicts itself or cannot be. */
enum err_code swift_settings_read(TALLOC_CTX *ctx, const struct config_node *node, struct swift_settings *out,
                                  struct err *e) MUST_CHECK;

#endif
