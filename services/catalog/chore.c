#include "services/catalog/chore.h"

#include "common/log.h"
#include "services/catalog/migrations.h"

bool chore_is_mine(struct catalog *c, const char *name)
{
	struct err e;
	bool mine;

	if (db_lease(c->db, CATALOG_SCHEMA, name, c->instance, c->settings->sweep_lease_ms, &mine, &e) == ERR_OK)
		return mine;
	LOG_WARN("lease not taken", LOG_TEXT("lease", name), LOG_ERR(&e));
	return false;
}

bool chore_is_over(struct catalog *c)
{
	return c->process && process_draining(c->process);
}

enum err_code chore_remove_prefix(struct catalog *c, const char *name, const char *account, const char *bucket,
                                  const char *prefix, struct err *e)
{
	bool more = true;

	while (more) {
		if (!chore_is_mine(c, name))
			return ERR(e, ERR_CONFLICT, "lease %s was lost", name);
		TRY(c->objects.remove_prefix(c->objects.arg, account, bucket, prefix, &more, e));
	}
	return ERR_OK;
}

void chore_done(struct catalog *c, const char *name)
{
	struct err e;

	if (db_lease_release(c->db, CATALOG_SCHEMA, name, c->instance, &e) != ERR_OK)
		LOG_DEBUG("lease not given back", LOG_TEXT("lease", name), LOG_ERR(&e));
}
