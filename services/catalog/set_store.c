#include "services/catalog/set_store.h"

#define TRIES 5

struct put {
	const struct set_put_request *request;
	enum set_outcome outcome;
};

static enum err_code put(struct db *db, void *arg, struct err *e)
{
	struct put *p = arg;

	return set_put(db, p->request, &p->outcome, e);
}

enum err_code set_store_part(struct db_pool *pool, const struct set_put_request *request, bool *complete, struct err *e)
{
	struct put p = {.request = request};
	enum err_code code = ERR_CONFLICT;

	for (int tries = 0; tries < TRIES && code == ERR_CONFLICT; tries++)
		code = db_transaction(pool, put, &p, e);
	TRY(code);
	if (p.outcome == SET_CORRUPT)
		return ERR(e, ERR_CORRUPT, "the packages of set %s are not those that it is named by",
		           digest_text(&request->digest).text);
	*complete = p.outcome == SET_COMPLETE;
	return ERR_OK;
}

enum err_code set_store_whole(struct db_pool *pool, const struct image_set *set, struct package *packages, size_t count,
                              struct err *e)
{
	struct set_put_request request = {.type = set->type, .digest = set->digest};
	bool complete = false;

	request.parts = (int64_t)MAX((count + SET_PART_MAX - 1) / SET_PART_MAX, (size_t)1);
	for (request.part = 0; request.part < request.parts && !complete; request.part++) {
		size_t first = (size_t)request.part * SET_PART_MAX;

		request.packages = packages + first;
		request.packages_count = MIN(count - first, (size_t)SET_PART_MAX);
		TRY(set_store_part(pool, &request, &complete, e));
	}
	return ERR_OK;
}
