#include "services/analyzer-worker/settings.h"

#include <math.h>
#include <stdlib.h>

#define AT(member) offsetof(struct settings, member)

const struct config_option settings_options[] = {
    {"analyzer_worker.tmp_dir", CONFIG_TEXT, AT(tmp_dir), "/var/lib/stowage/worker",
     .help = "Directory for scratch space and layer cache; one worker each."},
    {"analyzer_worker.scratch_dir", CONFIG_TEXT, AT(scratch_dir), "",
     .help = "Private scratch space; <tmp_dir>/scratch if empty. A worker holds its lock; what is in it is removed."},
    {"analyzer_worker.scratch_max_gigabytes", CONFIG_TEXT, AT(scratch_max_gigabytes), "20",
     .help = "The most that the scratch files of all running jobs may take together; fractions are allowed."},
    {"analyzer_worker.scratch_reserve_megabytes", CONFIG_NUMBER, AT(scratch_reserve_megabytes), "256", 0, 1 << 30,
     .help = "Free space of the file system that jobs leave alone."},
    {"analyzer_worker.layer_cache_enable", CONFIG_FLAG, AT(layer_cache_enable), "true",
     .help = "Keep downloaded layers for images analysed later."},
    {"analyzer_worker.layer_cache_max_gigabytes", CONFIG_TEXT, AT(layer_cache_max_gigabytes), "10",
     .help = "The most that kept layers may take, those being downloaded included; fractions are allowed."},
    {"analyzer_worker.document_cache_megabytes", CONFIG_NUMBER, AT(document_cache_megabytes), "24", 0, 1 << 20,
     .help = "Memory for documents of known layers that were read lately, and for what is known of stacks of layers."},
    {"analyzer_worker.jobs", CONFIG_NUMBER, AT(jobs), "1", 1, 64, .help = "Images analysed at the same time."},
    {"analyzer_worker.parallel_layers", CONFIG_NUMBER, AT(parallel_layers), "2", 1, 64,
     .help = "Layers of one image parsed at the same time, each in a process of its own."},
    {"analyzer_worker.job_timeout", CONFIG_DURATION, AT(job_timeout_ms), "2h", 1000, 7 * 86400000LL,
     .help = "An analysis that takes longer fails, and is tried again later."},
    {"analyzer_worker.allow_incomplete", CONFIG_FLAG, AT(allow_incomplete), "false",
     .help =
         "Accept an image with an unreadable package database, and mark its result incomplete, instead of failing it."},
    {"analyzer_worker.registry_ca_file", CONFIG_TEXT, AT(registry_ca_file), "",
     .help = "PEM file of certificate authorities that registries are checked against, instead of the system's."},
    {"analyzer_worker.layer_max_entries", CONFIG_NUMBER, AT(layer_max_entries), "10000000", 1, INT32_MAX,
     .help = "Entries in one layer's tar."},
    {"analyzer_worker.layer_max_gigabytes", CONFIG_NUMBER, AT(layer_max_gigabytes), "64", 1, 1 << 20,
     .help = "Size of one layer, uncompressed."},
    {"analyzer_worker.layer_max_ratio", CONFIG_NUMBER, AT(layer_max_ratio), "200", 2, 1 << 20,
     .help = "Bytes of tar for each compressed byte of a layer, beyond the first 64 MiB."},
    {"analyzer_worker.layer_max_cpu", CONFIG_NUMBER, AT(layer_max_cpu_seconds), "1800", 1, 1 << 20,
     .help = "Processor seconds for one layer."},
    {"analyzer_worker.layer_max_memory_megabytes", CONFIG_NUMBER, AT(layer_max_memory_megabytes), "512", 64, 1 << 20,
     .help = "Address space of the process that parses one layer."},
    CONFIG_END,
};

enum err_code settings_gigabytes(const char *key, const char *text, uint64_t *bytes, struct err *e)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !isfinite(value) || value < 0 || value > 1e6)
		return ERR(e, ERR_INVALID, "%s: \"%s\" is not a number of gigabytes", key, text);
	*bytes = (uint64_t)(value * (double)GIB);
	return ERR_OK;
}

struct layer_limits settings_limits(const struct settings *s)
{
	struct layer_limits limits = layer_limits_default;

	limits.entries = (uint64_t)s->layer_max_entries;
	limits.unpacked = (uint64_t)s->layer_max_gigabytes * GIB;
	limits.ratio = (uint64_t)s->layer_max_ratio;
	limits.cpu_seconds = (uint64_t)s->layer_max_cpu_seconds;
	limits.memory = (uint64_t)s->layer_max_memory_megabytes * MIB;
	return limits;
}
