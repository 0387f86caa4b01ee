/*
 * settings: what an operator can set for a worker, section analyzer_worker of the configuration. The table in
 * settings.c is the reference.
 */
#ifndef ANALYZER_SETTINGS_H
#define ANALYZER_SETTINGS_H

#include "common/process.h"
#include "services/analyzer-worker/parser/child.h"

struct settings {
	struct process_config process;
	const char *tmp_dir;
	const char *scratch_dir; /* "": <tmp_dir>/scratch */
	const char *scratch_max_gigabytes;
	int64_t scratch_reserve_megabytes;
	bool layer_cache_enable;
	const char *layer_cache_max_gigabytes;
	int64_t document_cache_megabytes;
	int64_t jobs, parallel_layers;
	int64_t job_timeout_ms;
	bool allow_incomplete;
	const char *registry_ca_file;
	int64_t layer_max_entries, layer_max_gigabytes, layer_max_ratio, layer_max_cpu_seconds,
	    layer_max_memory_megabytes;
};

extern const struct config_option settings_options[];

/* Decimal gigabytes ("0.5", "20") to bytes (of 2^30). ERR_INVALID names key and value. */
enum err_code settings_gigabytes(const char *key, const char *text, uint64_t *bytes, struct err *e) MUST_CHECK;

/* The limits for the parser. */
struct layer_limits settings_limits(const struct settings *s);

#endif
