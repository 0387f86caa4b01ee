#include "services/catalog/settings.h"

#define AT(member) offsetof(struct settings, member)
#define MINUTE 60000LL
#define DAY (24 * 60 * MINUTE)

const struct config_option settings_options[] = {
    {"catalog.lease", CONFIG_DURATION, AT(lease_ms), "30s", 500, 60 * MINUTE,
     .help = "How long a worker has a job without renewing it; another one gets it then."},
    {"catalog.max_deaths", CONFIG_NUMBER, AT(max_deaths), "5", 1, 1000,
     .help = "A job whose workers died this often is put in quarantine."},
    {"catalog.max_attempts", CONFIG_NUMBER, AT(max_attempts), "8", 1, 1000,
     .help = "A job that failed this often for reasons that might have passed is given up."},
    {"catalog.retry_base", CONFIG_DURATION, AT(retry_base_ms), "2s", 1, 60 * MINUTE,
     .help = "Longest wait before the first retry of a job; it doubles with each."},
    {"catalog.retry_cap", CONFIG_DURATION, AT(retry_cap_ms), "5m", 1, DAY,
     .help = "Longest wait before any retry of a job."},
    {"catalog.sweep_period", CONFIG_DURATION, AT(sweep_period_ms), "1m", 100, DAY,
     .help = "Time between two sweeps of what no image uses."},
    {"catalog.sweep_grace", CONFIG_DURATION, AT(sweep_grace_ms), "15m", 0, 30 * DAY,
     .help = "Layers and package sets that were touched more recently are not swept."},
    {"catalog.sweep_lease", CONFIG_DURATION, AT(sweep_lease_ms), "30s", 1000, 60 * MINUTE,
     .help = "A process that died while it swept is replaced by another one after this long."},
    {"catalog.audit_period", CONFIG_DURATION, AT(audit_period_ms), "10m", 100, 30 * DAY,
     .help = "Time between two steps of the search for stored objects that nothing owns."},
    {"catalog.upload_expiry", CONFIG_DURATION, AT(upload_expiry_ms), "1d", 100, 365 * DAY,
     .help = "Uploads that were not analysed by then are removed."},
    {"catalog.event_keep", CONFIG_NUMBER, AT(event_keep), "100000", 100, 100000000, .help = "Events kept."},
    {"catalog.event_age", CONFIG_DURATION, AT(event_age_ms), "90d", 1000, 3650 * DAY,
     .help = "Events are kept no longer than this."},
    {"catalog.job_age", CONFIG_DURATION, AT(job_age_ms), "30d", 1000, 3650 * DAY,
     .help = "Jobs that ended are kept no longer than this, but for the newest of each image."},
    {"catalog.registry_ca_file", CONFIG_TEXT, AT(registry_ca_file), "",
     .help = "PEM file of certificate authorities that registries are checked against, instead of the system's."},
    CONFIG_END,
};
