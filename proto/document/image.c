#include "proto/document/image.h"
#include "proto/document/purl.h"

#include <stdlib.h>
#include <string.h>

/* A package of a layer that is visible, before equal ones are joined. */
struct finding {
	const struct summary_group *group;
	const struct summary_package *about;
	const char *purl;
	size_t layer;
};

struct assembly {
	TALLOC_CTX *scratch;
	const struct image_layer *layers;
	size_t count;
	const struct image_sight *known;  /* NULL: nothing */
	struct merge_question *questions; /* in the order in which visit_all comes to the evidence */
	size_t question_count;
	const char **claims; /* keys of the visible ones, sorted */
	size_t claim_count;
	struct finding *findings;
	size_t finding_count;
	const struct summary_unparsed *fatal; /* visible evidence that must be read and cannot */
	struct image_result *result;
};

/* Calls see for each piece of evidence, always in the same order. kind tells which of the arrays index is of. */
enum kind { GROUP, CLAIM, UNPARSED, DISTRIBUTION };

typedef enum err_code (*see_evidence)(struct assembly *a, size_t layer, enum kind kind, size_t index,
                                      const char *evidence, struct err *e);

static enum err_code visit_all(struct assembly *a, see_evidence see, struct err *e)
{
	for (size_t l = 0; l < a->count; l++) {
		const struct summary *s = a->layers[l].summary;

		for (size_t i = 0; i < s->group_count; i++)
			TRY(see(a, l, GROUP, i, s->groups[i].evidence, e));
		for (size_t i = 0; i < s->claim_count; i++)
			TRY(see(a, l, CLAIM, i, s->claims[i].evidence, e));
		for (size_t i = 0; i < s->unparsed_count; i++)
			TRY(see(a, l, UNPARSED, i, s->unparsed[i].evidence, e));
		for (size_t i = 0; i < s->distribution_count; i++)
			TRY(see(a, l, DISTRIBUTION, i, s->distributions[i].evidence, e));
	}
	return ERR_OK;
}

static enum err_code ask(struct assembly *a, size_t layer, enum kind kind, size_t index, const char *evidence,
                         struct err *e)
{
	struct merge_question *q = &a->questions[a->question_count];

	(void)kind;
	(void)index;
	(void)e;
	*q = (struct merge_question){.path = evidence, .layer = layer, .hidden_by = MERGE_VISIBLE};
	if (a->known && layer < a->known->layers && a->known->hidden_by[a->question_count] < a->known->layers)
		q->hidden_by = a->known->hidden_by[a->question_count];
	a->question_count++;
	return ERR_OK;
}

static size_t count_evidence(const struct image_layer *layers, size_t count)
{
	size_t total = 0;

	for (size_t l = 0; l < count; l++) {
		const struct summary *s = layers[l].summary;

		total += s->group_count + s->claim_count + s->unparsed_count + s->distribution_count;
	}
	return total;
}

/* For the next image on these layers. */
static void keep_sight(struct assembly *a)
{
	struct image_result *r = a->result;
	uint16_t *hidden_by = talloc_array(r, uint16_t, a->question_count + 1);

	ASSERT(hidden_by != NULL);
	for (size_t i = 0; i < a->question_count; i++)
		hidden_by[i] = (uint16_t)MIN(a->questions[i].hidden_by, (size_t)IMAGE_VISIBLE);
	r->sight = (struct image_sight){.layers = a->count, .count = a->question_count, .hidden_by = hidden_by};
}

static enum err_code find_visible(struct assembly *a, struct err *e)
{
	struct merge_layer *layers = talloc_array(a->scratch, struct merge_layer, MAX(a->count, (size_t)1));
	size_t known = a->known ? a->known->layers : 0;

