/*
 * progress: one line on stderr that says what is going on, written over and over on a terminal, and only when it
 * changes elsewhere (--progress).
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "services/cli/cli.h"

struct progress {
	bool wanted, terminal;
	char last[256];
	size_t shown;   /* cells of the line that stands there */
	uint64_t bytes; /* that progress_bytes showed last */
};

void progress_init(struct progress *p, const struct cli *cli);
void progress_show(struct progress *p, const char *fmt, ...) PRINTF(2, 3);

/* "stored 3.0 MiB of 12.0 MiB"; total 0: not known. Once for each 4 MiB, and at the end. */
void progress_bytes(struct progress *p, const char *what, uint64_t done, uint64_t total);

/* Takes the line away: what follows begins at the left. */
void progress_end(struct progress *p);

#endif
