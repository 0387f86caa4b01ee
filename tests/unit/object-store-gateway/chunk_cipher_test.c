#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/chunk_cipher.h"
#include "services/object-store-gateway/key_check.h"
#include "tests/unit/object-store-gateway/cipher_support.h"

static const enum fixture_kind every_kind[] = {
    BACKEND_MEM,           BACKEND_DB, BACKEND_LOCALFS, BACKEND_FAULTY_MEM, BACKEND_FAULTY_DB, BACKEND_FAULTY_LOCALFS,
    BACKEND_FAULTY_WITHIN,
};
static const enum fixture_kind faulty_kinds[] = {BACKEND_FAULTY_MEM, BACKEND_FAULTY_DB, BACKEND_FAULTY_LOCALFS,
                                                 BACKEND_FAULTY_WITHIN};

/* ---- sealing alone ---- */

/* Made by another implementation of HKDF and AES-GCM from what chunk_cipher.h says: the form must not change. */
static void what_was_stored_once_opens_for_ever(void **state)
{
	static const uint8_t box[] = "\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f\xcc\x2b\x3c\x65\x8f\x33\xf7\x7e"
				     "\xc8\x2e\xce\x3a\x3f\xc4\xd3\x6c\xb8\x09\x4a\x53\x2f\x37\x72\x62\xc3\xc8\xa6\x48"
				     "\x88\xfe\x09\x3f\x2f\xe3";
	static const char content[] = "to be or not to be";
	SCRATCH_CTX(ctx);
	struct digest sha256 = digest_of(content, strlen(content));
	const struct chunk_binding binding = {"object_store", "k1", &sha256, false};
	char opened[sizeof(content)] = "";
	struct err e = {0};

	(void)state;
	assert_int_equal(sizeof(box) - 1, strlen(content) + AEAD_OVERHEAD);
	assert_int_equal(chunk_unseal(ring_of(ctx, K1), &binding, box, sizeof(box) - 1, opened, &e), ERR_OK);
	assert_string_equal(opened, content);
}

