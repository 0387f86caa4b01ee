/*
 * values: what may stand where the help writes IMAGE, JOB or PLATFORM. Checked before anything is asked of a service,
 * so that a slip of the pen is wrong usage (exit status 2) and not a failed request.
 *
 * A check is as strict as the service behind it, never stricter: it knows the form of a value, not whether there is
 * such a thing. The errors quote the value and say what is expected.
 */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include "services/cli/command.h"

/* What the words of commands' arguments stand for. Words that are not listed may be anything. */
extern const struct argument_spec argument_specs[];

/* For options; see OPTION_TEXT. All of type value_check. */
value_check value_is_account, value_is_reference, value_is_tagged, value_is_tag_pattern, value_is_platform,
    value_is_annotation, value_is_ecosystem, value_is_number, value_is_percent, value_is_digest, value_is_key;

/* The words that `image content` takes for an ecosystem: its own name, or "os". NULL-terminated. */
extern const char *const ecosystems[];

/* Names in ls files of documents that an image may have: "manifest" ... NULL-terminated. */
extern const char *const content_documents[];

bool value_is_one_of(const char *text, const char *const *list);

/* The positive number that value_is_number has accepted. */
int64_t value_number(const char *text);

/* What value_is_percent has accepted ("5", "0.1", "0.1%"), in millionths of the whole: 1 to 1000000. */
int64_t value_percent(const char *text);

#endif
