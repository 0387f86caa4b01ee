#include "services/analyzer-worker/catalogers/catalogers.h"
#include "proto/document/files.h"

#include <string.h>

#define CLAIMS_MAX 1000000
#define PACKAGES_MAX 1000000 /* in one file; its size is limited anyway */

/* In the order of how often they are what somebody asks for. */
static const struct cataloger *const all[] = {
    &cataloger_npm, &cataloger_python, &cataloger_dpkg, &cataloger_apk, &cataloger_distribution,
};

const struct cataloger *catalogers_find(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);
	struct cataloger_path p = {.path = path, .len = len, .base = slash ? slash + 1 : path};

	p.base_len = len - (size_t)(p.base - path);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i]->wants(&p))
			return all[i];
	return NULL;
}

const struct cataloger *catalogers_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

struct summary_package *findings_package(struct findings *f)
{
	if ((f->package_count & (f->package_count - 1)) == 0)
		f->packages =
		    talloc_realloc(f->ctx, f->packages, struct summary_package, MAX(2 * f->package_count, (size_t)1));
	ASSERT(f->packages != NULL && f->package_count < PACKAGES_MAX);
	f->packages[f->package_count] = (struct summary_package){0};
	return &f->packages[f->package_count++];
}

void findings_claim(struct findings *f, const char *path, size_t len)
{
	for (; len > 0 && path[0] == '/'; path++)
		len--;
	if (len == 0 || len > FILES_PATH_MAX || f->claim_count == CLAIMS_MAX || memchr(path, '\0', len) ||
	    !catalogers_find(path, len))
		return;
	if ((f->claim_count & (f->claim_count - 1)) == 0)
		f->claims = talloc_realloc(f->ctx, f->claims, const char *, MAX(2 * f->claim_count, (size_t)1));
	ASSERT(f->claims != NULL);
	f->claims[f->claim_count] = talloc_strndup(f->ctx, path, len);
	ASSERT(f->claims[f->claim_count] != NULL);
	f->claim_count++;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

const char *findings_text(struct findings *f, const char *text, size_t len)
{
	char *copy;

	len = strnlen(text, len);
	for (; len > 0 && is_space(text[0]); text++)
		len--;
	while (len > 0 && is_space(text[len - 1]))
		len--;
	if (len == 0)
		return NULL;
	copy = talloc_strndup(f->ctx, text, len);
	ASSERT(copy != NULL);
	return copy;
}

static void print_unparsed(const struct cataloger *c, const char *path, const char *reason, struct buf *lines)
{
	struct summary_unparsed unparsed = {
	    .cataloger = c->name, .evidence = path, .reason = reason, .fatal = c->fatal};

	summary_print_unparsed(lines, &unparsed);
}

static void print_findings(const struct findings *f, struct buf *lines)
{
	struct summary_group group = {
	    .cataloger = f->cataloger->name,
	    .type = f->cataloger->type,
	    .evidence = f->evidence,
	    .packages = f->packages,
	    .count = f->package_count,
	};
	struct summary_claim claim = {.evidence = f->evidence, .paths = f->claims, .count = f->claim_count};

	summary_print_group(lines, &group);
	summary_print_claim(lines, &claim);
	if (f->distribution.evidence)
		summary_print_distribution(lines, &f->distribution);
}

void catalogers_read(const struct cataloger *c, const struct cataloger_file *file, struct buf *lines,
                     uint64_t *packages)
{
	SCRATCH_CTX(ctx);
	struct findings f = {.ctx = ctx, .evidence = file->path, .cataloger = c};
	struct err e;

	if (c->parse(file, &f, &e) != ERR_OK) {
		print_unparsed(c, file->path, e.text, lines);
		return;
	}
	print_findings(&f, lines);
	*packages += f.package_count;
}

void catalogers_refuse(const struct cataloger *c, const char *path, uint64_t size, struct buf *lines)
{
	SCRATCH_CTX(ctx);

	print_unparsed(c, path,
	               talloc_asprintf(ctx, "%llu bytes, %llu are the most", (unsigned long long)size,
	                               (unsigned long long)c->max_bytes),
	               lines);
}

void catalogers_link(const struct cataloger *c, const char *path, const char *target, struct buf *lines)
{
	struct summary_distribution distribution = {.evidence = path, .link = target};

	if (c == &cataloger_distribution)
		summary_print_distribution(lines, &distribution);
}
