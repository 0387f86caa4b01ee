/* help: what the table of commands says, for people. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "services/cli/command.h"

#include <stdio.h>

/* topic: "" for all, "image" for the commands that begin so, "image add" for one with its options. */
void help_print(FILE *out, const struct vocabulary *v, const char *topic);

/* One line for each command that begins with topic. */
void help_usage(FILE *out, const struct vocabulary *v, const char *topic);

#endif
