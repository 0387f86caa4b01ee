/*
 * registry_probe: the registry client by itself, against whatever registry stands there.
 *
 *     registry_probe [--user NAME] [--password WORD] [--token WORD] [--ca FILE] [--insecure] [--platform P] REFERENCE
 *
 * Resolves the reference, reads the configuration, streams all layers and checks what came. Prints a line for each
 * thing, "image DIGEST", "manifest DIGEST", "config DIGEST PLATFORM", "layer DIGEST SIZE", and exits 0; or one line
 * "error: CODE: text", and exits 1.
 */
#include "common/registry.h"

#include <getopt.h>
#include <stdio.h>

struct wishes {
	struct registry_options options;
	struct platform platform;
	struct reference reference;
};

static enum err_code read_arguments(int argc, char **argv, struct wishes *w, struct err *e)
{
	static const struct option names[] = {
	    {"user", required_argument, NULL, 'u'},
	    {"password", required_argument, NULL, 'p'},
	    {"token", required_argument, NULL, 't'},
	    {"ca", required_argument, NULL, 'c'},
	    {"insecure", no_argument, NULL, 'i'},
	    {"platform", required_argument, NULL, 'o'},
	    {0},
	};
	int option;

	w->platform = platform_default();
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (option == 'u')
			w->options.user = optarg;
		else if (option == 'p')
			w->options.password = optarg;
		else if (option == 't')
			w->options.token = optarg;
		else if (option == 'c')
			w->options.ca_file = optarg;
		else if (option == 'i')
			w->options.insecure = true;
		else if (option == 'o')
			TRY(platform_parse(optarg, &w->platform, e));
		else
			return ERR(e, ERR_INVALID, "wrong usage");
	}
	if (optind + 1 != argc)
		return ERR(e, ERR_INVALID, "one reference is due");
	return reference_parse(argv[optind], &w->reference, e);
}

static enum err_code hash(void *arg, const void *bytes, size_t len, struct err *e)
{
	(void)e;
	hasher_add(arg, bytes, len);
	return ERR_OK;
}

static enum err_code fetch_layer(struct registry *r, const struct reference *reference, const struct descriptor *blob,
                                 struct err *e)
{
	SCRATCH_CTX(ctx);
	struct hasher *hasher = hasher_new(ctx);
	struct digest found;

	TRY(registry_stream_blob(r, reference, blob, hash, hasher, NULL, e));
	found = hasher_finish(hasher);
	if (!digest_equal(&found, &blob->digest))
		return ERR(e, ERR_CORRUPT, "layer %s is %s", digest_text(&blob->digest).text, digest_text(&found).text);
	printf("layer %s %llu\n", digest_text(&found).text, (unsigned long long)blob->size);
	return ERR_OK;
}

static enum err_code probe(TALLOC_CTX *ctx, const struct wishes *w, struct err *e)
{
	CLEANUP(buf_release) struct buf bytes = {0};
	struct registry_image image;
	struct image_config config;
	struct registry *r;

	TRY(registry_new(ctx, w->reference.registry, &w->options, &r, e));
	TRY(registry_resolve(r, ctx, &w->reference, &w->platform, NULL, &image, e));
	printf("image %s\nmanifest %s\n", digest_text(&image.digest).text, digest_text(&image.manifest_digest).text);
	TRY(registry_get_blob(r, &w->reference, &image.manifest.config, IMAGE_CONFIG_SIZE_MAX, NULL, &bytes, e));
	TRY(image_config_parse(ctx, bytes.bytes, bytes.len, image.manifest.layer_count, &config, e));
	printf("config %s %s\n", digest_text(&image.manifest.config.digest).text,
	       platform_print(ctx, &config.platform));
	for (size_t i = 0; i < image.manifest.layer_count; i++)
		TRY(fetch_layer(r, &w->reference, &image.manifest.layers[i].blob, e));
	return ERR_OK;
}

int main(int argc, char **argv)
{
	struct wishes wishes = {0};
	SCRATCH_CTX(ctx);
	struct err e;

	if (read_arguments(argc, argv, &wishes, &e) == ERR_OK && probe(ctx, &wishes, &e) == ERR_OK)
		return 0;
	printf("error: %s: %s\n", err_name(e.code), e.text);
	return 1;
}
