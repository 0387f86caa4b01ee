/* Any bytes as a manifest, an index and an image configuration. */
#include "common/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCRATCH_CTX(ctx);
	const struct manifest_entry *chosen;
	struct platform platform = platform_default();
	struct manifest_index index;
	struct image_config config;
	enum manifest_kind kind;
	struct manifest m;
	struct err e;

	(void)!manifest_kind_of(data, size, NULL, &kind, &e);
	if (manifest_parse(ctx, data, size, &m, &e) == ERR_OK)
		ASSERT(m.layer_count > 0 && m.layer_count <= MANIFEST_LAYERS_MAX);
	if (manifest_index_parse(ctx, data, size, &index, &e) == ERR_OK)
		(void)!manifest_index_choose(&index, &platform, &chosen, &e);
	(void)!image_config_parse(ctx, data, size, 1, &config, &e);
	return 0;
}
