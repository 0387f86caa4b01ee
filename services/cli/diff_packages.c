#include "services/cli/diff.h"
#include "services/cli/packages.h"

#include <string.h>

/* A stream of packages, gathered into groups of one type and name. */
struct side {
	struct packages *packages;
	const struct package *ahead; /* first of the next group; NULL: none is left */
	TALLOC_CTX *ctx;             /* of the present group */
	char *type, *name, *versions;
};

static enum err_code side_open(struct side *s, TALLOC_CTX *ctx, struct cli *cli, const char *image, struct err *e)
{
	*s = (struct side){.packages = packages_new(ctx, cli, image, NULL), .ctx = talloc_new(ctx)};
	ASSERT(s->ctx);
	return packages_next(s->packages, &s->ahead, e);
}

static bool is_of_group(const struct side *s)
{
	return s->ahead && strcmp(s->ahead->type, s->type) == 0 && strcmp(s->ahead->name, s->name) == 0;
}

/* The next group; type is NULL when there is none. The same version at two places counts once. */
static enum err_code side_next(struct side *s, struct err *e)
{
	char *last = NULL;

	talloc_free_children(s->ctx);
	s->type = s->name = s->versions = NULL;
	if (!s->ahead)
		return ERR_OK;
	s->type = talloc_strdup(s->ctx, s->ahead->type);
	s->name = talloc_strdup(s->ctx, s->ahead->name);
	s->versions = talloc_strdup(s->ctx, "");
	while (is_of_group(s)) {
		const char *version = s->ahead->version ? s->ahead->version : "";

		if (!last || strcmp(last, version) != 0) {
			s->versions = talloc_asprintf_append(s->versions, "%s%s", last ? ", " : "", version);
			last = talloc_strdup(s->ctx, version);
		}
		ASSERT(s->versions && last);
		TRY(packages_next(s->packages, &s->ahead, e));
	}
	return ERR_OK;
}

static int compare(const struct side *a, const struct side *b)
{
	int order;

	if (!a->type || !b->type)
		return a->type ? -1 : 1;
	order = strcmp(a->type, b->type);
	return order ? order : strcmp(a->name, b->name);
}

enum err_code diff_packages(struct cli *cli, const char *a, const char *b, diff_package_found found, void *arg,
                            struct err *e)
{
	SCRATCH_CTX(scratch);
	struct side before, after;

	TRY(side_open(&before, scratch, cli, a, e));
	TRY(side_open(&after, scratch, cli, b, e));
	TRY(side_next(&before, e));
	TRY(side_next(&after, e));
	while (before.type || after.type) {
		int order = compare(&before, &after);
		const struct side *one = order <= 0 ? &before : &after;
		struct diff_package d = {.type = one->type,
		                         .name = one->name,
		                         .before = order <= 0 ? before.versions : NULL,
		                         .after = order >= 0 ? after.versions : NULL};

		if (order != 0 || strcmp(d.before, d.after) != 0)
			TRY(found(arg, &d, e));
		if (order <= 0)
			TRY(side_next(&before, e));
		if (order >= 0)
			TRY(side_next(&after, e));
	}
	return ERR_OK;
}
