#include "services/cli/analysis.h"
#include "services/cli/commands.h"
#include "services/cli/file.h"
#include "services/cli/packages.h"
#include "services/cli/sbom.h"

#include <string.h>

static enum err_code next_package(void *arg, const struct package **package, struct err *e)
{
	return packages_next(arg, package, e);
}

enum err_code cmd_image_sbom(struct cli *cli, const struct args *args, struct err *e)
{
	const char *format = args_text(args, "format");
	CLEANUP(file_discard) struct file_out out = {0};
	struct image_detail *image;
	struct digest_text digest;
	struct sbom_source source;

	TRY(analysis_get(cli, cli->ctx, args->words[0], &image, e));
	digest = digest_text(&image->digest);
	if (image->status != ANALYSIS_ANALYSED)
		return ERR(e, ERR_PRECONDITION, "image %s is %s, not analysed", digest.text,
		           analysis_status_text(image->status));
	/* By digest: the tag may move between two pages. */
	source = (struct sbom_source){image, next_package, packages_new(cli->ctx, cli, digest.text, NULL)};
	TRY(file_open_out(cli->ctx, args_text(args, "output"), &out, e));
	if (format && strcmp(format, "spdx-json") == 0)
		TRY(sbom_spdx(&source, out.out, e));
	else
		TRY(sbom_cyclonedx(&source, out.out, e));
	return file_commit(&out, e);
}
