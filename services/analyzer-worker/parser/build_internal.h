/*
 * build_internal: the two walks over a layer's sorted records that make its documents.
 *
 * The first finds out what cannot be known while lines are written in order: what hard links' targets are, which may
 * stand anywhere, and which directories must be added before what is below them. The second writes.
 */
#ifndef ANALYZER_PARSER_BUILD_INTERNAL_H
#define ANALYZER_PARSER_BUILD_INTERNAL_H

#include "services/analyzer-worker/parser/build.h"
#include "services/analyzer-worker/parser/follow.h"
#include "services/analyzer-worker/parser/links.h"
#include "services/analyzer-worker/parser/sorter.h"

/* Where in the log the packed record is that a hard link stands for. It is itself of type FILES_HARDLINK when the layer
 * does not have the file, and its link is then the path to look for below. */
struct build_answer {
	uint64_t at;
	uint32_t len;
};

struct build {
	const struct layer_limits *limits;
	struct spill_log *log;
	struct sorter *sorter;
	struct links *links;
	struct follow *follow;
	uint64_t entries;
	struct wants *missing;
	const struct wants *found;
	struct build_answer *answers; /* made by build_prepare */
	size_t answer_count;
};

enum err_code build_prepare(struct build *b, struct err *e) MUST_CHECK;
enum err_code build_print(struct build *b, files_write write_files, void *files_arg, files_write write_summary,
                          void *summary_arg, struct summary_counts *counts, struct err *e) MUST_CHECK;

#endif
