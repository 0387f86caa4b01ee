/*
 * report: the words between worker and child: the parameters on the command line, and a line of JSON on the report pipe
 * for progress, success or failure.
 */
#ifndef ANALYZER_PARSER_REPORT_H
#define ANALYZER_PARSER_REPORT_H

#include "services/analyzer-worker/parser/child.h"

#define REPORT_LINE_MAX 4096

struct report_parameters {
	struct layer_limits limits;
	enum codec codec;
	bool any_codec, may_repeat;
	uint64_t wants_at, wants_len; /* of a second reading, in the spill file */
};

/* On ctx. */
char *report_print_parameters(TALLOC_CTX *ctx, const struct report_parameters *p);
enum err_code report_parse_parameters(const char *text, struct report_parameters *p, struct err *e) MUST_CHECK;

enum report_kind { REPORT_PROGRESS, REPORT_DONE, REPORT_FAILED };

struct report {
	enum report_kind kind;
	struct layer_progress progress;
	struct layer_result result;
	struct err error;
};

/* Appends the line with its newline. */
void report_print(struct buf *out, const struct report *report);
enum err_code report_parse(const char *line, size_t len, struct report *report, struct err *e) MUST_CHECK;

#endif
