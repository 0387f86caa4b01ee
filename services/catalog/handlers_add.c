/* Handlers by which images come in: from a registry, and as uploads. */
#include "proto/catalog_handlers.h"

#include "common/fault.h"
#include "services/catalog/account.h"
#include "services/catalog/admission.h"
#include "services/catalog/catalog.h"
#include "services/catalog/registry_credentials.h"
#include "services/catalog/tag.h"
#include "services/catalog/upload.h"

#include <string.h>

#define REMOVAL_WAIT_MS 5000

/* ---- the order that a request amounts to ---- */

struct admitting {
	const struct order *order;
	struct admission admission;
};

static enum err_code admit_once(struct db *db, void *arg, struct err *e)
{
	struct admitting *a = arg;

	return admit(db, a->order, &a->admission, e);
}

/* An image that is just being removed is waited for, a little. */
static enum err_code place_order(struct rpc_call *call, const struct order *order, struct admission *admission,
                                 struct err *e)
{
	struct catalog *c = catalog_of(call);
	struct admitting a = {.order = order};
	int64_t until_ms = hub_hold(c->hub, MIN(rpc_time_left(call), (int64_t)REMOVAL_WAIT_MS));
	struct err failure = {0};
	enum err_code code;
	uint64_t seen;

	do {
		seen = hub_seen(c->hub);
		code = db_transaction(c->db, admit_once, &a, &failure);
		if (code != ERR_CONFLICT || !failure.retry_ms)
			break;
		catalog_wake_removal(c);
	} while (hub_wait(c->hub, seen, until_ms));
	hub_let_go(c->hub);
	if (code != ERR_OK) {
		if (e)
			*e = failure;
		return code;
	}
	*admission = a.admission;
	FAULT_POINT("image-admitted");
	if (admission->job)
		hub_announce(c->hub);
	return ERR_OK;
}

/* ---- image_add ---- */

struct adding {
	const char *account;
	struct reference reference;
	struct platform platform; /* wished for, or the default */
	bool platform_wished;
	const char *platform_text;
	struct order order;
};

static enum err_code read_request(struct rpc_call *call, const struct image_add_request *request, struct adding *a,
                                  struct err *e)
{
	a->account = catalog_account(call);
	TRY(reference_parse(request->reference, &a->reference, e));
	a->platform = platform_default();
	a->platform_wished = request->platform && *request->platform;
	if (a->platform_wished)
		TRY(platform_parse(request->platform, &a->platform, e));
	a->platform_text = platform_print(call->ctx, &a->platform);
	a->order = (struct order){
	    .account = a->account,
	    .reference = reference_print(call->ctx, &a->reference),
	    .source = {.source = IMAGE_FROM_REGISTRY, .reference = reference_print_source(call->ctx, &a->reference)},
	    .tags = &a->reference,
	    .tag_count = 1,
	    .annotations = &request->annotations,
	    .force = request->force,
	};
	return ERR_OK;
}

/* Whether this row is the image that is meant: an image whose platform nobody has looked at yet may not be. */
static enum err_code check_known(const struct adding *a, const struct db_rows *rows, bool *known, struct err *e)
{
	struct platform have;

	*known = true;
	if (!a->platform_wished)
		return ERR_OK;
	*known = !db_is_null(rows, 0, 1) && platform_parse(db_text(rows, 0, 1), &have, NULL) == ERR_OK;
	if (*known && platform_check(&have, &a->platform, e) != ERR_OK)
		return err_wrap(e, "%.250s", a->order.reference);
	return ERR_OK;
}

/* A digest that the catalog has seen needs no registry: it names the same image for ever. Of an index it is the image
 * that was chosen from it for this platform. */
static enum err_code find_known(struct db *db, TALLOC_CTX *ctx, struct adding *a, bool *known, struct err *e)
{
	struct db_rows *rows;

	*known = false;
	if (digest_is_none(&a->reference.digest))
		return ERR_OK;
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT digest, platform FROM catalog.image WHERE account = $1 AND digest = $2 UNION ALL"
	             " SELECT digest, platform FROM catalog.image WHERE account = $1 AND parent_digest = $2"
	             " AND platform = $3",
	             DB_TEXT(a->account), DB_DIGEST(&a->reference.digest), DB_TEXT(a->platform_text)));
	if (db_count(rows) == 0)
		return ERR_OK;
	a->order.digest = db_digest(rows, 0, 0);
	return check_known(a, rows, known, e);
}

static enum err_code look_up(struct rpc_call *call, struct adding *a, struct registry_access *access, bool *known,
                             struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;

	TRY(catalog_connect(call, &db, e));
	TRY(account_check(db, a->account, e));
	TRY(find_known(db, call->ctx, a, known, e));
	if (*known)
		return ERR_OK;
	return registry_credentials_find(db, call->ctx, catalog_of(call)->vault, a->account, a->reference.registry,
	                                 access, e);
}

/* An image that no index offers for the platform has to say itself that it is the wanted one. Here, and not in its
 * analysis: the same digest may be wanted, rightly, by others. */
static enum err_code check_platform(const struct adding *a, struct registry *registry, TALLOC_CTX *ctx,
                                    const struct registry_image *image, const struct patience *patience, struct err *e)
{
	CLEANUP(buf_release) struct buf bytes = {0};
	struct image_config config;

	if (!a->platform_wished || image->platform_stated)
		return ERR_OK;
	TRY(registry_get_blob(registry, &a->reference, &image->manifest.config, IMAGE_CONFIG_SIZE_MAX, patience, &bytes,
	                      e));
	if (image_config_parse(ctx, bytes.bytes, bytes.len, image->manifest.layer_count, &config, e) != ERR_OK ||
	    platform_check(&config.platform, &a->platform, e) != ERR_OK)
		return err_wrap(e, "%.250s", a->order.reference);
	return ERR_OK;
}

