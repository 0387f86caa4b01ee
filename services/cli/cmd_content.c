#include "services/cli/analysis.h"
#include "services/cli/commands.h"
#include "services/cli/content.h"
#include "services/cli/values.h"

#include <string.h>

static bool is_set_of(const char *word, const struct image_detail *image)
{
	for (size_t i = 0; i < image->sets_count; i++)
		if (strcmp(image->sets[i].type, word) == 0)
			return true;
	return false;
}

static bool is_known(const char *type)
{
	static const char *const others[] = {"packages", "licenses", "files", "suid", NULL};

	return value_is_one_of(type, others) || value_is_one_of(type, content_documents) ||
	       value_is_one_of(type, ecosystems);
}

static enum err_code refuse(struct cli *cli, const char *type, struct err *e)
{
	return cli_misuse(cli, e,
	                  "\"%.60s\" is no type of content: os, packages, an ecosystem (dpkg, apk, npm, python ...), "
	                  "licenses, files, suid, manifest, config, dockerfile",
	                  type);
}

enum err_code cmd_image_content(struct cli *cli, const struct args *args, struct err *e)
{
	const char *type = args->words[1];
	struct image_detail *image;
	enum err_code code = analysis_get(cli, cli->ctx, args->words[0], &image, e);

	/* An ecosystem that only the image knows: the analyzer is newer than this program. */
	if (!is_known(type) && (code == ERR_NOT_FOUND || (code == ERR_OK && !is_set_of(type, image))))
		return refuse(cli, type, e);
	TRY(code);
	if (strcmp(type, "files") == 0 || strcmp(type, "suid") == 0)
		return content_files(cli, image, strcmp(type, "suid") == 0, e);
	if (strcmp(type, "licenses") == 0)
		return content_licenses(cli, image, e);
	if (value_is_one_of(type, content_documents))
		return content_document(cli, image, type, e);
	return content_packages(cli, image, type, e);
}
