#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/object-store-gateway/keyring.h"

#include <stdio.h>
#include <string.h>

#define ONE "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define TWO "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
#define THREE "/////////////////////////////////////////+8="

static enum err_code parse(TALLOC_CTX *ctx, const char *text, struct keyring **ring, struct err *e)
{
	*e = (struct err){0};
	return keyring_parse(ctx, "s.encryption.keys", text, ring, e);
}

static void lists_of_keys_are_read_in_their_order(void **state)
{
	static const struct {
		const char *text, *sql;
	} cases[] = {
	    {"k1:" ONE, "{\"k1\"}"},
	    {"k1:" ONE "\n", "{\"k1\"}"},
	    {"k2:" TWO ",k1:" ONE, "{\"k2\",\"k1\"}"},
	    {"  k2: " TWO " \r\n\r\n\tk1:\t" ONE ",, \n", "{\"k2\",\"k1\"}"},
	    {"# the new one, since March\nk2:" TWO " # second\n#k9:" ONE "\nk1:" ONE "#", "{\"k2\",\"k1\"}"},
	    {"null:" ONE ",2026-03.a_b:" TWO ",a234567890123456789012345678901z:" THREE,
	     "{\"null\",\"2026-03.a_b\",\"a234567890123456789012345678901z\"}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct keyring *ring;
		struct err e;

		if (parse(ctx, cases[i].text, &ring, &e) != ERR_OK)
			fail_msg("%s: %s", cases[i].text, e.text);
		assert_string_equal(keyring_sql(ring), cases[i].sql);
		assert_string_equal(keyring_current(ring), keyring_id(ring, 0));
	}
}

static void the_word_none_switches_off_and_keeps_the_keys(void **state)
{
	SCRATCH_CTX(ctx);
	struct keyring *ring;
	struct err e;

	(void)state;
	assert_int_equal(parse(ctx, " none ,k1:" ONE, &ring, &e), ERR_OK);
	assert_null(keyring_current(ring));
	assert_non_null(keyring_find(ring, "k1"));
	assert_string_equal(keyring_sql(ring), "{\"k1\"}");
	assert_int_equal(parse(ctx, "# off\nnone\n", &ring, &e), ERR_OK);
	assert_null(keyring_current(ring));
	assert_int_equal(keyring_count(ring), 0);
	assert_int_equal(parse(ctx, "k1:" ONE ",none", &ring, &e), ERR_INVALID);
	assert_int_equal(parse(ctx, "none,none", &ring, &e), ERR_INVALID);
	assert_int_equal(parse(ctx, "nonet", &ring, &e), ERR_INVALID);
}

static void each_key_is_found_by_its_id(void **state)
{
	SCRATCH_CTX(ctx);
	struct keyring *ring;
	struct err e;
	uint8_t one[AEAD_KEY_BYTES], two[AEAD_KEY_BYTES];

	(void)state;
	for (size_t i = 0; i < AEAD_KEY_BYTES; i++) {
		one[i] = (uint8_t)i;
		two[i] = (uint8_t)(i + 1);
	}
	assert_int_equal(parse(ctx, "k1:" ONE "\nk2:" TWO, &ring, &e), ERR_OK);
	assert_int_equal(keyring_count(ring), 2);
	assert_string_equal(keyring_current(ring), "k1");
	assert_memory_equal(keyring_find(ring, "k1"), one, sizeof(one));
	assert_memory_equal(keyring_find(ring, "k2"), two, sizeof(two));
	assert_null(keyring_find(ring, "k"));
	assert_null(keyring_find(ring, "k12"));
	assert_null(keyring_find(ring, ""));
}

static void without_keys_there_is_no_ring(void **state)
{
	struct keyring *ring;
	struct err e;

	(void)state;
	assert_int_equal(parse(NULL, NULL, &ring, &e), ERR_OK);
	assert_null(ring);
	assert_null(keyring_current(NULL));
	assert_null(keyring_find(NULL, "k1"));
	assert_int_equal(keyring_count(NULL), 0);
	assert_string_equal(keyring_sql(NULL), "{}");
}

/* The text of an error names place, entry and ID; nothing that may be a key is in it. */
static void what_is_wrong_is_named_without_showing_a_key(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"", "s.encryption.keys holds no key"},
	    {"\n , # k1:" ONE "\n", "holds no key"},
	    {ONE, "entry 1 is not ID:KEY"},
	    {"k1:" ONE "," TWO, "entry 2 is not ID:KEY"},
	    {":" ONE, "entry 1 is not ID:KEY"},
	    {"K1:" ONE, "entry 1 is not ID:KEY"},
	    {"k 1:" ONE, "entry 1 is not ID:KEY"},
	    {"k1\":" ONE, "entry 1 is not ID:KEY"},
	    {ONE ":k1", "entry 1 is not ID:KEY"},
	    {"a2345678901234567890123456789012z:" ONE, "entry 1 is not ID:KEY"},
	    {"\xc3\xa4:" ONE, "entry 1 is not ID:KEY"},
	    {"none:" ONE, "no key can be called none"},
	    {"k1:", "key k1 (entry 1) is not the base64 of 32 bytes"},
	    {"k1:secret", "key k1 (entry 1) is not the base64 of 32 bytes"},
	    {"k1:AAECAwQFBgcICQoLDA0ODw==", "key k1 (entry 1) is not the base64"},                     /* 16 bytes */
	    {"k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g", "key k1 (entry 1) is not the base64"}, /* 33 bytes */
	    {"k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "key k1 (entry 1) is not the base64"},  /* cut off */
	    {"k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=", "key k1 (entry 1) is not the base64"}, /* loose bits */
	    {"k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==", "key k1 (entry 1) is not the base64"}, /* 31 bytes */
	    {"k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd-_8=", "key k1 (entry 1) is not the base64"}, /* for URLs */
	    {"k1:AAECAwQFBgcICQoLDA0O xAREhMUFRYXGBkaGxwdHh8=", "key k1 (entry 1) is not the base64"},
	    {"k1:k1:" ONE, "key k1 (entry 1) is not the base64"},
	    {"k1:" ONE " k2:" TWO, "key k1 (entry 1) is not the base64"},
	    {"k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "key k1 is not random"},
	    {"k1:" ONE "\nk1:" TWO, "there are two keys k1"},
	    {"k1:" ONE "\nk2:" TWO "\nk3:" ONE, "keys k1 and k3 are the same"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct keyring *ring;
		struct err e;

		assert_int_equal(parse(NULL, cases[i].text, &ring, &e), ERR_INVALID);
		assert_null(ring);
		if (!strstr(e.text, cases[i].says) || !strstr(e.text, "s.encryption.keys"))
			fail_msg("\"%s\" was answered with \"%s\"", cases[i].text, e.text);
		assert_null(strstr(e.text, "AAECAwQFB"));
		assert_null(strstr(e.text, "AQIDBAUGB"));
		assert_null(strstr(e.text, "secret"));
	}
}

static void a_hundred_keys_are_the_most(void **state)
{
	SCRATCH_CTX(ctx);
	char *text = talloc_strdup(ctx, "");
	struct keyring *ring;
	struct err e;

	(void)state;
	for (int i = 0; i < KEYS_MAX; i++)
		text = talloc_asprintf_append(text, "k%d:%c%c%s\n", i, 'A' + i / 26, 'A' + i % 26, &ONE[2]);
	assert_int_equal(parse(ctx, text, &ring, &e), ERR_OK);
	assert_int_equal(keyring_count(ring), KEYS_MAX);
	text = talloc_asprintf_append(text, "one-more:%s\n", TWO);
	assert_int_equal(parse(ctx, text, &ring, &e), ERR_INVALID);
	assert_non_null(strstr(e.text, "more than 100 keys"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lists_of_keys_are_read_in_their_order),
	    cmocka_unit_test(the_word_none_switches_off_and_keeps_the_keys),
	    cmocka_unit_test(each_key_is_found_by_its_id),
	    cmocka_unit_test(without_keys_there_is_no_ring),
	    cmocka_unit_test(what_is_wrong_is_named_without_showing_a_key),
	    cmocka_unit_test(a_hundred_keys_are_the_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
