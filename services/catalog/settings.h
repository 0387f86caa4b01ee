/*
 * settings: what an operator can set for the catalog, section catalog of the configuration. The table in settings.c is
 * the reference.
 */
#ifndef CATALOG_SETTINGS_H
#define CATALOG_SETTINGS_H

#include "common/process.h"

struct settings {
	struct process_config process;
	int64_t lease_ms;                    /* of a job, renewed by its worker */
	int64_t max_deaths;                  /* of workers over one job */
	int64_t max_attempts;                /* that failed in a way that may pass */
	int64_t retry_base_ms, retry_cap_ms; /* the jittered wait between them */
	int64_t sweep_period_ms;             /* between two sweeps */
	int64_t sweep_grace_ms;              /* what was touched since is left alone */
	int64_t sweep_lease_ms;              /* silence after which another process goes on with a sweep or removal */
	int64_t audit_period_ms;             /* between two looks at one bucket of one account */
	int64_t upload_expiry_ms;            /* from upload_begin */
	int64_t event_keep, event_age_ms;    /* events kept: so many, so long */
	int64_t job_age_ms;                  /* jobs that ended are kept so long */
	const char *registry_ca_file;        /* "": the system's authorities */
};

extern const struct config_option settings_options[];

#endif
