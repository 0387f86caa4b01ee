#include "services/cli/progress.h"

#include "services/cli/output.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#define BYTES_STEP (4 * MIB)

void progress_init(struct progress *p, const struct cli *cli)
{
	*p = (struct progress){.wanted = cli->progress, .terminal = isatty(STDERR_FILENO)};
}

static void show_line(struct progress *p, const char *line)
{
	if (!p->wanted || strcmp(line, p->last) == 0)
		return;
	snprintf(p->last, sizeof(p->last), "%s", line);
	if (p->terminal)
		fprintf(stderr, "\r%s\033[K", line);
	else
		fprintf(stderr, "%s\n", line);
	fflush(stderr);
	p->shown = 1;
}

void progress_show(struct progress *p, const char *fmt, ...)
{
	char line[sizeof(p->last)];
	va_list list;

	va_start(list, fmt);
	vsnprintf(line, sizeof(line), fmt, list);
	va_end(list);
	show_line(p, line);
}

void progress_bytes(struct progress *p, const char *what, uint64_t done, uint64_t total)
{
	SCRATCH_CTX(scratch);
	const char *bytes = show_bytes(scratch, (int64_t)done);

	if (!p->wanted || (done / BYTES_STEP == p->bytes / BYTES_STEP && done != total))
		return;
	p->bytes = done;
	if (total)
		progress_show(p, "%s %s of %s", what, bytes, show_bytes(scratch, (int64_t)MAX(total, done)));
	else
		progress_show(p, "%s %s", what, bytes);
}

void progress_end(struct progress *p)
{
	if (p->terminal && p->shown)
		fputs("\r\033[K", stderr);
	p->shown = 0;
}
