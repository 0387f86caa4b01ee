#include "services/cli/commands.h"

#define NUMBER_MAX ((int64_t)1 << 53)
#define END                                                                                                            \
	{                                                                                                              \
		.name = NULL                                                                                           \
	}
#define FLAG(n, h)                                                                                                     \
	{                                                                                                              \
		.name = (n), .kind = OPTION_FLAG, .help = (h)                                                          \
	}
#define TEXT(n, v, h)                                                                                                  \
	{                                                                                                              \
		.name = (n), .kind = OPTION_TEXT, .value = (v), .help = (h)                                            \
	}
#define TEXTS(n, v, h)                                                                                                 \
	{                                                                                                              \
		.name = (n), .kind = OPTION_TEXT, .value = (v), .repeatable = true, .help = (h)                        \
	}
#define CHOICE(n, v, c, h)                                                                                             \
	{                                                                                                              \
		.name = (n), .kind = OPTION_TEXT, .value = (v), .choices = (c), .help = (h)                            \
	}
#define NUMBER(n, v, low, high, h)                                                                                     \
	{                                                                                                              \
		.name = (n), .kind = OPTION_NUMBER, .value = (v), .least = (low), .most = (high), .help = (h)          \
	}
#define DURATION(n, v, h)                                                                                              \
	{                                                                                                              \
		.name = (n), .kind = OPTION_DURATION, .value = (v), .help = (h)                                        \
	}
#define LIMIT NUMBER("limit", "N", 1, NUMBER_MAX, "at most so many")

const struct option_spec global_options[] = {
    TEXTS("config", "FILE", "configuration, else $STOWAGE_CONFIG, else /etc/stowage/stowage.yaml"),
    TEXT("account", "NAME", "whose images; \"default\" if not given"),
    FLAG("json", "one JSON document instead of tables"),
    DURATION("timeout", "TIME", "give up after this long: 500ms, 30s, 10m"),
    FLAG("progress", "say on stderr what goes on, also when that is no terminal"),
    FLAG("help", "what there is"),
    END,
};

static const char *const image_states[] = {"queued", "analysing", "analysed", "failed", NULL};
static const char *const job_states[] = {"queued", "leased", "done", "failed", "quarantined", "cancelled", NULL};
static const char *const sbom_formats[] = {"cyclonedx-json", "spdx-json", NULL};

static const struct option_spec add_options[] = {
    FLAG("wait", "until the analysis ended"),
    FLAG("force", "analyse again what is known"),
    TEXT("platform", "P", "of an index: os/arch[/variant]"),
    TEXTS("annotation", "K=V", "kept with the image"),
    TEXT("dockerfile", "FILE", "kept with the image"),
    END,
};
static const struct option_spec import_options[] = {
    TEXTS("tag", "REF", "name it so"),
    FLAG("wait", "until the analysis ended"),
    FLAG("force", "analyse again what is known"),
    TEXT("platform", "P", "of an index: os/arch[/variant]"),
    TEXT("name", "NAME", "which one, where PATH has several images"),
    TEXTS("annotation", "K=V", "kept with the image"),
    END,
};
static const struct option_spec image_ls_options[] = {
    TEXT("tag", "PATTERN", "named so; * stands for anything"),
    CHOICE("status", "S", image_states, "only these"),
    LIMIT,
    END,
};
static const struct option_spec image_rm_options[] = {
    FLAG("force", "although its analysis is under way"),
    END,
};
static const struct option_spec sbom_options[] = {
    CHOICE("format", "F", sbom_formats, "which format"),
    TEXT("output", "FILE", "instead of stdout"),
    END,
};
static const struct option_spec find_options[] = {
    TEXT("version", "V", "exactly this version, or a prefix that ends in *"),
    TEXT("type", "T", "only of this ecosystem: dpkg, npm, python ..."),
    LIMIT,
    END,
};
static const struct option_spec job_ls_options[] = {
    CHOICE("state", "S", job_states, "only these"),
    LIMIT,
    END,
};
static const struct option_spec archive_add_options[] = {
    FLAG("detach", "then take it out of the working set"),
    FLAG("wait", "until it is done; that is so anyway"),
    FLAG("no-wait", "do not wait until it is done"),
    END,
};
static const struct option_spec archive_restore_options[] = {
    FLAG("wait", "until it is done; that is so anyway"),
    FLAG("no-wait", "do not wait until it is done"),
    END,
};
static const struct option_spec archive_rm_options[] = {
    FLAG("force", "although the archive has the only copy"),
    FLAG("wait", "until it is done; that is so anyway"),
    FLAG("no-wait", "do not wait until it is done"),
    END,
};
static const struct option_spec gc_options[] = {
    DURATION("grace", "TIME", "untouched for at least so long"),
    FLAG("no-grace", "at once; only when nothing is being written"),
    END,
};
static const struct option_spec object_ls_options[] = {
    TEXT("prefix", "P", "keys that begin so"),
    LIMIT,
    END,
};
static const struct option_spec object_get_options[] = {
    TEXT("output", "FILE", "instead of stdout"),
    END,
};
static const struct option_spec registry_add_options[] = {
    TEXT("user", "NAME", "to log in as"),
    FLAG("password-stdin", "read the password from stdin; else it is $STOWAGE_REGISTRY_PASSWORD"),
    FLAG("insecure", "plain HTTP and unknown certificates are fine"),
    END,
};
static const struct option_spec limit_options[] = {
    LIMIT,
    END,
};

