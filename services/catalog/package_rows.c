#include "services/catalog/package_rows.h"

#include "services/catalog/stored.h"

enum err_code package_from_row(const struct db_rows *rows, size_t row, size_t first, TALLOC_CTX *ctx,
                               struct package *package, struct err *e)
{
	*package = (struct package){
	    .type = db_text(rows, row, first),
	    .name = db_text(rows, row, first + 1),
	    .version = db_text(rows, row, first + 2),
	    .arch = db_text(rows, row, first + 3),
	    .purl = db_text(rows, row, first + 4),
	    .source = db_text(rows, row, first + 5),
	    .location = db_text(rows, row, first + 7),
	};
	return stored_texts_read(ctx, db_text(rows, row, first + 6), &package->licenses, e);
}

enum err_code package_page(struct db *db, TALLOC_CTX *ctx, int64_t set, int64_t after, size_t limit,
                           struct db_rows **rows, struct err *e)
{
	return db_query(db, ctx, rows, e,
	                "SELECT m.position, " PACKAGE_COLUMNS " FROM catalog.set_member m"
	                " JOIN catalog.package p ON p.id = m.package WHERE m.set_id = $1 AND m.position > $2"
	                " ORDER BY m.position LIMIT $3",
	                DB_NUMBER(set), DB_NUMBER(after), DB_NUMBER(limit));
}
