#include "services/cli/listing.h"

#include "common/json.h"
#include "services/cli/json_writer.h"

#include <string.h>

#define PAGE 500

struct listing {
	struct cli *cli;
	const struct proto_record *record;
	struct json_writer *json; /* NULL: a table */
	struct table *table;
	const char *head_name, *head_value;
	bool begun;          /* the document */
	int64_t left, shown; /* records */
	bool paged, first, more;
	const char *cursor; /* behind the last record, or of --after */
};

struct listing *listing_new(struct cli *cli, const struct proto_record *record, const struct table_column *columns)
{
	struct listing *l = talloc_zero(cli->ctx, struct listing);

	ASSERT(l);
	l->cli = cli;
	l->record = record;
	l->table = table_new(l, columns);
	if (cli->json)
		l->json = json_writer_new(l, stdout);
	return l;
}

void listing_head(struct listing *l, const char *name, const char *value)
{
	l->head_name = talloc_strdup(l, name);
	l->head_value = talloc_strdup(l, value);
	ASSERT(l->head_name && l->head_value);
}

static void begin(struct listing *l)
{
	if (l->begun)
		return;
	l->begun = true;
	json_open_object(l->json, NULL);
	if (l->head_name)
		json_add_text(l->json, l->head_name, l->head_value);
	json_open_array(l->json, "items");
}

enum err_code listing_add_cells(struct listing *l, const void *item, const char *const *cells, size_t count,
                                struct err *e)
{
	CLEANUP(json_cleanup) cJSON *object = NULL;

	l->shown++;
	if (!l->json) {
		table_add(l->table, cells, count);
		return ERR_OK;
	}
	TRY(proto_encode(l->record, item, &object, e));
	begin(l);
	json_add_value(l->json, NULL, object);
	return ERR_OK;
}

/* ---- pages ---- */

void listing_pages(struct listing *l, int64_t most)
{
	l->paged = l->first = true;
	l->left = args_number(l->cli->args, "limit", most);
	l->cursor = args_text(l->cli->args, "after");
}

int64_t listing_wants(const struct listing *l)
{
	return l->first || l->more ? MIN(l->left, PAGE) : 0;
}

const char *listing_cursor(const struct listing *l)
{
	return l->cursor;
}

enum err_code listing_asked(struct listing *l, enum err_code code, struct err *e)
{
	if (code == ERR_INVALID && l->first && l->cursor)
		return cli_misuse(l->cli, e, "option --after: \"%.160s\" is no \"next\" of such a list", l->cursor);
	return code;
}

enum err_code listing_page(struct listing *l, size_t count, bool more, const char *cursor, struct err *e)
{
	bool empty = l->first && !count && !l->cursor;

	l->first = false;
	l->more = more && count;
	l->left -= (int64_t)count;
	if (l->more) {
		l->cursor = talloc_strdup(l, cursor);
		ASSERT(l->cursor);
	}
	return empty ? cli_check_account(l->cli, e) : ERR_OK;
}

/* ---- the end ---- */

static void tell_more(const struct listing *l)
{
	SCRATCH_CTX(scratch);

	fprintf(stderr, "%lld shown, there are more: --limit N shows N at once, --after '%s' goes on behind these\n",
	        (long long)l->shown, text_clean(scratch, l->cursor));
}

void listing_end(struct listing *l, const char *nothing)
{
	if (l->json) {
		begin(l);
		json_close(l->json);
		json_add_flag(l->json, "more", l->more);
		if (l->more)
			json_add_text(l->json, "next", l->cursor);
		json_close(l->json);
	} else if (table_rows(l->table)) {
		table_print(l->table, stdout, l->cli->width);
	} else if (nothing) {
		fprintf(stderr, "%s\n", nothing);
	}
	if (l->more && !l->json)
		tell_more(l);
	talloc_free(l);
}

void listing_close_json(struct json_writer *w)
{
	json_close(w);
	json_add_flag(w, "more", false);
	json_close(w);
}
