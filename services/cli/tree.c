#include "services/cli/tree.h"

#include "proto/store_io.h"

#define WINDOWS_BYTES (64 * MIB) /* for all layers together */
#define WINDOW_LEAST (128 * KIB)

enum err_code tree_check(const struct image_detail *image, struct err *e)
{
	struct digest_text name = digest_text(&image->digest);

	if (image->residence == RESIDENCE_ARCHIVED)
		return ERR(e, ERR_PRECONDITION,
		           "image %s is in the archive only; `stowage archive restore %s` brings it back", name.text,
		           name.text);
	if (image->status != ANALYSIS_ANALYSED)
		return ERR(e, ERR_PRECONDITION, "image %s is %s, not analysed", name.text,
		           analysis_status_text(image->status));
	return ERR_OK;
}

static enum err_code read_layer(void *arg, void *into, size_t size, size_t *got, struct err *e)
{
	return store_reader_read(arg, into, size, got, e);
}

static enum err_code rewind_layer(void *arg, struct err *e)
{
	(void)e;
	store_reader_rewind(arg);
	return ERR_OK;
}

static struct files_source source_of(struct cli *cli, struct rpc_client *gateway, TALLOC_CTX *ctx,
                                     const struct layer_item *layer, size_t window)
{
	struct store_object from = {cli->account, "object_store", "layers", NULL};

	from.key = talloc_asprintf(ctx, "%s/%s/files", layer->revision, digest_hex(&layer->digest).text);
	ASSERT(from.key);
	return (struct files_source){read_layer, rewind_layer, store_reader_new(ctx, gateway, &from, window)};
}

enum err_code tree_walk(struct cli *cli, const struct image_detail *image, merge_emit emit, void *arg, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct merge_layer *layers = talloc_zero_array(scratch, struct merge_layer, image->layers_count + 1);
	size_t window = MAX(WINDOWS_BYTES / MAX(image->layers_count, (size_t)1), WINDOW_LEAST);
	struct rpc_client *gateway;

	ASSERT(layers);
	TRY(tree_check(image, e));
	TRY(cli_gateway(cli, &gateway, e));
	for (size_t i = 0; i < image->layers_count; i++) {
		const struct layer_item *layer = &image->layers[i];

		if (!layer->revision || !*layer->revision)
			return ERR(e, ERR_PRECONDITION, "layer %s has no documents", digest_text(&layer->digest).text);
		layers[i].source = source_of(cli, gateway, scratch, layer, window);
	}
	return merge_run(layers, image->layers_count, emit, arg, e);
}
