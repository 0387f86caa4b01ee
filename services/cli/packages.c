#include "services/cli/packages.h"

#define PAGE 1000

struct packages {
	struct cli *cli;
	struct image_packages_request request;
	struct image_packages_reply page;
	TALLOC_CTX *held; /* the page */
	size_t at;
	bool last;
};

struct packages *packages_new(TALLOC_CTX *ctx, struct cli *cli, const char *image, const char *type)
{
	struct packages *p = talloc_zero(ctx, struct packages);

	ASSERT(p);
	p->cli = cli;
	p->request = (struct image_packages_request){.image = image, .type = type, .limit = PAGE};
	return p;
}

static enum err_code next_page(struct packages *p, struct err *e)
{
	struct proto_call call = cli_call(p->cli);
	TALLOC_CTX *before = p->held; /* has the cursor */
	struct rpc_client *catalog;
	enum err_code code;

	TRY(cli_catalog(p->cli, &catalog, e));
	p->held = talloc_new(p);
	ASSERT(p->held);
	code = call_image_packages(catalog, &call, p->held, &p->request, &p->page, e);
	talloc_free(before);
	TRY(code);
	p->at = 0;
	p->request.after = p->page.cursor;
	p->last = !p->page.cursor || !*p->page.cursor;
	return ERR_OK;
}

enum err_code packages_next(struct packages *p, const struct package **package, struct err *e)
{
	*package = NULL;
	while (p->at == p->page.items_count) {
		if (p->last)
			return ERR_OK;
		TRY(next_page(p, e));
	}
	*package = &p->page.items[p->at++];
	return ERR_OK;
}
