#include "services/cli/commands.h"
#include "services/cli/values.h"

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
#define CHECKED(n, v, f, h)                                                                                            \
	{                                                                                                              \
		.name = (n), .kind = OPTION_TEXT, .value = (v), .check = (f), .help = (h)                              \
	}
#define CHECKEDS(n, v, f, h)                                                                                           \
	{                                                                                                              \
		.name = (n), .kind = OPTION_TEXT, .value = (v), .repeatable = true, .check = (f), .help = (h)          \
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
#define LIMIT NUMBER("limit", "N", 1, NUMBER_MAX, "show at most N; all of them if not given")
#define AFTER(f) CHECKED("after", "NEXT", (f), "go on where a list ended: the \"next\" that it gave")

const struct option_spec global_options[] = {
    TEXTS("config", "FILE",
          "the configuration; else $STOWAGE_CONFIG, else /etc/stowage/stowage.yaml. Of several, later ones overrule"),
    CHECKED("account", "NAME", value_is_account, "the account that is meant; \"default\" if not given"),
    FLAG("json", "print one JSON document instead of tables, also for errors"),
    DURATION("timeout", "TIME", "give up after this long: 500ms, 30s, 10m, 2h"),
    FLAG("progress", "show on stderr what goes on, also when that is no terminal"),
    FLAG("help", "explain the command, the noun before it, or everything"),
    END,
};

static const char *const image_states[] = {"queued", "analysing", "analysed", "failed", NULL};
static const char *const job_states[] = {"queued", "leased", "done", "failed", "quarantined", "cancelled", NULL};
static const char *const sbom_formats[] = {"cyclonedx-json", "spdx-json", NULL};

static const struct option_spec add_options[] = {
    FLAG("wait", "do not return before the analysis has ended"),
    FLAG("force", "analyse the image again although it is known"),
    CHECKED("platform", "PLATFORM", value_is_platform,
            "which image of an index: os/arch[/variant], as linux/arm64; the services' own platform if not given"),
    CHECKEDS("annotation", "KEY=VALUE", value_is_annotation, "a note to keep with the image"),
    TEXT("dockerfile", "FILE", "the Dockerfile that made the image, to keep with it"),
    END,
};
static const struct option_spec import_options[] = {
    CHECKEDS("tag", "REF", value_is_tagged, "name the image so, instead of what the file says"),
    FLAG("wait", "do not return before the analysis has ended"),
    FLAG("force", "analyse the image again although it is known"),
    CHECKED("platform", "PLATFORM", value_is_platform,
            "which image of an index: os/arch[/variant], as linux/arm64; this machine's platform if not given"),
    TEXT("name", "NAME", "which image, where PATH has several"),
    CHECKEDS("annotation", "KEY=VALUE", value_is_annotation, "a note to keep with the image"),
    END,
};
static const struct option_spec image_ls_options[] = {
    CHECKED("tag", "PATTERN", value_is_tag_pattern,
            "only images that a tag names: a whole reference, or a pattern in which * stands for anything"),
    CHOICE("status", "STATUS", image_states, "only those"),
    LIMIT,
    AFTER(NULL),
    END,
};
static const struct option_spec image_rm_options[] = {
    FLAG("force", "also while it is being analysed; that is cancelled"),
    END,
};
static const struct option_spec sbom_options[] = {
    CHOICE("format", "FORMAT", sbom_formats, "cyclonedx-json if not given"),
    TEXT("output", "FILE", "write to FILE instead of stdout"),
    END,
};
static const struct option_spec find_options[] = {
    TEXT("version", "VERSION", "exactly this version, or all that begin so when it ends in *"),
    CHECKED("type", "TYPE", value_is_ecosystem, "only of this ecosystem: dpkg, npm, python ..."),
    LIMIT,
    AFTER(NULL),
    END,
};
static const struct option_spec job_ls_options[] = {
    CHOICE("state", "STATE", job_states, "only those"),
    LIMIT,
    AFTER(value_is_number),
    END,
};
static const struct option_spec archive_add_options[] = {
    FLAG("detach", "then take the images out of the working set: only the archive has them"),
    FLAG("wait", "return when it is done (the default)"),
    FLAG("no-wait", "return when it has begun"),
    END,
};
static const struct option_spec archive_ls_options[] = {
    LIMIT,
    AFTER(value_is_digest),
    END,
};
static const struct option_spec archive_restore_options[] = {
    FLAG("wait", "return when it is done (the default)"),
    FLAG("no-wait", "return when it has begun"),
    END,
};
static const struct option_spec archive_rm_options[] = {
    FLAG("force", "also images that only the archive has: they are gone then"),
    FLAG("wait", "return when it is done (the default)"),
    FLAG("no-wait", "return when it has begun"),
    END,
};
static const struct option_spec verify_options[] = {
    CHECKED("sample", "PERCENT", value_is_percent, "only so many of a hundred chunks, at random: 5, 0.1"),
    NUMBER("count", "N", 1, NUMBER_MAX, "only N chunks, at random"),
    FLAG("heal", "write damaged chunks anew where there is a good copy (the default)"),
    FLAG("no-heal", "only look"),
    END,
};
static const struct option_spec scrub_options[] = {
    NUMBER("limit", "N", 1, 1000, "name at most N damaged chunks; 100 if not given"),
    END,
};
static const struct option_spec audit_options[] = {
    TEXT("backend", "NAME", "only this one; `store backends` lists them"),
    FLAG("remove-orphans", "remove what no row names"),
    FLAG("mark-missing", "mark rows without bytes as damaged, and heal them where there is a good copy"),
    END,
};
static const struct option_spec gc_options[] = {
    DURATION("grace", "TIME", "only chunks that were not touched for this long; as configured if not given"),
    FLAG("no-grace", "without waiting: only when nothing is being written"),
    END,
};
static const struct option_spec compact_options[] = {
    NUMBER("below", "PERCENT", 1, 95, "empty tables that are filled less than that; 70 if not given"),
    END,
};
static const struct option_spec migrate_options[] = {
    TEXT("from", "NAME", "the back end to empty; `store backends` lists them"),
    TEXT("to", "NAME", "the back end to fill"),
    NUMBER("rate", "MB/s", 1, 1000000, "read at most so many million bytes a second; no limit if not given"),
    FLAG("keep-source", "keep what is in the source, as spare copies"),
    FLAG("wait", "until the migration ended"),
    END,
};
static const struct option_spec quota_set_options[] = {
    NUMBER("megabytes", "N", 1, 9000000000, "at most so many million bytes of content"),
    NUMBER("objects", "N", 1, NUMBER_MAX, "at most so many objects"),
    TEXT("store", "STORE", "object_store if not given"),
    END,
};
static const struct option_spec quota_options[] = {
    TEXT("store", "STORE", "object_store if not given; with ls, all"),
    END,
};
static const struct option_spec object_ls_options[] = {
    TEXT("prefix", "PREFIX", "only keys that begin so"),
    LIMIT,
    AFTER(value_is_key),
    END,
};
static const struct option_spec object_get_options[] = {
    TEXT("output", "FILE", "write to FILE instead of stdout"),
    END,
};
static const struct option_spec object_put_options[] = {
    FLAG("force", "also into a bucket that the services use themselves"),
    END,
};
static const struct option_spec object_rm_options[] = {
    FLAG("force", "also from a bucket that the services use themselves"),
    END,
};
static const struct option_spec registry_add_options[] = {
    TEXT("user", "NAME", "who logs in; nobody if not given"),
    FLAG("password-stdin", "the password is the first line of stdin; else it is $STOWAGE_REGISTRY_PASSWORD"),
    FLAG("insecure", "plain HTTP and certificates that nobody vouches for are fine"),
    END,
};
static const struct option_spec event_ls_options[] = {
    NUMBER("limit", "N", 1, NUMBER_MAX, "show at most N; 100 if not given"),
    AFTER(value_is_number),
    END,
};

/* What a command's own help says besides; a line each, since it is wrapped when it is printed. */
static const char add_details[] =
    "The tag is looked up at once and the image it names is queued; layers that are known are not fetched again. "
    "Without --wait the answer is the image's digest, and `image wait` tells how it ended.";
static const char import_details[] =
    "Sends what the service does not have yet to the object store and queues the image. No registry is asked. The same "
    "content gives the same digest each time, so importing again is harmless.";
static const char rm_details[] = "A copy in the archive stays and can be restored. `archive rm` removes that one.";
static const char content_details[] =
    "files is the merged tree of all layers; suid are those of its files that have a setuid or setgid bit. manifest, "
    "config and dockerfile are printed byte for byte as they were stored.";
static const char wait_details[] = "Returns at once when it has ended long ago. A failed analysis is a failed request, "
				   "and its reason the error.";
static const char find_details[] = "Quote a version with *, so that the shell leaves it alone: --version '2.14.*'";
static const char archive_add_details[] =
    "A copy is read back and checked before anything says that it is archived. Adding what is archived is harmless.";
static const char verify_details[] =
    "The answer names damaged chunks and the objects that they belong to. A damaged chunk is written anew where there "
    "is a good copy: a spare one, or the same content in the other store. It is a failed request if damage is left, or "
    "if something could not be read because its back end is away.";
static const char scrub_details[] =
    "The services read everything back all the time, as fast as object_store_gateway.scrub_rate allows, and heal what "
    "they can. This tells how far they are, what the last passes found, and which chunks are damaged now.";
static const char audit_details[] =
    "Lists the store's back ends and compares them with the rows that say what is there. What is on one side only is "
    "a failed request, unless it was put right. What is written or removed meanwhile is never reported. "
    "With --remove-orphans, be sure that no other installation has the same bucket and prefix, and that the database "
    "is not an old copy: what they know and this one does not is removed.";
static const char migrate_details[] =
    "Without STORE it is object_store. The configuration names the new back end first; what is in the old one stays "
    "readable, and moves when you say so. Each copy is read back before the source's is removed. It runs in the "
    "services, goes on after a restart, and has failed when a single chunk could not be moved. With --keep-source the "
    "source's copies stay as spare ones until a migration without it.";
static const char rekey_details[] =
    "The first of the keys in the configuration is the current one; where it is the word none, chunks are decrypted. "
    "All "
    "gateways must have the same keys before. Runs while the system serves; when it was interrupted, run it again. "
    "After it "
    "has succeeded no chunk names another key, and the old ones may go from the configuration.";
static const char quota_details[] = "At least one of --megabytes and --objects. What is there already counts, and "
				    "stays even if it is more: only growth is "
				    "refused. Content counts as its readers get it, however little of it is stored.";
static const char check_details[] =
    "Does what a start of the gateway does, with the files that --config names, whether or not they are in use: "
    "reaches "
    "each store's back end, logs in, writes a chunk, reads it back and removes it. The gateway need not run.";
static const char compact_details[] =
    "For chunks in the database: `store gc` removes rows, which later chunks take the place of; this moves what is "
    "left "
    "out of sparse tables and drops them, so that the disk has the space back. Readers and writers go on meanwhile. "
    "Two "
    "stores that are both in the database share its tables. The gateway does the same by itself where a table is very "
    "sparse. What ends early is gone on with the next time.";
static const char put_details[] =
    "Content is sent in chunks of 4 MiB, and chunks that the store has are not sent: a put that was interrupted goes "
    "on "
    "where it was when it is given again. The object appears when all is there, and replaces one of that key. Objects "
    "of "
    "no bytes and of up to 128 GiB are fine.\n\n"
    "The buckets layers, images, uploads and archive belong to the services: what is changed there by hand breaks "
    "images, so that takes --force.";
static const char get_details[] = "The content is checked while it is read. With --output the file is there only when "
				  "that was right; on stdout, look "
				  "at the exit status.";
static const char object_rm_details[] =
    "Space comes back with the next `store gc`. Removing what is not there is fine. "
    "The buckets layers, images, uploads and archive belong to the services: "
    "removing from those takes --force.";
static const char registry_details[] =
    "For the account that --account names. Adding a registry again replaces what was known of it. Passwords are "
    "encrypted where they are kept, and never printed.";
static const char status_details[] =
    "Asks each replica that the configuration names. Exit status 1 when some of them do "
    "not answer, 3 when none does.";

const struct command commands[] = {
    {"status", "", NULL, cmd_status, "Show all services, the stores, the queue and the last errors.", status_details},

    {"image add", "REF", add_options, cmd_image_add, "Analyse an image from a registry.", add_details},
    {"image import", "PATH", import_options, cmd_image_import, "Analyse a docker-archive or an OCI layout from disk.",
     import_details},
    {"image ls", "", image_ls_options, cmd_image_ls, "List images, newest first.", NULL},
    {"image get", "IMAGE", NULL, cmd_image_get, "Show what is known of an image.", NULL},
    {"image wait", "IMAGE", NULL, cmd_image_wait, "Wait until an image's analysis has ended.", wait_details},
    {"image rm", "IMAGE", image_rm_options, cmd_image_rm, "Remove an image from the working set.", rm_details},
    {"image history", "REF", NULL, cmd_image_history, "List the images that a tag has named, newest first.", NULL},
    {"image content", "IMAGE TYPE", NULL, cmd_image_content, "Print what is in an image: packages, files, licenses ...",
     content_details},
    {"image sbom", "IMAGE", sbom_options, cmd_image_sbom, "Print a software bill of materials.", NULL},
    {"image diff", "A B", NULL, cmd_image_diff, "Show in which packages and files two images differ.", NULL},

    {"find package", "NAME", find_options, cmd_find_package, "List images that have a package, archived ones too.",
     find_details},

    {"job ls", "", job_ls_options, cmd_job_ls, "List analyses and how they went, newest first.", NULL},
    {"job get", "JOB", NULL, cmd_job_get, "Show a job: who works on it, attempts, the last error.", NULL},
    {"job cancel", "JOB", NULL, cmd_job_cancel, "Stop a job that waits or runs.", NULL},
    {"job retry", "JOB", NULL, cmd_job_retry, "Try a job again that failed or was cancelled.", NULL},

    {"archive add", "IMAGE...", archive_add_options, cmd_archive_add, "Copy images into the archive.",
     archive_add_details},
    {"archive ls", "", archive_ls_options, cmd_archive_ls, "List archived images.", NULL},
    {"archive get", "IMAGE", NULL, cmd_archive_get, "Show an archived image.", NULL},
    {"archive restore", "IMAGE...", archive_restore_options, cmd_archive_restore,
     "Bring images back into the working set.", NULL},
    {"archive rm", "IMAGE...", archive_rm_options, cmd_archive_rm, "Remove images from the archive.", NULL},
    {"archive summary", "", NULL, cmd_archive_summary, "Count what is in the archive.", NULL},

    {"store ls", "", NULL, cmd_store_ls, "List the stores and what they write to.", NULL},
    {"store stats", "[STORE]", NULL, cmd_store_stats,
     "Count a store's objects, chunks and bytes; of all if none is named.", NULL},
    {"store verify", "STORE", verify_options, cmd_store_verify, "Read a store's chunks back, check and heal them.",
     verify_details},
    {"store scrub", "STORE", scrub_options, cmd_store_scrub, "Show how far the reading-back in the background is.",
     scrub_details},
    {"store audit", "STORE", audit_options, cmd_store_audit, "Compare what back ends hold with what they should.",
     audit_details},
    {"store check", "", NULL, cmd_store_check, "Try out the back ends that a configuration names.", check_details},
    {"store gc", "STORE", gc_options, cmd_store_gc, "Remove chunks that no object names.", NULL},
    {"store compact", "STORE", compact_options, cmd_store_compact,
     "Give the space of removed chunks back to the system.", compact_details},
    {"store backends", "[STORE]", NULL, cmd_store_backends,
     "List the back ends that hold chunks of a store; of all if none is named.", NULL},
    {"store migrate start", "[STORE]", migrate_options, cmd_store_migrate_start,
     "Move what is in one back end to another, while the system serves.", migrate_details},
    {"store migrate status", "[STORE]", NULL, cmd_store_migrate_status, "Show how far a migration is.", NULL},
    {"store migrate stop", "[STORE]", NULL, cmd_store_migrate_stop,
     "Stop a migration; starting it again goes on with what is left.", NULL},
    {"store rekey", "STORE", NULL, cmd_store_rekey, "Write chunks anew that are not encrypted with the current key.",
     rekey_details},
    {"store quota set", "ACCOUNT", quota_set_options, cmd_store_quota_set, "Limit what an account may keep in a store.",
     quota_details},
    {"store quota ls", "[ACCOUNT]", quota_options, cmd_store_quota_ls, "List quotas and what is used of them.", NULL},
    {"store quota rm", "ACCOUNT", quota_options, cmd_store_quota_rm, "Remove an account's quota.", NULL},
    {"store object ls", "STORE BUCKET", object_ls_options, cmd_object_ls, "List the account's objects in a bucket.",
     NULL},
    {"store object get", "STORE BUCKET KEY", object_get_options, cmd_object_get, "Print an object's content.",
     get_details},
    {"store object put", "STORE BUCKET KEY FILE", object_put_options, cmd_object_put, "Store a file as an object.",
     put_details},
    {"store object rm", "STORE BUCKET KEY", object_rm_options, cmd_object_rm, "Remove an object.", object_rm_details},

    {"registry add", "HOST", registry_add_options, cmd_registry_add, "Say how to log in to a registry.",
     registry_details},
    {"registry ls", "", NULL, cmd_registry_ls, "List the registries that were added.", NULL},
    {"registry rm", "HOST", NULL, cmd_registry_rm, "Forget a registry.", NULL},

    {"account add", "ACCOUNT", NULL, cmd_account_add, "Make an account: images and objects belong to one.", NULL},
    {"account ls", "", NULL, cmd_account_ls, "List all accounts.", NULL},
    {"account rm", "ACCOUNT", NULL, cmd_account_rm, "Remove an account that has no images.", NULL},

    {"event ls", "", event_ls_options, cmd_event_ls, "List what happened to images, newest first.", NULL},
    {.path = NULL},
};

const struct vocabulary vocabulary = {commands, global_options, argument_specs};
