/*
 * listing: many records as a table for people, or as {"items": [...]}.
 *
 *     struct listing *l = listing_new(cli, record_image_item(), columns);
 *     ... for each: listing_add(l, &item, cells..., e)
 *     listing_end(l, "no images");
 *
 * The document is written as the records come; a table is printed at the end, when its widths are known.
 */
#ifndef CLI_LISTING_H
#define CLI_LISTING_H

#include "services/cli/cli.h"
#include "services/cli/table.h"

struct listing;

struct listing *listing_new(struct cli *cli, const struct proto_record *record, const struct table_column *columns);

/* One record, and the cells that people see of it. */
enum err_code listing_add_cells(struct listing *l, const void *item, const char *const *cells, size_t count,
                                struct err *e) MUST_CHECK;
#define listing_add(l, item, e, ...)                                                                                   \
	listing_add_cells((l), (item), (const char *const[]){__VA_ARGS__},                                             \
	                  ARRAY_SIZE(((const char *const[]){__VA_ARGS__})), (e))

/* nothing: what people read when there was no record; NULL: nothing. */
void listing_end(struct listing *l, const char *nothing);

#endif
