#include "services/cli/analysis.h"
#include "services/cli/commands.h"
#include "services/cli/content.h"

#include <string.h>

/* Ecosystems that catalogers know or will know; others are somebody's mistake. */
static const char *const ecosystems[] = {"os",   "packages", "dpkg", "apk",      "rpm",    "python", "npm", "gem",
                                         "java", "go",       "rust", "composer", "dotnet", "conda",  NULL};
static const char *const documents[] = {"manifest", "config", "dockerfile", NULL};

static bool is_one_of(const char *word, const char *const *list)
{
	while (*list && strcmp(*list, word) != 0)
		list++;
	return *list;
}

static bool is_set_of(const char *word, const struct image_detail *image)
{
	for (size_t i = 0; i < image->sets_count; i++)
		if (strcmp(image->sets[i].type, word) == 0)
			return true;
	return false;
}

enum err_code cmd_image_content(struct cli *cli, const struct args *args, struct err *e)
{
	const char *type = args->words[1];
	struct image_detail *image;

	TRY(analysis_get(cli, cli->ctx, args->words[0], &image, e));
	if (strcmp(type, "files") == 0 || strcmp(type, "suid") == 0)
		return content_files(cli, image, strcmp(type, "suid") == 0, e);
	if (strcmp(type, "licenses") == 0)
		return content_licenses(cli, image, e);
	if (is_one_of(type, documents))
		return content_document(cli, image, type, e);
	if (is_one_of(type, ecosystems) || is_set_of(type, image))
		return content_packages(cli, image, type, e);
	return ERR(e, ERR_INVALID,
	           "\"%s\" is no type of content: os, packages, an ecosystem (dpkg, apk, npm, python ...), licenses,"
	           " files, suid, manifest, config, dockerfile",
	           type);
}