/* Asks the registry, and pins what it says. No database connection is held meanwhile. */
static enum err_code resolve(struct rpc_call *call, struct adding *a, const struct registry_access *access,
                             struct err *e)
{
	struct patience patience = {.deadline_ms = call->deadline_ms};
	struct registry_image found;
	struct registry *registry;

	TRY(registry_pool_get(catalog_of(call)->registries, call->ctx, a->reference.registry, access, &registry, e));
	TRY(registry_resolve(registry, call->ctx, &a->reference, &a->platform, &patience, &found, e));
	TRY(check_platform(a, registry, call->ctx, &found, &patience, e));
	a->order.digest = found.manifest_digest;
	a->order.parent_digest = found.index_digest;
	/* Of an image that no index describes the platform is kept when its analysis has read its configuration. */
	if (found.platform_stated)
		a->order.platform = a->platform_text;
	return ERR_OK;
}

static enum err_code keep_dockerfile(struct rpc_call *call, const struct adding *a, const char *text, int64_t image,
                                     struct err *e)
{
	struct catalog *c = catalog_of(call);
	CLEANUP(db_cleanup) struct db *db = NULL;
	char *key = talloc_asprintf(call->ctx, "%s/dockerfile", digest_hex(&a->order.digest).text);

	if (!text || !*text)
		return ERR_OK;
	TRY(c->objects.put(c->objects.arg, a->account, "images", key, text, strlen(text), e));
	TRY(catalog_connect(call, &db, e));
	return admission_note_dockerfile(db, image, e);
}

enum err_code handle_image_add(struct rpc_call *call, const struct image_add_request *request,
                               struct image_add_reply *reply, struct err *e)
{
	struct registry_access access;
	struct admission admission;
	struct adding a;
	bool known;

	TRY(read_request(call, request, &a, e));
	TRY(look_up(call, &a, &access, &known, e));
	if (!known)
		TRY(resolve(call, &a, &access, e));
	TRY(place_order(call, &a.order, &admission, e));
	TRY(keep_dockerfile(call, &a, request->dockerfile, admission.image, e));
	*reply = (struct image_add_reply){.digest = a.order.digest, .status = admission.status, .job = admission.job};
	return ERR_OK;
}

/* ---- uploads ---- */

enum err_code handle_upload_begin(struct rpc_call *call, const struct upload_begin_request *request,
                                  struct upload_begin_reply *reply, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	char *id;

	(void)request;
	TRY(catalog_connect(call, &db, e));
	TRY(upload_begin(db, call->ctx, catalog_account(call), &id, e));
	reply->upload = id;
	return ERR_OK;
}

static enum err_code check_manifest(const struct rpc_call *call, const struct digest *digest, struct err *e)
{
	struct digest actual = digest_of(call->payload, call->payload_len);
	struct manifest manifest;

	if (!digest_equal(&actual, digest))
		return ERR(e, ERR_CORRUPT, "the manifest has digest %s, not %s", digest_text(&actual).text,
		           digest_text(digest).text);
	if (manifest_parse(call->ctx, call->payload, call->payload_len, &manifest, e) != ERR_OK)
		return err_wrap(e, "manifest %s", digest_text(digest).text);
	return ERR_OK;
}

/* Whether a job will be made that needs the uploaded blobs. */
static enum err_code check_need(struct rpc_call *call, const struct order *order, bool *needed, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct image image;
	bool found;

	TRY(catalog_connect(call, &db, e));
	TRY(account_check(db, order->account, e));
	TRY(image_find_digest(db, call->ctx, order->account, &order->digest, &image, &found, e));
	*needed = !found || !(admission_is_needless(&image, order->force) || image.status == ANALYSIS_QUEUED ||
	                      image.status == ANALYSIS_ANALYSING);
	return *needed ? upload_check(db, order->account, order->source.upload, e) : ERR_OK;
}

/* The manifest joins the blobs that were uploaded: the worker finds all of them under the same prefix. */
static enum err_code put_manifest(struct rpc_call *call, const struct order *order, struct err *e)
{
	struct catalog *c = catalog_of(call);
	char *key = talloc_asprintf(call->ctx, "%s/%s", order->source.upload, digest_hex(&order->digest).text);

	return c->objects.put(c->objects.arg, order->account, "uploads", key, call->payload, call->payload_len, e);
}

static enum err_code read_tags(struct rpc_call *call, const struct proto_texts *tags, struct order *order,
                               struct err *e)
{
	struct reference *references = talloc_zero_array(call->ctx, struct reference, tags->count + 1);

	ASSERT(references);
	for (size_t i = 0; i < tags->count; i++)
		TRY(reference_parse(tags->items[i], &references[i], e));
	order->tags = references;
	order->tag_count = tags->count;
	if (tags->count > 0)
		order->reference = tag_name(call->ctx, &references[0]);
	return ERR_OK;
}

enum err_code handle_image_import(struct rpc_call *call, const struct image_import_request *request,
                                  struct image_import_reply *reply, struct err *e)
{
	struct order order = {
	    .account = catalog_account(call),
	    .digest = request->digest,
	    .source = {.source = IMAGE_FROM_UPLOAD, .upload = request->upload},
	    .annotations = &request->annotations,
	    .force = request->force,
	};
	struct admission admission;
	bool needed;

	TRY(check_manifest(call, &request->digest, e));
	TRY(read_tags(call, &request->tags, &order, e));
	TRY(check_need(call, &order, &needed, e));
	if (needed)
		TRY(put_manifest(call, &order, e));
	TRY(place_order(call, &order, &admission, e));
	*reply =
	    (struct image_import_reply){.digest = request->digest, .status = admission.status, .job = admission.job};
	return ERR_OK;
}
