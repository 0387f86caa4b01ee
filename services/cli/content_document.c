#include "proto/store_io.h"
#include "services/cli/content.h"
#include "services/cli/json_writer.h"
#include "services/cli/tree.h"

#include <string.h>

#define DOCUMENT_MAX (16 * MIB)

enum err_code content_document(struct cli *cli, const struct image_detail *image, const char *name, struct err *e)
{
	struct store_object from = {cli->account, "object_store", "images", NULL};
	struct rpc_client *gateway;
	struct json_writer *w;
	enum err_code code;
	void *bytes;
	size_t len;

	TRY(tree_check(image, e));
	from.key = talloc_asprintf(cli->ctx, "%s/%s", digest_hex(&image->digest).text, name);
	TRY(cli_gateway(cli, &gateway, e));
	code = store_get_bytes(gateway, cli->ctx, &from, DOCUMENT_MAX, &bytes, &len, e);
	if (code == ERR_NOT_FOUND)
		return ERR(e, ERR_NOT_FOUND, "image %s has no %s", digest_text(&image->digest).text, name);
	TRY(code);
	/* Manifest and config are JSON, and what they are named by: not a byte is changed. */
	if (!cli->json || strcmp(name, "dockerfile") != 0) {
		fwrite(bytes, 1, len, stdout);
		return ERR_OK;
	}
	w = json_writer_new(cli->ctx, stdout);
	json_open_object(w, NULL);
	json_add_bytes(w, "dockerfile", bytes, len);
	json_close(w);
	return ERR_OK;
}