static void a_box_opens_for_its_own_chunk_only(void **state)
{
	SCRATCH_CTX(ctx);
	const struct keyring *ring = ring_of(ctx, K1 "\n" K2), *renamed = ring_of(ctx, "k1:" KEY_TWO);
	struct digest sha256 = digest_of("content", 7), other = digest_of("contents", 8);
	const struct chunk_binding right = {"object_store", "k1", &sha256, true};
	const struct chunk_binding wrong[] = {
	    {"analysis_archive", "k1", &sha256, true},
	    {"object_store", "k2", &sha256, true},
	    {"object_store", "k1", &other, true},
	    {"object_store", "k1", &sha256, false},
	};
	uint8_t box[7 + AEAD_OVERHEAD];
	char opened[7];
	struct err e = {0};

	(void)state;
	assert_int_equal(chunk_seal(ring, &right, "content", 7, box, &e), ERR_OK);
	assert_int_equal(chunk_unseal(ring, &right, box, sizeof(box), opened, &e), ERR_OK);
	assert_memory_equal(opened, "content", 7);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(chunk_unseal(ring, &wrong[i], box, sizeof(box), opened, &e), ERR_CORRUPT);
	assert_int_equal(chunk_unseal(renamed, &right, box, sizeof(box), opened, &e), ERR_CORRUPT);
	for (size_t len = 0; len < sizeof(box); len++)
		assert_int_equal(chunk_unseal(ring, &right, box, len, opened, &e), ERR_CORRUPT);
	for (size_t bit = 0; bit < 8 * sizeof(box); bit++) {
		box[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(chunk_unseal(ring, &right, box, sizeof(box), opened, &e), ERR_CORRUPT);
		box[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void a_key_that_is_not_there_is_named(void **state)
{
	SCRATCH_CTX(ctx);
	struct digest sha256 = digest_of("content", 7);
	const struct chunk_binding binding = {"object_store", "lost", &sha256, false};
	uint8_t box[7 + AEAD_OVERHEAD] = {0};
	char opened[7];
	struct err e = {0};

	(void)state;
	assert_int_equal(chunk_unseal(ring_of(ctx, K1), &binding, box, sizeof(box), opened, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "key lost, which is not configured"));
	assert_int_equal(chunk_seal(NULL, &binding, "content", 7, box, &e), ERR_UNAVAILABLE);
}

/* ---- chunks ---- */

static const char *stored_key(struct fixture *f, TALLOC_CTX *ctx, const void *bytes, size_t len)
{
	struct chunk chunk = {0};

	assert_true(find(f, ctx, bytes, len, &chunk));
	return talloc_strdup(ctx, chunk.cipher_key);
}

static void comes_back_and_is_not_to_be_seen(struct fixture *f)
{
	SCRATCH_CTX(ctx);
	static const char words[] = "the quick brown fox jumps over the lazy dog ";
	uint8_t *raw = talloc_size(ctx, STORED_MAX);
	char *text = talloc_strdup(ctx, "");
	struct chunk chunk = {0};
	size_t got;

	for (int i = 0; i < 100; i++)
		text = talloc_strdup_append(text, words);
	use_keys(f, K1);
	f->store.compress = false;
	must_put(f, text, strlen(text));
	must_get(f, text, strlen(text));
	assert_true(find(f, ctx, text, strlen(text), &chunk));
	assert_string_equal(chunk.cipher_key, "k1");
	got = raw_bytes(f, &chunk, raw, STORED_MAX);
	assert_int_equal(got, strlen(text) + AEAD_OVERHEAD);
	assert_null(memmem(raw, got, "fox", 3));
	f->store.compress = true;
	must_put(f, text, strlen(text) - 1);
	must_get(f, text, strlen(text) - 1);
	assert_true(find(f, ctx, text, strlen(text) - 1, &chunk));
	assert_true(chunk.zstd);
	got = raw_bytes(f, &chunk, raw, STORED_MAX);
	assert_int_equal(got, chunk.stored_size);
	assert_true(got < 200);
	assert_memory_not_equal(raw, "\x28\xb5\x2f\xfd", 4);
	must_put(f, "x", 1);
	must_get(f, "x", 1);
}

static void encrypted_chunks_come_back_and_are_not_to_be_seen(void **state)
{
	(void)state;
	on_each(every_kind, ARRAY_SIZE(every_kind), comes_back_and_is_not_to_be_seen);
}

static void fills_a_chunk(struct fixture *f)
{
	SCRATCH_CTX(ctx);
	void *noise = talloc_size(ctx, CHUNK_MAX);
	struct chunk chunk = {0};

	fixture_noise(noise, CHUNK_MAX, 7);
	use_keys(f, K1);
	must_put(f, noise, CHUNK_MAX);
	must_get(f, noise, CHUNK_MAX);
	assert_true(find(f, ctx, noise, CHUNK_MAX, &chunk));
	assert_int_equal(chunk.stored_size, STORED_MAX);
	must_put(f, noise, CHUNK_MAX - 1);
	must_get(f, noise, CHUNK_MAX - 1);
}

static void the_largest_chunk_that_does_not_compress_fits(void **state)
{
	(void)state;
	on_each(every_kind, ARRAY_SIZE(every_kind), fills_a_chunk);
}

static void equal_content_is_stored_once(struct fixture *f)
{
	SCRATCH_CTX(ctx);
	size_t stored;

	use_keys(f, K1);
	must_put(f, "content", 7);
	use_keys(f, K2 "," K1);
	assert_int_equal(put(f, "content", 7, &stored), ERR_OK);
	assert_int_equal(stored, 0);
	assert_string_equal(stored_key(f, ctx, "content", 7), "k1");
	must_put(f, "newer", 5);
	assert_string_equal(stored_key(f, ctx, "newer", 5), "k2");
	use_keys(f, NULL);
	must_put(f, "plain", 5);
	assert_string_equal(stored_key(f, ctx, "plain", 5), "");
	use_keys(f, K1 "," K2);
	must_get(f, "content", 7);
	must_get(f, "newer", 5);
	must_get(f, "plain", 5);
	assert_int_equal(rows_in(f, "live"), 3);
}

static void keys_rotate_and_what_was_stored_stays_readable(void **state)
{
	(void)state;
	on_each(every_kind, ARRAY_SIZE(every_kind), equal_content_is_stored_once);
}

static void spoiled_on_the_way(struct fixture *f)
{
	static const enum fault faults[] = {FAULT_GET_FLIPS, FAULT_GET_SHORT, FAULT_GET_NOTHING};
	struct err e = {0};

	use_keys(f, K1);
	must_put(f, "content", 7);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		spoil(f, faults[i], EACH_READ);
		assert_int_equal(get(f, "content", 7, &e), ERR_CORRUPT);
		must_get(f, "content", 7);
	}
	spoil(f, FAULT_GET_FAILS, 1);
	assert_int_equal(get(f, "content", 7, &e), ERR_UNAVAILABLE);
	must_get(f, "content", 7);
}

static void what_a_back_end_spoils_is_corrupt(void **state)
{
	(void)state;
	on_each(faulty_kinds, ARRAY_SIZE(faulty_kinds), spoiled_on_the_way);
}

static void is_told_apart_from_damage(struct fixture *f)
{
	SCRATCH_CTX(ctx);
	struct digest d = digest_of("content", 7), missing;
	struct err e = {0};
	int64_t removed;
	size_t count;

	use_keys(f, K1);
	must_put(f, "content", 7);
	use_keys(f, K2);
	assert_int_equal(get(f, "content", 7, &e), ERR_UNAVAILABLE);
	assert_non_null(strstr(e.text, "key k1, which is not configured"));
	use_keys(f, NULL);
	assert_int_equal(get(f, "content", 7, &e), ERR_UNAVAILABLE);
	/* It is as if it were not there, for those who have it and may put it again. */
	use_keys(f, K2);
	assert_int_equal(chunk_need(&f->store, &d, 1, &missing, &count, &e), ERR_OK);
	assert_int_equal(count, 1);
	use_keys(f, K2 "," K1);
	assert_int_equal(chunk_need(&f->store, &d, 1, &missing, &count, &e), ERR_OK);
	assert_int_equal(count, 0);
	use_keys(f, K2);
	must_put(f, "content", 7);
	must_get(f, "content", 7);
	assert_string_equal(stored_key(f, ctx, "content", 7), "k2");
	assert_int_equal(rows_in(f, "live"), 1);
	assert_int_equal(rows_in(f, "deleting"), 1);
	assert_int_equal(fixture_number(f, "SELECT count(*) FROM objects.chunk WHERE damaged"), 0);
	assert_int_equal(sweep(f, &removed), ERR_OK);
}

static void a_key_that_is_not_configured_is_no_damage_and_a_put_helps(void **state)
{
	(void)state;
	on_each(every_kind, ARRAY_SIZE(every_kind), is_told_apart_from_damage);
}

static void bytes_that_were_moved_in_the_back_end_do_not_open(void **state)
{
	struct fixture *f = fixture_new(BACKEND_DB);
	struct err e = {0};

	(void)state;
	if (!f)
		skip();
	use_keys(f, K1);
	must_put(f, "yes", 3);
	must_put(f, "no!", 3);
	fixture_sql(f, "UPDATE objects.chunk_data d SET bytes = o.bytes FROM objects.chunk_data o"
	               " WHERE o.chunk <> d.chunk");
	assert_int_equal(get(f, "yes", 3, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "does not decrypt"));
	assert_int_equal(get(f, "no!", 3, &e), ERR_CORRUPT);
	fixture_free(f);
}

/* The row is not authenticated: whatever stands there, nothing wrong comes out. */
static void rows_that_lie_about_their_key_are_noticed(void **state)
{
	static const struct {
		const char *sql;
		enum err_code code;
	} cases[] = {
	    {"UPDATE objects.chunk SET cipher_key = NULL", ERR_CORRUPT},
	    {"UPDATE objects.chunk SET cipher_key = 'k2'", ERR_CORRUPT},
	    {"UPDATE objects.chunk SET cipher_key = 'k3'", ERR_UNAVAILABLE},
	    {"UPDATE objects.chunk SET cipher_key = repeat('k', 5000)", ERR_UNAVAILABLE},
	    {"UPDATE objects.chunk SET codec = 'zstd'", ERR_CORRUPT},
	    {"UPDATE objects.chunk SET stored_size = 28", ERR_CORRUPT},
	    {"UPDATE objects.chunk SET stored_size = 1", ERR_CORRUPT},
	    {"UPDATE objects.chunk SET stored_size = 4194304 + 29", ERR_CORRUPT},
	    {"UPDATE objects.chunk SET stored_size = stored_size + 1, size = size + 1", ERR_CORRUPT},
	    {"UPDATE objects.chunk SET stored_size = stored_size - 1, size = size - 1", ERR_CORRUPT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fixture *f = fixture_new(BACKEND_DB);
		struct err e = {0};

		if (!f)
			skip();
		use_keys(f, K1 "," K2);
		must_put(f, "content", 7);
		fixture_sql(f, cases[i].sql);
		if (get(f, "content", 7, &e) != cases[i].code)
			fail_msg("%s: %s: %s", cases[i].sql, err_name(e.code), e.text);
		fixture_free(f);
	}
	/* An unencrypted chunk whose row names a key. */
	{
		struct fixture *f = fixture_new(BACKEND_DB);
		struct err e = {0};

		must_put(f, "content", 7);
		use_keys(f, K1);
		fixture_sql(f, "UPDATE objects.chunk SET cipher_key = 'k1'");
		assert_int_equal(get(f, "content", 7, &e), ERR_CORRUPT);
		fixture_sql(f, "UPDATE objects.chunk SET stored_size = stored_size + 28");
		assert_int_equal(get(f, "content", 7, &e), ERR_CORRUPT);
		fixture_free(f);
	}
}

/* ---- at start ---- */

static enum err_code start_with(struct fixture *f, const char *keys, struct err *e)
{
	use_keys(f, keys);
	return keys_check(&f->store, e);
}

static void an_id_means_one_key_for_ever(void **state)
{
	struct fixture *f = fixture_new(BACKEND_DB);
	struct err e = {0};

	(void)state;
	if (!f)
		skip();
	assert_int_equal(start_with(f, NULL, &e), ERR_OK);
	assert_int_equal(start_with(f, K1, &e), ERR_OK);
	assert_int_equal(start_with(f, K1, &e), ERR_OK);
	assert_int_equal(start_with(f, "k1:" KEY_TWO, &e), ERR_PRECONDITION);
	assert_non_null(strstr(e.text, "object_store.encryption.keys: key k1 is not the one"));
	assert_null(strstr(e.text, KEY_TWO));
	/* A key that only decrypts may still be corrected; from when it encrypts on, it is the one. */
	assert_int_equal(start_with(f, K1 ",k2:" KEY_TWO, &e), ERR_OK);
	assert_int_equal(start_with(f, "k2:" KEY_ONE, &e), ERR_OK);
	assert_int_equal(start_with(f, K2 "," K1, &e), ERR_PRECONDITION);
	assert_int_equal(start_with(f, "k3:" KEY_TWO "," K1, &e), ERR_OK);
	assert_int_equal(start_with(f, K1 ",k3:" KEY_THREE, &e), ERR_PRECONDITION);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_stored_once_opens_for_ever),
	    cmocka_unit_test(a_box_opens_for_its_own_chunk_only),
	    cmocka_unit_test(a_key_that_is_not_there_is_named),
	    cmocka_unit_test(encrypted_chunks_come_back_and_are_not_to_be_seen),
	    cmocka_unit_test(the_largest_chunk_that_does_not_compress_fits),
	    cmocka_unit_test(keys_rotate_and_what_was_stored_stays_readable),
	    cmocka_unit_test(what_a_back_end_spoils_is_corrupt),
	    cmocka_unit_test(a_key_that_is_not_configured_is_no_damage_and_a_put_helps),
	    cmocka_unit_test(bytes_that_were_moved_in_the_back_end_do_not_open),
	    cmocka_unit_test(rows_that_lie_about_their_key_are_noticed),
	    cmocka_unit_test(an_id_means_one_key_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