	ASSERT(layers != NULL);
	for (size_t l = 0; l < a->count; l++)
		layers[l] = (struct merge_layer){.source = a->layers[l].files, .no_links = true};
	a->questions = talloc_array(a->scratch, struct merge_question, count_evidence(a->layers, a->count) + 1);
	ASSERT(a->questions != NULL);
	TRY(visit_all(a, ask, e));
	TRY(merge_visible(layers, a->count, known, a->questions, a->question_count, e));
	keep_sight(a);
	return ERR_OK;
}

/* The name that a path has in comparisons of ownership: with /usr merged, usr/lib/x and lib/x are one file. */
static const char *claim_key(const char *path)
{
	static const char *const merged[] = {"bin/", "sbin/", "lib/", "lib32/", "lib64/", "libx32/"};

	if (strncmp(path, "usr/", 4) != 0)
		return path;
	for (size_t i = 0; i < ARRAY_SIZE(merged); i++)
		if (strncmp(path + 4, merged[i], strlen(merged[i])) == 0)
			return path + 4;
	return path;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum err_code take_claims(struct assembly *a, size_t layer, enum kind kind, size_t index, const char *evidence,
                                 struct err *e)
{
	bool visible = a->questions[a->question_count++].hidden_by == MERGE_VISIBLE;
	const struct summary_claim *claim;

	(void)evidence;
	(void)e;
	if (kind != CLAIM || !visible)
		return ERR_OK;
	claim = &a->layers[layer].summary->claims[index];
	a->claims = talloc_realloc(a->scratch, a->claims, const char *, a->claim_count + claim->count + 1);
	ASSERT(a->claims != NULL);
	for (size_t i = 0; i < claim->count; i++)
		a->claims[a->claim_count++] = claim_key(claim->paths[i]);
	return ERR_OK;
}

static bool is_system(const char *type)
{
	return strcmp(type, "deb") == 0 || strcmp(type, "apk") == 0 || strcmp(type, "rpm") == 0;
}

static bool is_claimed(const struct assembly *a, const char *path)
{
	const char *key = claim_key(path);

	return a->claim_count > 0 && bsearch(&key, a->claims, a->claim_count, sizeof(key), compare_texts);
}

static void take_group(struct assembly *a, size_t layer, const struct summary_group *group)
{
	if (!is_system(group->type) && is_claimed(a, group->evidence)) {
		a->result->claimed += group->count;
		return;
	}
	a->findings = talloc_realloc(a->scratch, a->findings, struct finding, a->finding_count + group->count + 1);
	ASSERT(a->findings != NULL);
	for (size_t i = 0; i < group->count; i++)
		a->findings[a->finding_count++] =
		    (struct finding){.group = group, .about = &group->packages[i], .layer = layer};
}

static enum err_code refuse(const struct summary_unparsed *unparsed, struct err *e)
{
	CLEANUP(buf_release) struct buf path;

	buf_init(&path, 4 * FILES_PATH_MAX);
	files_escape(&path, unparsed->evidence, strlen(unparsed->evidence));
	return ERR(e, ERR_CORRUPT, "%s database \"%s\" cannot be read: %s", unparsed->cataloger, path.bytes,
	           unparsed->reason);
}

static void take_unparsed(struct assembly *a, size_t layer, const struct summary_unparsed *unparsed)
{
	struct image_result *r = a->result;

	if (unparsed->fatal) {
		/* Of several, always the same one is told, whatever layers they are in. */
		if (!a->fatal || strcmp(unparsed->evidence, a->fatal->evidence) < 0)
			a->fatal = unparsed;
		return;
	}
	r->unparsed = talloc_realloc(r, r->unparsed, struct image_unparsed, r->unparsed_count + 1);
	ASSERT(r->unparsed != NULL);
	r->unparsed[r->unparsed_count++] = (struct image_unparsed){.about = unparsed, .layer = layer};
}

static enum err_code take(struct assembly *a, size_t layer, enum kind kind, size_t index, const char *evidence,
                          struct err *e)
{
	const struct summary *s = a->layers[layer].summary;
	bool visible = a->questions[a->question_count++].hidden_by == MERGE_VISIBLE;

	(void)evidence;
	(void)e;
	if (!visible)
		return ERR_OK;
	if (kind == GROUP)
		take_group(a, layer, &s->groups[index]);
	if (kind == UNPARSED)
		take_unparsed(a, layer, &s->unparsed[index]);
	return ERR_OK;
}

/* The visible distribution file at the path, or NULL. There is at most one, in the layer that shows it. */
static const struct summary_distribution *distribution_at(const struct assembly *a, const char *path)
{
	const struct summary_distribution *found = NULL;
	size_t question = 0;

	for (size_t l = 0; l < a->count; l++) {
		const struct summary *s = a->layers[l].summary;

		question += s->group_count + s->claim_count + s->unparsed_count;
		for (size_t i = 0; i < s->distribution_count; i++, question++)
			if (a->questions[question].hidden_by == MERGE_VISIBLE &&
			    strcmp(s->distributions[i].evidence, path) == 0)
				found = &s->distributions[i];
	}
	return found;
}

/* Adds one component to a normalised path; there is room. */
static size_t add_component(char *path, size_t len, const char *component, size_t component_len)
{
	if (component_len == 0 || (component_len == 1 && component[0] == '.'))
		return len;
	if (component_len == 2 && component[0] == '.' && component[1] == '.') {
		while (len > 0 && path[len - 1] != '/')
			len--;
		return len > 0 ? len - 1 : 0;
	}
	if (len > 0)
		path[len++] = '/';
	memcpy(path + len, component, component_len);
	return len + component_len;
}

/* Where a symbolic link at path with that target leads, by name alone; on ctx. */
static char *follow(TALLOC_CTX *ctx, const char *path, const char *target)
{
	const char *way = target[0] == '/' ? target : talloc_asprintf(ctx, "%s/../%s", path, target), *slash;
	char *out = way ? talloc_size(ctx, strlen(way) + 1) : NULL;
	size_t len = 0;

	ASSERT(out != NULL);
	for (; *way; way = *slash ? slash + 1 : slash) {
		slash = strchrnul(way, '/');
		len = add_component(out, len, way, (size_t)(slash - way));
	}
	out[len] = '\0';
	return out;
}

static const struct summary_distribution *resolve_distribution(struct assembly *a, const char *path)
{
	const struct summary_distribution *d = distribution_at(a, path);

	for (int steps = 0; d && d->link && steps < 8; steps++)
		d = distribution_at(a, follow(a->scratch, d->evidence, d->link));
	return d && !d->link ? d : NULL;
}

static void find_distribution(struct assembly *a)
{
	const struct summary_distribution *d = resolve_distribution(a, "etc/os-release");
	struct image_distribution *to = &a->result->distribution;
	char *id;

	if (!d)
		d = resolve_distribution(a, "usr/lib/os-release");
	if (!d)
		return;
	*to = (struct image_distribution){
	    .version_id = d->version_id,
	    .version_codename = d->version_codename,
	    .name = d->name,
	    .pretty_name = d->pretty_name,
	    .id_like = d->id_like,
	    .evidence = d->evidence,
	};
	id = d->id ? talloc_strdup(a->result, d->id) : NULL;
	for (char *c = id; c && *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	to->id = id;
}

static void make_purls(struct assembly *a)
{
	const struct image_distribution *d = &a->result->distribution;

	for (size_t i = 0; i < a->finding_count; i++) {
		struct finding *f = &a->findings[i];

		f->purl = purl_make(a->result, &(struct purl_parts){
						   .type = f->group->type,
						   .name = f->about->name,
						   .version = f->about->version,
						   .arch = f->about->arch,
						   .distro_id = d->id,
						   .distro_version_id = d->version_id,
					       });
	}
}

static int compare_identity(const struct finding *x, const struct finding *y)
{
	int order = strcmp(x->group->type, y->group->type);

	if (order == 0)
		order = strcmp(x->about->name, y->about->name);
	if (order == 0)
		order = strcmp(x->about->version, y->about->version);
	return order ? order : strcmp(x->purl, y->purl);
}

static int compare_findings(const void *a, const void *b)
{
	const struct finding *x = a, *y = b;
	int order = compare_identity(x, y);

	if (order == 0)
		order = strcmp(x->group->evidence, y->group->evidence);
	/* The same package twice in one file: as they stand there. */
	if (order == 0)
		order = (x->about > y->about) - (x->about < y->about);
	return order;
}

/* Equal packages become one, with the evidence of all. */
static void join_packages(struct assembly *a)
{
	struct image_result *r = a->result;

	if (a->finding_count > 0)
		qsort(a->findings, a->finding_count, sizeof(*a->findings), compare_findings);
	r->packages = talloc_zero_array(r, struct image_package, a->finding_count + 1);
	ASSERT(r->packages != NULL);
	for (size_t i = 0, next; i < a->finding_count; i = next) {
		const struct finding *f = &a->findings[i];
		struct image_package *p = &r->packages[r->package_count++];

		for (next = i + 1; next < a->finding_count && compare_identity(f, &a->findings[next]) == 0;)
			next++;
		*p = (struct image_package){
		    .type = f->group->type,
		    .cataloger = f->group->cataloger,
		    .purl = f->purl,
		    .about = *f->about,
		    .layer = f->layer,
		};
		p->evidence = talloc_array(r, const char *, next - i);
		ASSERT(p->evidence != NULL);
		for (size_t k = i; k < next; k++) {
			const char *evidence = a->findings[k].group->evidence;

			if (p->evidence_count == 0 || strcmp(p->evidence[p->evidence_count - 1], evidence) != 0)
				p->evidence[p->evidence_count++] = evidence;
		}
	}
}

static int compare_unparsed(const void *a, const void *b)
{
	const struct image_unparsed *x = a, *y = b;

	return strcmp(x->about->evidence, y->about->evidence);
}

static enum err_code assemble(struct assembly *a, struct err *e)
{
	TRY(find_visible(a, e));
	a->question_count = 0;
	TRY(visit_all(a, take_claims, e));
	if (a->claim_count > 0)
		qsort(a->claims, a->claim_count, sizeof(*a->claims), compare_texts);
	a->question_count = 0;
	TRY(visit_all(a, take, e));
	if (a->fatal)
		return refuse(a->fatal, e);
	find_distribution(a);
	make_purls(a);
	join_packages(a);
	if (a->result->unparsed_count > 0)
		qsort(a->result->unparsed, a->result->unparsed_count, sizeof(*a->result->unparsed), compare_unparsed);
	return ERR_OK;
}

enum err_code image_assemble_upon(TALLOC_CTX *ctx, const struct image_layer *layers, size_t count,
                                  const struct image_sight *known, struct image_result **out, struct err *e)
{
	SCRATCH_CTX(scratch);
	struct assembly a = {.scratch = scratch, .layers = layers, .count = count};
	enum err_code code;

	if (count > MERGE_LAYERS_MAX)
		return ERR(e, ERR_TOO_LARGE, "%zu layers, %d are the most", count, MERGE_LAYERS_MAX);
	if (known && known->layers <= count && count_evidence(layers, known->layers) <= known->count)
		a.known = known;
	a.result = talloc_zero(ctx, struct image_result);
	ASSERT(a.result != NULL);
	code = assemble(&a, e);
	if (code != ERR_OK) {
		talloc_free(a.result);
		return code;
	}
	*out = a.result;
	return ERR_OK;
}

enum err_code image_assemble(TALLOC_CTX *ctx, const struct image_layer *layers, size_t count, struct image_result **out,
                             struct err *e)
{
	return image_assemble_upon(ctx, layers, count, NULL, out, e);
}