const struct command commands[] = {
    {"status", "", NULL, cmd_status, "every service, the queue, the stores, the last errors"},

    {"image add", "REF", add_options, cmd_image_add, "analyse an image of a registry"},
    {"image import", "PATH", import_options, cmd_image_import, "analyse a docker-archive or an OCI layout"},
    {"image ls", "", image_ls_options, cmd_image_ls, "images, newest first"},
    {"image get", "IMAGE", NULL, cmd_image_get, "everything about one"},
    {"image wait", "IMAGE", NULL, cmd_image_wait, "until its analysis ended"},
    {"image rm", "IMAGE", image_rm_options, cmd_image_rm, "out of the working set; an archived copy stays"},
    {"image history", "REF", NULL, cmd_image_history, "what a tag has named"},
    {"image content", "IMAGE TYPE", NULL, cmd_image_content,
     "os, packages, an ecosystem (dpkg, npm ...), licenses, files, suid, manifest, config, dockerfile"},
    {"image sbom", "IMAGE", sbom_options, cmd_image_sbom, "a software bill of materials"},
    {"image diff", "A B", NULL, cmd_image_diff, "packages and files added, removed, changed"},

    {"find package", "NAME", find_options, cmd_find_package, "images that have it, archived ones too"},

    {"job ls", "", job_ls_options, cmd_job_ls, "analyses, newest first"},
    {"job get", "JOB", NULL, cmd_job_get, "one: who holds it, attempts, last error"},
    {"job cancel", "JOB", NULL, cmd_job_cancel, "stop one that waits or runs"},
    {"job retry", "JOB", NULL, cmd_job_retry, "try one again that failed"},

    {"archive add", "IMAGE...", archive_add_options, cmd_archive_add, "copy images into the archive"},
    {"archive ls", "", limit_options, cmd_archive_ls, "archived images"},
    {"archive get", "IMAGE", NULL, cmd_archive_get, "one of them"},
    {"archive restore", "IMAGE...", archive_restore_options, cmd_archive_restore, "back into the working set"},
    {"archive rm", "IMAGE...", archive_rm_options, cmd_archive_rm, "out of the archive"},
    {"archive summary", "", NULL, cmd_archive_summary, "counts and bytes"},

    {"store ls", "", NULL, cmd_store_ls, "the stores and what they write to"},
    {"store stats", "[STORE]", NULL, cmd_store_stats, "objects, chunks, bytes"},
    {"store verify", "STORE", NULL, cmd_store_verify, "read everything back and check it"},
    {"store gc", "STORE", gc_options, cmd_store_gc, "remove chunks that no object names"},
    {"store object ls", "STORE BUCKET", object_ls_options, cmd_object_ls, "objects of the account"},
    {"store object get", "STORE BUCKET KEY", object_get_options, cmd_object_get, "the content of one"},
    {"store object put", "STORE BUCKET KEY FILE", NULL, cmd_object_put, "make one of a file; - is stdin"},
    {"store object rm", "STORE BUCKET KEY", NULL, cmd_object_rm, "remove one"},

    {"registry add", "HOST", registry_add_options, cmd_registry_add, "how to log in to a registry"},
    {"registry ls", "", NULL, cmd_registry_ls, "registries with settings"},
    {"registry rm", "HOST", NULL, cmd_registry_rm, "forget one"},

    {"account add", "NAME", NULL, cmd_account_add, "a new account"},
    {"account ls", "", NULL, cmd_account_ls, "all accounts"},
    {"account rm", "NAME", NULL, cmd_account_rm, "remove one without images"},

    {"event ls", "", limit_options, cmd_event_ls, "what happened, newest first"},
    {.path = NULL},
};
