#include "tests/unit/catalog/fixture.h"

#include "services/catalog/detail.h"
#include "services/catalog/package_read.h"
#include "services/catalog/removal.h"
#include "services/catalog/restore.h"
#include "services/catalog/sweep.h"

#include <inttypes.h>

static int64_t count_of(struct fixture *f, const char *table)
{
	return number_of(f, talloc_asprintf(f->ctx, "SELECT count(*) FROM catalog.%s", table));
}

/* The record of an image, as the archive would keep it. */
static struct portable exported(struct fixture *f, int64_t id, char **text, size_t *len)
{
	struct image image = image_now(f, id);
	struct portable p;

	assert_ok(restore_export(f->db, f->ctx, &image, &p, &f->e));
	assert_ok(portable_write(f->ctx, &p, text, len, &f->e));
	return p;
}

static struct portable read_back(struct fixture *f, const char *name, const char *text, size_t len)
{
	struct digest digest = digest_named(name);
	struct portable p;

	assert_ok(portable_read(f->ctx, text, len, &digest, &p, &f->e));
	return p;
}

/* Archived, out of the working set, and its layer swept. */
static void archive_away(struct fixture *f, int64_t id)
{
	struct image image = image_now(f, id);

	in_tx(restore_note_archived(f->db, &image, image.analysed_at, &f->e));
	in_tx(removal_detach(f->db, f->ctx, &image, &f->e));
	removal_run(&f->c);
	sweep_run(&f->c);
	assert_int_equal(image_now(f, id).residence, RESIDENCE_ARCHIVED);
}

static size_t begin(struct fixture *f, const char *account, const struct portable *p)
{
	struct object_name *wanted;
	bool *skip, needless;
	size_t count;

	in_tx(restore_begin(f->db, f->ctx, account, p, &skip, &needless, &f->e));
	if (needless)
		return 0;
	portable_objects(f->ctx, p, skip, true, &wanted, &count);
	for (size_t i = 0; i < count; i++)
		memory_objects_add(f->store, account, wanted[i].bucket, wanted[i].key, "copied");
	return count;
}

static void a_record_says_everything_and_always_the_same(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	char *text, *again;
	size_t len, again_len, count;
	struct object_name *objects;
	struct portable p = exported(f, id, &text, &len), back = read_back(f, "a", text, len);
	struct image image = image_now(f, id);

	in_tx(restore_note_archived(f->db, &image, image.analysed_at, &f->e));
	exported(f, id, &again, &again_len);
	assert_string_equal(text, again);
	assert_true(
	    strncmp(text, "{\"documents\":[\"config\",\"manifest\",\"packages\"],\"format\":1,\"image\":{\"added_at\":",
	            60) == 0);
	assert_int_equal(back.image.analysed_at, image.analysed_at);
	assert_int_equal(back.image.layers_count, 1);
	assert_int_equal(back.image.sets_count, 1);
	assert_int_equal(back.documents.count, 3);
	portable_objects(f->ctx, &p, NULL, true, &objects, &count);
	assert_int_equal(count, 5);
	assert_string_equal(objects[0].bucket, "layers");
	assert_string_equal(objects[4].bucket, "images");
}

static void a_layer_that_an_image_has_twice_is_copied_once(void **state)
{
	struct fixture *f = *state;
	struct layer_item layers[] = {layer_item_named("l"), layer_item_named("m"), layer_item_named("l")};
	struct portable p = {.image = {.layers = layers, .layers_count = 3}};
	struct object_name *objects;
	size_t count;

	portable_objects(f->ctx, &p, NULL, false, &objects, &count);
	assert_int_equal(count, 4);
}

static void only_what_is_analysed_and_here_can_be_exported(void **state)
{
	struct fixture *f = *state;
	struct image queued = image_now(f, given_order(f, "default", "queued").image), image;
	struct portable p;
	int64_t id;

	assert_int_equal(restore_export(f->db, f->ctx, &queued, &p, &f->e), ERR_PRECONDITION);
	run_sql(f, "DELETE FROM catalog.image");
	id = given_analysed(f, "default", "a", 1);
	image = image_now(f, id);
	image.status = ANALYSIS_QUEUED;
	assert_int_equal(restore_export(f->db, f->ctx, &image, &p, &f->e), ERR_CONFLICT);
	archive_away(f, id);
	image = image_now(f, id);
	assert_int_equal(restore_export(f->db, f->ctx, &image, &p, &f->e), ERR_PRECONDITION);
}

