/* commands: the functions behind the table of commands, grouped by noun, a file each (cmd_<noun>.c). */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "services/cli/cli.h"

typedef enum err_code command_function(struct cli *cli, const struct args *args, struct err *e);

command_function cmd_status;

command_function cmd_image_add, cmd_image_import, cmd_image_ls, cmd_image_get, cmd_image_wait, cmd_image_rm,
    cmd_image_history;
command_function cmd_image_content, cmd_image_sbom, cmd_image_diff;
command_function cmd_find_package;

command_function cmd_job_ls, cmd_job_get, cmd_job_cancel, cmd_job_retry;

command_function cmd_archive_add, cmd_archive_ls, cmd_archive_get, cmd_archive_restore, cmd_archive_rm,
    cmd_archive_summary;

command_function cmd_store_ls, cmd_store_stats, cmd_store_verify, cmd_store_scrub, cmd_store_audit, cmd_store_gc,
    cmd_store_compact, cmd_store_backends, cmd_store_migrate_start, cmd_store_migrate_status, cmd_store_migrate_stop,
    cmd_store_check, cmd_store_quota_set, cmd_store_quota_ls, cmd_store_quota_rm, cmd_store_rekey;
command_function cmd_object_ls, cmd_object_get, cmd_object_put, cmd_object_rm;

command_function cmd_registry_add, cmd_registry_ls, cmd_registry_rm;
command_function cmd_account_add, cmd_account_ls, cmd_account_rm;
command_function cmd_event_ls;

#endif
