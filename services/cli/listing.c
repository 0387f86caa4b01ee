#include "services/cli/listing.h"

#include "common/json.h"
#include "services/cli/json_writer.h"

struct listing {
	struct cli *cli;
	const struct proto_record *record;
	struct json_writer *json;
	struct table *table;
};

struct listing *listing_new(struct cli *cli, const struct proto_record *record, const struct table_column *columns)
{
	struct listing *l = talloc_zero(cli->ctx, struct listing);

	ASSERT(l);
	l->cli = cli;
	l->record = record;
	l->table = table_new(l, columns);
	if (!cli->json)
		return l;
	l->json = json_writer_new(l, stdout);
	json_open_object(l->json, NULL);
	json_open_array(l->json, "items");
	return l;
}

enum err_code listing_add_cells(struct listing *l, const void *item, const char *const *cells, size_t count,
                                struct err *e)
{
	CLEANUP(json_cleanup) cJSON *object = NULL;

	if (!l->json) {
		table_add(l->table, cells, count);
		return ERR_OK;
	}
	TRY(proto_encode(l->record, item, &object, e));
	json_add_value(l->json, NULL, object);
	return ERR_OK;
}

void listing_end(struct listing *l, const char *nothing)
{
	if (l->json) {
		json_close(l->json);
		json_close(l->json);
	} else if (table_rows(l->table)) {
		table_print(l->table, stdout, l->cli->width);
	} else if (nothing) {
		fprintf(stderr, "%s\n", nothing);
	}
	talloc_free(l);
}
