/*
 * listing: many records as a table for people, or as {"items": [...], "more": false}.
 *
 *     struct listing *l = listing_new(cli, record_account_item(), columns);
 *     ... for each: listing_add(l, &item, cells..., e)
 *     listing_end(l, "no accounts");
 *
 * Where the service answers in pages, --limit and --after belong to the listing:
 *
 *     listing_pages(l, LISTING_ALL);
 *     while ((request.limit = listing_wants(l)) > 0) {
 *             request.after = listing_cursor(l);
 *             TRY(listing_asked(l, call_image_list(...), e));
 *             ... for each: listing_add(...)
 *             TRY(listing_page(l, page.items_count, page.more, cursor of the last item, e));
 *     }
 *
 * The document is written as the records come, from the first record on, so a request that fails at once leaves stdout
 * empty; a table is printed at the end, when its widths are known. When there is more than was asked for, the document
 * has "more": true and the cursor as "next"; people are told on stderr.
 */
#ifndef CLI_LISTING_H
#define CLI_LISTING_H

#include "services/cli/cli.h"
#include "services/cli/table.h"

#define LISTING_ALL INT64_MAX

struct json_writer;
struct listing;

struct listing *listing_new(struct cli *cli, const struct proto_record *record, const struct table_column *columns);

/* A field of the document before its items; both are copied. Before the first record. */
void listing_head(struct listing *l, const char *name, const char *value);

/* One record, and the cells that people see of it. */
enum err_code listing_add_cells(struct listing *l, const void *item, const char *const *cells, size_t count,
                                struct err *e) MUST_CHECK;
#define listing_add(l, item, e, ...)                                                                                   \
	listing_add_cells((l), (item), (const char *const[]){__VA_ARGS__},                                             \
	                  ARRAY_SIZE(((const char *const[]){__VA_ARGS__})), (e))

/* most: records when no --limit is given. */
void listing_pages(struct listing *l, int64_t most);
int64_t listing_wants(const struct listing *l);      /* records of the next page; 0: it is enough */
const char *listing_cursor(const struct listing *l); /* where the next page begins; NULL: at the beginning */

/* What the request for a page came to. A cursor of --after that the service refuses is wrong usage. */
enum err_code listing_asked(struct listing *l, enum err_code code, struct err *e) MUST_CHECK;

/* A page of count records is done. cursor is copied; NULL for an empty page. ERR_NOT_FOUND when there is nothing
 * because there is no such account. */
enum err_code listing_page(struct listing *l, size_t count, bool more, const char *cursor, struct err *e) MUST_CHECK;

/* nothing: what people read when there was no record; NULL: nothing. */
void listing_end(struct listing *l, const char *nothing);

/* For documents of many things that are no records: the end of "items", and of the object around them. */
void listing_close_json(struct json_writer *w);

#endif