static void a_copy_of_another_analysis_is_not_taken_for_the_image(void **state)
{
	struct fixture *f = *state;
	struct image image = image_now(f, given_analysed(f, "default", "a", 1));

	in_tx_fails(ERR_PRECONDITION, restore_note_archived(f->db, &image, image.analysed_at - 1, &f->e));
	in_tx(restore_note_archived(f->db, &image, image.analysed_at, &f->e));
	assert_int_equal(image.residence, RESIDENCE_BOTH);
	in_tx(restore_note_archived(f->db, &image, image.analysed_at, &f->e));
}

static void a_detached_image_comes_back_as_it_was(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	struct image_packages_request request = {0};
	struct image_packages_reply before = {0}, after = {0};
	char *text, *again;
	size_t len, again_len;
	struct portable p;

	exported(f, id, &text, &len);
	assert_ok(package_read_image(f->db, f->ctx, id, &request, &before, &f->e));
	archive_away(f, id);
	assert_int_equal(count_of(f, "layer"), 0);
	p = read_back(f, "a", text, len);
	assert_int_equal(begin(f, "default", &p), 5);
	/* Whatever time the copying takes, no sweep comes between. */
	run_sql(f, "UPDATE catalog.layer SET touched_at = 1");
	sweep_run(&f->c);
	assert_int_equal(image_now(f, id).residence, RESIDENCE_ARCHIVED);
	assert_ok(restore_finish(&f->c, f->ctx, "default", &p, &f->e));
	assert_ok(restore_finish(&f->c, f->ctx, "default", &p, &f->e));
	assert_int_equal(image_now(f, id).residence, RESIDENCE_BOTH);
	assert_string_equal(text_of(f, "SELECT state FROM catalog.layer"), "known");
	exported(f, id, &again, &again_len);
	assert_string_equal(text, again);
	assert_ok(package_read_image(f->db, f->ctx, id, &request, &after, &f->e));
	assert_int_equal(after.items_count, before.items_count);
	for (size_t i = 0; i < after.items_count; i++)
		assert_int_equal(package_set_compare(&before.items[i], &after.items[i]), 0);
	assert_int_equal(begin(f, "default", &p), 0);
}

static void layers_that_are_known_are_not_copied_again(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	struct portable p;
	char *text;
	size_t len;

	exported(f, id, &text, &len);
	archive_away(f, id);
	given_layer(f, "default", "a");
	p = read_back(f, "a", text, len);
	assert_int_equal(begin(f, "default", &p), 3);
	assert_ok(restore_finish(&f->c, f->ctx, "default", &p, &f->e));
}

static void finishing_what_was_swept_meanwhile_is_a_conflict(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	struct portable p;
	char *text;
	size_t len;

	exported(f, id, &text, &len);
	archive_away(f, id);
	p = read_back(f, "a", text, len);
	assert_int_equal(restore_finish(&f->c, f->ctx, "default", &p, &f->e), ERR_CONFLICT);
	begin(f, "default", &p);
	run_sql(f, "DELETE FROM catalog.layer_use");
	sweep_run(&f->c);
	assert_int_equal(restore_finish(&f->c, f->ctx, "default", &p, &f->e), ERR_CONFLICT);
	assert_int_equal(image_now(f, id).residence, RESIDENCE_ARCHIVED);
	run_sql(f, "DELETE FROM catalog.image");
	assert_int_equal(restore_finish(&f->c, f->ctx, "default", &p, &f->e), ERR_CONFLICT);
}

static void restoring_waits_for_what_is_under_way(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	struct image image = image_now(f, id);
	struct portable p;
	bool *skip, needless;
	char *text;
	size_t len;

	exported(f, id, &text, &len);
	p = read_back(f, "a", text, len);
	in_tx(restore_note_archived(f->db, &image, image.analysed_at, &f->e));
	in_tx(removal_detach(f->db, f->ctx, &image, &f->e));
	in_tx_fails(ERR_CONFLICT, restore_begin(f->db, f->ctx, "default", &p, &skip, &needless, &f->e));
	removal_run(&f->c);
	assert_int_not_equal(given_order(f, "default", "a").job, 0);
	in_tx_fails(ERR_CONFLICT, restore_begin(f->db, f->ctx, "default", &p, &skip, &needless, &f->e));
}

/* ---- where the database knows nothing any more ---- */

static char *packages_document(struct fixture *f, struct package *packages, size_t count)
{
	char *text = talloc_strdup(f->ctx, "");

	for (size_t i = 0; i < count; i++) {
		cJSON *json;
		char *line;

		assert_ok(proto_encode(record_package(), &packages[i], &json, &f->e));
		line = cJSON_PrintUnformatted(json);
		text = talloc_asprintf_append(text, "%s\n", line);
		cJSON_free(line);
		cJSON_Delete(json);
	}
	return text;
}

