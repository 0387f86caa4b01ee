#include "proto/store_io.h"
#include "services/cli/import.h"
#include "services/cli/output.h"
#include "services/cli/progress.h"

#define STORE "object_store"
#define BUCKET "uploads"
#define HEAD_BYTES 4 /* that tell how a layer is compressed */

struct upload {
	struct cli *cli;
	struct rpc_client *gateway;
	struct import_plan *plan;
	const char *name;
	struct progress progress;
	uint64_t sent;
	size_t index; /* of the blob under way */
	uint8_t head[HEAD_BYTES];
	size_t head_len;
	struct store_writer *writer;
};

static enum err_code begin_blob(void *arg, size_t index, uint64_t size, struct err *e)
{
	struct upload *u = arg;
	const struct import_blob *blob = &u->plan->blobs[index];

	if (!digest_is_none(&blob->digest) && blob->size != size)
		return ERR(e, ERR_CORRUPT, "layer %s has %llu bytes, the manifest says %llu",
		           digest_text(&blob->digest).text, (unsigned long long)size, (unsigned long long)blob->size);
	u->index = index;
	u->head_len = 0;
	u->writer = store_writer_new(NULL, u->gateway, u->cli->account, STORE);
	return ERR_OK;
}

static enum err_code take_bytes(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct upload *u = arg;
	const uint8_t *from = bytes;

	for (size_t i = 0; i < len && u->head_len < HEAD_BYTES; i++)
		u->head[u->head_len++] = from[i];
	u->sent += len;
	progress_show(&u->progress, "uploading layer %zu of %zu, %s", u->index + 1, u->plan->blob_count,
	              show_bytes(u->writer, (int64_t)u->sent));
	return store_writer_add(u->writer, bytes, len, e);
}

static enum err_code end_blob(void *arg, struct err *e)
{
	struct upload *u = arg;
	struct import_blob *blob = &u->plan->blobs[u->index];
	uint64_t size;
	struct digest got = store_writer_digest(u->writer, &size);
	char *key = talloc_asprintf(u->writer, "%s/%s", u->name, digest_hex(&got).text);

	ASSERT(key);
	if (!digest_is_none(&blob->digest) && !digest_equal(&got, &blob->digest))
		return ERR(e, ERR_CORRUPT, "layer %s has content of %s", digest_text(&blob->digest).text,
		           digest_text(&got).text);
	TRY(store_writer_commit(u->writer, BUCKET, key, NULL, e));
	blob->digest = got;
	blob->size = size;
	blob->codec = codec_detect(u->head, u->head_len);
	store_writer_free(u->writer);
	u->writer = NULL;
	return ERR_OK;
}

static enum err_code upload_config(struct upload *u, struct err *e)
{
	struct store_object to = {u->cli->account, STORE, BUCKET, NULL};

	to.key = talloc_asprintf(u->cli->ctx, "%s/%s", u->name, digest_hex(&u->plan->config.digest).text);
	ASSERT(to.key);
	return store_put_bytes(u->gateway, &to, u->plan->config_text, u->plan->config_len, NULL, e);
}

enum err_code import_upload(struct cli *cli, struct import_plan *plan, const char *upload, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct upload u = {.cli = cli, .plan = plan, .name = upload};
	struct import_receiver receiver = {begin_blob, take_bytes, end_blob, &u};
	const char **names = talloc_array(scratch, const char *, plan->blob_count + 1);
	enum err_code code;

	ASSERT(names);
	for (size_t i = 0; i < plan->blob_count; i++)
		names[i] = plan->blobs[i].member;
	progress_init(&u.progress, cli);
	TRY(cli_gateway(cli, &u.gateway, e));
	TRY(upload_config(&u, e));
	code = import_source_read(plan->source, names, plan->blob_count, &receiver, e);
	store_writer_free(u.writer);
	progress_end(&u.progress);
	return code;
}
