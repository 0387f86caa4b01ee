/* Handlers for accounts, registries and events. */
#include "proto/catalog_handlers.h"
#include "services/catalog/account.h"
#include "services/catalog/catalog.h"
#include "services/catalog/event.h"
#include "services/catalog/registry_credentials.h"

enum err_code handle_account_add(struct rpc_call *call, const struct account_add_request *request,
                                 struct account_add_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	return account_add(db, request->name, &reply->existed, e);
}

enum err_code handle_account_list(struct rpc_call *call, const struct account_list_request *request,
                                  struct account_list_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	(void)request;
	TRY(catalog_connect(call, &db, e));
	return account_read_all(db, call->ctx, reply, e);
}

static enum err_code remove_account(struct db *db, void *arg, struct err *e)
{
	const struct account_remove_request *request = arg;

	return account_remove(db, request->name, e);
}

enum err_code handle_account_remove(struct rpc_call *call, const struct account_remove_request *request,
                                    struct account_remove_reply *reply, struct err *e)
{
	struct account_remove_request copy = *request;

	(void)reply;
	return db_transaction(catalog_of(call)->db, remove_account, &copy, e);
}

enum err_code handle_registry_add(struct rpc_call *call, const struct registry_add_request *request,
                                  struct registry_add_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	(void)reply;
	TRY(catalog_connect(call, &db, e));
	return registry_credentials_put(db, catalog_of(call)->vault, catalog_account(call), request, e);
}

enum err_code handle_registry_list(struct rpc_call *call, const struct registry_list_request *request,
                                   struct registry_list_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	(void)request;
	TRY(catalog_connect(call, &db, e));
	return registry_credentials_read_all(db, call->ctx, catalog_account(call), reply, e);
}

enum err_code handle_registry_remove(struct rpc_call *call, const struct registry_remove_request *request,
                                     struct registry_remove_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	(void)reply;
	TRY(catalog_connect(call, &db, e));
	return registry_credentials_remove(db, catalog_account(call), request->registry, e);
}

enum err_code handle_event_list(struct rpc_call *call, const struct event_list_request *request,
                                struct event_list_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	return event_read(db, call->ctx, catalog_account(call), request, reply, e);
}