static void an_image_comes_back_from_its_objects_alone(void **state)
{
	struct fixture *f = *state;
	int64_t id = given_analysed(f, "default", "a", 5);
	struct package *packages = some_packages(f, "dpkg", "a", 5);
	struct digest digest = digest_named("a");
	struct image_detail detail;
	struct portable p;
	struct image image;
	char *text, *document = packages_document(f, packages, 5);
	size_t len;

	run_sql(f, talloc_asprintf(f->ctx,
	                           "INSERT INTO catalog.tag (account, name, registry, repository, tag, image)"
	                           " VALUES ('default', 'r.example/app:1', 'r.example', 'app', '1', %" PRId64 ")",
	                           id));
	exported(f, id, &text, &len);
	run_sql(f, "TRUNCATE catalog.image, catalog.layer, catalog.package_set, catalog.package CASCADE");
	f->store->count = 0;
	p = read_back(f, "a", text, len);
	assert_int_equal(begin(f, "other", &p), 5);
	assert_ok(image_find(f->db, f->ctx, "other", "r.example/app:1", &image, &f->e));
	assert_int_equal(image.residence, RESIDENCE_ARCHIVED);

	/* The copied document is no such document; then another image's; then it is the right one. */
	assert_int_equal(restore_finish(&f->c, f->ctx, "other", &p, &f->e), ERR_CORRUPT);
	f->store->count = 0;
	memory_objects_add(f->store, "other", "images",
	                   talloc_asprintf(f->ctx, "%s/packages", digest_hex(&digest).text),
	                   packages_document(f, packages, 4));
	assert_int_equal(restore_finish(&f->c, f->ctx, "other", &p, &f->e), ERR_CORRUPT);
	f->store->count = 0;
	memory_objects_add(f->store, "other", "images",
	                   talloc_asprintf(f->ctx, "%s/packages", digest_hex(&digest).text), document);
	assert_ok(restore_finish(&f->c, f->ctx, "other", &p, &f->e));
	assert_ok(detail_read(f->db, f->ctx, image.id, &detail, NULL, &f->e));
	assert_int_equal(detail.residence, RESIDENCE_BOTH);
	assert_int_equal(detail.packages, 5);
	assert_int_equal(detail.analysed_at, p.image.analysed_at);
	assert_int_equal(detail.layers_count, 1);
	assert_string_equal(detail.tags.items[0], "r.example/app:1");
	assert_int_equal(count_of(f, "set_member"), 5);
}

static void records_of_strangers_are_checked(void **state)
{
	struct fixture *f = *state;
	struct digest digest = digest_named("a");
	char *good;
	size_t len;
	struct portable p;
	static const struct {
		const char *text;
		enum err_code code;
	} cases[] = {
	    {"", ERR_CORRUPT},
	    {"not json", ERR_CORRUPT},
	    {"[]", ERR_CORRUPT},
	    {"{}", ERR_CORRUPT},
	    {"{\"format\":1}", ERR_CORRUPT},
	    {"{\"format\":1,\"image\":{},\"documents\":[]}", ERR_CORRUPT},
	    {"{\"format\":2,\"image\":{},\"documents\":[]}", ERR_UNSUPPORTED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(portable_read(f->ctx, cases[i].text, strlen(cases[i].text), &digest, &p, &f->e),
		                 cases[i].code);
	exported(f, given_analysed(f, "default", "b", 1), &good, &len);
	assert_int_equal(portable_read(f->ctx, good, len, &digest, &p, &f->e), ERR_INVALID);
	digest = digest_named("b");
	for (size_t cut = 1; cut < len; cut += 37)
		assert_int_equal(portable_read(f->ctx, good, len - cut, &digest, &p, &f->e), ERR_CORRUPT);
	*strstr(good, "config") = '/';
	assert_int_equal(portable_read(f->ctx, good, len, &digest, &p, &f->e), ERR_CORRUPT);
}

FIXTURE_MAIN(FIXTURE_TEST(a_record_says_everything_and_always_the_same),
             FIXTURE_TEST(a_layer_that_an_image_has_twice_is_copied_once),
             FIXTURE_TEST(only_what_is_analysed_and_here_can_be_exported),
             FIXTURE_TEST(a_copy_of_another_analysis_is_not_taken_for_the_image),
             FIXTURE_TEST(a_detached_image_comes_back_as_it_was),
             FIXTURE_TEST(layers_that_are_known_are_not_copied_again),
             FIXTURE_TEST(finishing_what_was_swept_meanwhile_is_a_conflict),
             FIXTURE_TEST(restoring_waits_for_what_is_under_way),
             FIXTURE_TEST(an_image_comes_back_from_its_objects_alone), FIXTURE_TEST(records_of_strangers_are_checked))
