#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/json.h"
#include "services/cli/import.h"

#include <archive.h>
#include <archive_entry.h>
#include <ftw.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One member of an archive: content, or a link. */
struct member {
	const char *name, *content, *symlink, *hardlink;
};

struct fixture {
	TALLOC_CTX *ctx;
	char *dir;
};

static int setup(void **state)
{
	struct fixture *f = talloc_zero(NULL, struct fixture);

	f->ctx = f;
	f->dir = talloc_strdup(f, "/tmp/stowage-import-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *walk)
{
	(void)about;
	(void)type;
	(void)walk;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	talloc_free(f);
	return 0;
}

static const char *write_tar(struct fixture *f, const char *name, const struct member *members, bool gzip)
{
	char *path = talloc_asprintf(f, "%s/%s", f->dir, name);
	struct archive *a = archive_write_new();

	if (gzip)
		archive_write_add_filter_gzip(a);
	archive_write_set_format_pax_restricted(a);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	for (const struct member *m = members; m->name; m++) {
		struct archive_entry *entry = archive_entry_new();
		size_t len = m->content ? strlen(m->content) : 0;

		archive_entry_set_pathname(entry, m->name);
		archive_entry_set_perm(entry, 0644);
		archive_entry_set_filetype(entry, m->symlink ? AE_IFLNK : AE_IFREG);
		archive_entry_set_size(entry, (int64_t)len);
		if (m->symlink)
			archive_entry_set_symlink(entry, m->symlink);
		if (m->hardlink)
			archive_entry_set_hardlink(entry, m->hardlink);
		assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
		assert_int_equal(archive_write_data(a, m->content, len), len);
		archive_entry_free(entry);
	}
	archive_write_close(a);
	archive_write_free(a);
	return path;
}

static const char *write_directory(struct fixture *f, const char *name, const struct member *members)
{
	char *base = talloc_asprintf(f, "%s/%s", f->dir, name);

	mkdir(base, 0755);
	for (const struct member *m = members; m->name; m++) {
		char *path = talloc_asprintf(f, "%s/%s", base, m->name);
		FILE *out;

		for (char *slash = strchr(path + strlen(base) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
			*slash = '\0';
			mkdir(path, 0755);
			*slash = '/';
		}
		out = fopen(path, "w");
		assert_non_null(out);
		fputs(m->content, out);
		fclose(out);
	}
	return base;
}

/* Stands in for the upload: hashes what it is given. */
struct sink {
	struct import_plan *plan;
	size_t index, begun;
	struct hasher *hasher;
	uint64_t size;
	char head[4];
};

static enum err_code sink_begin(void *arg, size_t index, uint64_t size, struct err *e)
{
	struct sink *s = arg;

	(void)e;
	(void)size;
	s->index = index;
	s->size = 0;
	s->begun++;
	return ERR_OK;
}

static enum err_code sink_bytes(void *arg, const void *bytes, size_t len, struct err *e)
{
	struct sink *s = arg;

	(void)e;
	if (s->size == 0)
		memcpy(s->head, bytes, MIN(len, sizeof(s->head)));
	hasher_add(s->hasher, bytes, len);
	s->size += len;
	return ERR_OK;
}

static enum err_code sink_end(void *arg, struct err *e)
{
	struct sink *s = arg;
	struct import_blob *blob = &s->plan->blobs[s->index];

	(void)e;
	blob->digest = hasher_finish(s->hasher);
	blob->size = s->size;
	blob->codec = codec_detect(s->head, MIN(s->size, sizeof(s->head)));
	return ERR_OK;
}

static enum err_code read_plan(struct fixture *f, const char *path, const struct import_wish *wish,
                               struct import_plan *plan, struct err *e)
{
	struct import_source *source;
	struct sink sink = {.plan = plan, .hasher = hasher_new(f)};
	const struct import_receiver receiver = {sink_begin, sink_bytes, sink_end, &sink};
	const char *names[MANIFEST_LAYERS_MAX];

	TRY(import_source_open(f, path, &source, e));
	TRY(import_plan_make(f, source, wish, plan, e));
	for (size_t i = 0; i < plan->blob_count; i++)
		names[i] = plan->blobs[i].member;
	TRY(import_source_read(source, names, plan->blob_count, &receiver, e));
	assert_int_equal(sink.begun, plan->blob_count);
	return import_manifest(f, plan, e);
}

static const struct import_wish any = {NULL, NULL};

#define DIFF "\"sha256:1111111111111111111111111111111111111111111111111111111111111111\""
#define CONFIG1 "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" DIFF "]}}"
#define CONFIG_ARM                                                                                                     \
	"{\"os\":\"linux\",\"architecture\":\"arm64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" DIFF "]}}"
#define CONFIG2                                                                                                        \
	"{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" DIFF "," DIFF    \
	"]}}"

static struct digest_text digest_text_of(const char *content)
{
	struct digest d = digest_of(content, strlen(content));

	return digest_text(&d);
}

static void a_docker_archive_becomes_the_same_manifest_every_time(void **state)
{
	struct fixture *f = *state;
	static const struct member forward[] = {
	    {"a/layer.tar", "first layer"},
	    {"b/layer.tar", "\x1f\x8b second"},
	    {"config.json", CONFIG2},
	    {"manifest.json", "[{\"Config\":\"config.json\",\"RepoTags\":[\"host/app:1\"],\"Layers\":[\"a/"
	                      "layer.tar\",\"b/layer.tar\"]}]"},
	    {NULL}};
	static const struct member backward[] = {
	    {"./manifest.json",
	     "[{\"Layers\":[\"./a/layer.tar\",\"b/layer.tar\"],\"Config\":\"config.json\",\"RepoTags\":null}]"},
	    {"./config.json", CONFIG2},
	    {"b/layer.tar", "\x1f\x8b second"},
	    {"a/layer.tar", "first layer"},
	    {"unrelated", "x"},
	    {NULL}};
	struct import_plan one = {0}, two = {0};
	struct err e = {0};

	if (read_plan(f, write_tar(f, "one.tar", forward, false), &any, &one, &e) != ERR_OK ||
	    read_plan(f, write_tar(f, "two.tar.gz", backward, true), &any, &two, &e) != ERR_OK)
		fail_msg("%s", e.text);
	assert_string_equal(
	    one.manifest,
	    talloc_asprintf(f,
	                    "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
	                    "\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\","
	                    "\"size\":%zu},\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\","
	                    "\"digest\":\"%s\",\"size\":11},{\"mediaType\":"
	                    "\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"%s\",\"size\":9}]}",
	                    digest_text_of(CONFIG2).text, strlen(CONFIG2), digest_text_of("first layer").text,
	                    digest_text_of("\x1f\x8b second").text));
	assert_string_equal(one.manifest, two.manifest);
	assert_true(digest_equal(&one.digest, &two.digest));
	assert_int_equal(one.tags.count, 1);
	assert_string_equal(one.tags.items[0], "host/app:1");
	assert_int_equal(two.tags.count, 0);
}

static void layers_that_are_links_are_the_layers_they_link_to(void **state)
{
	struct fixture *f = *state;
	static const struct member members[] = {
	    {"manifest.json", "[{\"Config\":\"c.json\",\"Layers\":[\"x/layer.tar\",\"y/layer.tar\"]}]"},
	    {"c.json", CONFIG2},
	    {"x/layer.tar", NULL, "../base.tar"},
	    {"base.tar", "base"},
	    {"y/layer.tar", NULL, NULL, "base.tar"},
	    {NULL}};
	struct import_plan plan;
	struct err e = {0};

	if (read_plan(f, write_tar(f, "links.tar", members, false), &any, &plan, &e) != ERR_OK)
		fail_msg("%s", e.text);
	assert_int_equal(plan.blob_count, 1);
	assert_int_equal(plan.layer_count, 2);
	assert_string_equal(plan.blobs[0].member, "base.tar");
}

static void one_of_several_images_is_chosen_by_name(void **state)
{
	struct fixture *f = *state;
	static const struct member members[] = {
	    {"manifest.json", "[{\"Config\":\"1.json\",\"RepoTags\":[\"a:1\",\"a:2\"],\"Layers\":[\"1.tar\"]},"
	                      "{\"Config\":\"1.json\",\"RepoTags\":[\"b:1\"],\"Layers\":[\"2.tar\"]}]"},
	    {"1.json", CONFIG1},
	    {"1.tar", "one"},
	    {"2.tar", "two"},
	    {NULL}};
	const char *path = write_tar(f, "two.tar", members, false);
	struct import_plan plan;
	struct err e = {0};

	assert_int_equal(read_plan(f, path, &any, &plan, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "a:1, a:2, b:1"));
	assert_int_equal(read_plan(f, path, &(struct import_wish){"c:1", NULL}, &plan, &e), ERR_NOT_FOUND);
	assert_int_equal(read_plan(f, path, &(struct import_wish){"b:1", NULL}, &plan, &e), ERR_OK);
	assert_string_equal(plan.blobs[0].member, "2.tar");
	assert_string_equal(plan.tags.items[0], "b:1");
}

static void wrong_archives_are_refused_with_what_is_wrong(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct member members[6];
		enum err_code code;
		const char *says;
	} cases[] = {
	    {{{"something", "else"}, {NULL}}, ERR_UNSUPPORTED, "neither"},
	    {{{"manifest.json", "[]"}, {NULL}}, ERR_CORRUPT, "0 images"},
	    {{{"manifest.json", "{}"}, {NULL}}, ERR_CORRUPT, "no list"},
	    {{{"manifest.json", "[{\"Config\":"}, {NULL}}, ERR_CORRUPT, "manifest.json"},
	    {{{"manifest.json", "[{\"Config\":\"c\",\"Layers\":[]}]"}, {NULL}}, ERR_INVALID, "no layers"},
	    {{{"manifest.json", "[{\"Layers\":[\"l\"]}]"}, {"l", "x"}, {NULL}}, ERR_CORRUPT, "no config"},
	    {{{"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]"}, {"l", "x"}, {NULL}}, ERR_NOT_FOUND, "no c"},
	    {{{"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]"}, {"c", CONFIG1}, {NULL}},
	     ERR_NOT_FOUND,
	     "no l"},
	    {{{"manifest.json", "[{\"Config\":\"c\",\"Layers\":[1]}]"}, {NULL}}, ERR_CORRUPT, "no text"},
	    {{{"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"../l\"]}]"}, {"../l", "x"}, {NULL}},
	     ERR_CORRUPT,
	     "leads out"},
	    {{{"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]"}, {"c", CONFIG2}, {"l", "x"}, {NULL}},
	     ERR_CORRUPT,
	     ""},
	    {{{"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]"},
	      {"c", CONFIG1},
	      {"l", NULL, "m"},
	      {"m", NULL, "l"},
	      {NULL}},
	     ERR_CORRUPT,
	     "leads out"},
	    {{{"index.json", "{\"schemaVersion\":2,\"manifests\":[]}"}, {NULL}}, ERR_INVALID, "no image"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct import_plan plan;
		struct err e = {0};
		const char *path = write_tar(f, "wrong.tar", cases[i].members, false);
		enum err_code code = read_plan(f, path, &any, &plan, &e);

		if (code != cases[i].code || !strstr(e.text, cases[i].says))
			fail_msg("case %zu: %s: %s", i, err_name(code), e.text);
	}
}

static void what_is_no_archive_is_refused(void **state)
{
	struct fixture *f = *state;
	static const struct member whole[] = {{"manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]"},
	                                      {"c", CONFIG1},
	                                      {"l", "a layer of more than one block"},
	                                      {NULL}};
	const char *cut = write_tar(f, "cut.tar", whole, false);
	char *text = talloc_asprintf(f, "%s/text", f->dir);
	struct import_source *source;
	struct import_plan plan;
	struct err e = {0};
	FILE *out = fopen(text, "w");

	fputs("this is no archive, by no means, not at all", out);
	fclose(out);
	assert_int_equal(import_source_open(f, text, &source, &e), ERR_CORRUPT);
	assert_int_equal(import_source_open(f, "/nonexistent/x", &source, &e), ERR_NOT_FOUND);
	assert_int_equal(import_source_open(f, "/dev/null", &source, &e), ERR_INVALID);
	assert_int_equal(truncate(cut, 512 * 5 + 10), 0);
	assert_int_equal(read_plan(f, cut, &any, &plan, &e), ERR_CORRUPT);
}

/* ---- OCI layouts ---- */

struct layout {
	char *manifest;
	struct member members[12];
	size_t count;
};

static void add_blob(struct fixture *f, struct layout *l, const char *content)
{
	l->members[l->count++] = (struct member){
	    .name = talloc_asprintf(f, "blobs/sha256/%s", digest_text_of(content).text + 7), .content = content};
}

static char *descriptor(struct fixture *f, const char *type, const char *content, const char *more)
{
	return talloc_asprintf(f, "{\"mediaType\":\"application/vnd.oci.image.%s\",\"digest\":\"%s\",\"size\":%zu%s}",
	                       type, digest_text_of(content).text, strlen(content), more);
}

static char *manifest_of(struct fixture *f, const char *config, const char *layer)
{
	return talloc_asprintf(f,
	                       "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
	                       "\"config\":%s,\"layers\":[%s]}",
	                       descriptor(f, "config.v1+json", config, ""), descriptor(f, "layer.v1.tar", layer, ""));
}

static struct layout make_layout(struct fixture *f)
{
	struct layout l = {.manifest = manifest_of(f, CONFIG1, "the layer")};

	add_blob(f, &l, CONFIG1);
	add_blob(f, &l, "the layer");
	add_blob(f, &l, l.manifest);
	l.members[l.count++] = (struct member){.name = "oci-layout", .content = "{\"imageLayoutVersion\":\"1.0.0\"}"};
	l.members[l.count++] = (struct member){
	    .name = "index.json",
	    .content = talloc_asprintf(f, "{\"schemaVersion\":2,\"manifests\":[%s]}",
	                               descriptor(f, "manifest.v1+json", l.manifest,
	                                          ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"1.0\","
	                                          "\"io.containerd.image.name\":\"docker.io/library/app:1.0\"}"))};
	return l;
}

static void a_layout_keeps_its_manifest_as_directory_and_as_tar(void **state)
{
	struct fixture *f = *state;
	struct layout l = make_layout(f);
	const char *paths[] = {write_directory(f, "layout", l.members), write_tar(f, "layout.tar", l.members, false)};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct import_plan plan;
		struct err e = {0};

		if (read_plan(f, paths[i], &any, &plan, &e) != ERR_OK)
			fail_msg("%s: %s", paths[i], e.text);
		assert_string_equal(digest_text(&plan.digest).text, digest_text_of(l.manifest).text);
		assert_string_equal(plan.tags.items[0], "docker.io/library/app:1.0");
		assert_int_equal(read_plan(f, paths[i], &(struct import_wish){"1.0", NULL}, &plan, &e), ERR_OK);
		assert_int_equal(read_plan(f, paths[i], &(struct import_wish){"2.0", NULL}, &plan, &e), ERR_NOT_FOUND);
	}
}

static void content_that_is_not_what_its_name_says_is_corrupt(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i += 2) { /* config, manifest; layers are checked while they are uploaded */
		struct layout l = make_layout(f);
		struct import_plan plan;
		struct err e = {0};

		l.members[i].content = talloc_asprintf(f, "%s ", l.members[i].content);
		assert_int_equal(read_plan(f, write_tar(f, "bad.tar", l.members, false), &any, &plan, &e), ERR_CORRUPT);
		assert_non_null(strstr(e.text, "has content of"));
	}
}

static void of_an_index_the_platform_decides(void **state)
{
	struct fixture *f = *state;
	struct layout l = {0};
	char *arm = manifest_of(f, CONFIG_ARM, "arm"), *amd = manifest_of(f, CONFIG1, "amd"), *index;
	const char *path;
	struct import_plan plan;
	struct err e = {0};

	index = talloc_asprintf(
	    f, "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[%s,%s]}",
	    descriptor(f, "manifest.v1+json", arm, ",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}"),
	    descriptor(f, "manifest.v1+json", amd, ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}"));
	add_blob(f, &l, CONFIG1);
	add_blob(f, &l, CONFIG_ARM);
	add_blob(f, &l, "arm");
	add_blob(f, &l, "amd");
	add_blob(f, &l, arm);
	add_blob(f, &l, amd);
	add_blob(f, &l, index);
	l.members[l.count++] = (struct member){.name = "index.json",
	                                       .content = talloc_asprintf(f, "{\"schemaVersion\":2,\"manifests\":[%s]}",
	                                                                  descriptor(f, "index.v1+json", index, ""))};
	path = write_directory(f, "multi", l.members);
	assert_int_equal(read_plan(f, path, &(struct import_wish){NULL, "linux/arm64"}, &plan, &e), ERR_OK);
	assert_string_equal(digest_text(&plan.digest).text, digest_text_of(arm).text);
	assert_int_equal(read_plan(f, path, &(struct import_wish){NULL, "linux/amd64"}, &plan, &e), ERR_OK);
	assert_string_equal(digest_text(&plan.digest).text, digest_text_of(amd).text);
	assert_int_equal(read_plan(f, path, &(struct import_wish){NULL, "linux/s390x"}, &plan, &e), ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_docker_archive_becomes_the_same_manifest_every_time),
	    TEST(layers_that_are_links_are_the_layers_they_link_to),
	    TEST(one_of_several_images_is_chosen_by_name),
	    TEST(wrong_archives_are_refused_with_what_is_wrong),
	    TEST(what_is_no_archive_is_refused),
	    TEST(a_layout_keeps_its_manifest_as_directory_and_as_tar),
	    TEST(content_that_is_not_what_its_name_says_is_corrupt),
	    TEST(of_an_index_the_platform_decides),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
