/*
 * file_json: a file of an image as members of a JSON object, the same wherever the command line prints one.
 *
 * Names are any bytes. JSON holds UTF-8 only, so beside a name that is not UTF-8 stand its exact bytes, escaped as in
 * the layers' documents (proto/document/files.h): "path_escaped", "link_escaped".
 */
#ifndef CLI_FILE_JSON_H
#define CLI_FILE_JSON_H

#include "proto/document/files.h"
#include "services/cli/json_writer.h"

/* "path". */
void file_json_path(struct json_writer *w, const struct files_entry *f);

/* Type (a letter), mode (octal), uid, gid; size and sha256 of a regular file, link of one that has a target, device
 * ("MAJOR,MINOR") of a device. */
void file_json_state(struct json_writer *w, const struct files_entry *f);

#endif
