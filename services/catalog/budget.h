/*
 * budget: how much of a page still fits into one reply. What would not fit is left to the next page, so that no page
 * is too large to be sent, whatever tags and packages are called.
 *
 *     struct budget budget = BUDGET_REPLY;
 *     for each row: if (!budget_take_text(&budget, name) ...) { more = true; break; }
 *
 * The first item always fits: a single one is far smaller than a reply may be.
 */
#ifndef CATALOG_BUDGET_H
#define CATALOG_BUDGET_H

#include "common/rpc.h"
#include "proto/record.h"

struct budget {
	size_t left;
	bool used; /* an item was counted */
};

#define BUDGET_ITEM 512 /* for what an item has besides its texts */
#define BUDGET_REPLY ((struct budget){.left = RPC_HEADER_MAX - 64 * KIB})

/* As JSON needs it. NULL is nothing. */
size_t budget_text_size(const char *text);

/* One item whose texts take that many bytes; false: it does not fit any more. */
bool budget_take(struct budget *b, size_t texts);
bool budget_take_texts(struct budget *b, const struct proto_texts *texts);

#endif
