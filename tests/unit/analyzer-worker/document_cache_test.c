#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/analyzer-worker/document_cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 4096

static bool has(struct document_cache *c, const char *name, const char *content)
{
	SCRATCH_CTX(ctx);
	char *bytes;
	size_t len;

	return document_cache_get(c, ctx, name, &bytes, &len) && len == strlen(content) && strcmp(bytes, content) == 0;
}

static void what_was_put_is_got_until_it_is_the_least_recently_used(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);
	char large[1200];

	(void)state;
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	document_cache_put(c, "a", "first", 5);
	document_cache_put(c, "b", large, strlen(large));
	document_cache_put(c, "c", large, strlen(large));
	assert_true(has(c, "a", "first"));
	document_cache_put(c, "d", large, strlen(large));
	document_cache_put(c, "e", large, strlen(large));
	assert_true(has(c, "a", "first"));
	assert_false(has(c, "b", large));
	assert_true(has(c, "e", large));
	talloc_free(c);
}

static void what_is_too_large_is_not_kept_and_takes_nothing_along(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);
	static const char huge[LIMIT];

	(void)state;
	document_cache_put(c, "small", "s", 1);
	document_cache_put(c, "huge", huge, sizeof(huge));
	assert_false(has(c, "huge", ""));
	assert_true(has(c, "small", "s"));
	talloc_free(c);
}

static void an_empty_document_is_a_document(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);

	(void)state;
	document_cache_put(c, "empty", "", 0);
	assert_true(has(c, "empty", ""));
	assert_false(has(c, "other", ""));
	talloc_free(c);
}

static void *come_and_go(void *arg)
{
	unsigned seed = 7;

	for (int i = 0; i < 2000; i++) {
		char name[8], content[400];

		snprintf(name, sizeof(name), "%d", rand_r(&seed) % 20);
		memset(content, name[0], sizeof(content) - 1);
		content[sizeof(content) - 1] = '\0';
		document_cache_put(arg, name, content, strlen(content));
		has(arg, name, content);
	}
	return NULL;
}

static void many_threads_may_come_and_go(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, c), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	talloc_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_put_is_got_until_it_is_the_least_recently_used),
	    cmocka_unit_test(what_is_too_large_is_not_kept_and_takes_nothing_along),
	    cmocka_unit_test(an_empty_document_is_a_document),
	    cmocka_unit_test(many_threads_may_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
