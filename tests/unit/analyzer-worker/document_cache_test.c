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

/* Documents here are texts. */
static const char *put(struct document_cache *c, TALLOC_CTX *ctx, const char *name, const char *content)
{
	return document_cache_put(c, ctx, name, talloc_strdup(NULL, content), strlen(content));
}

static void put_and_leave(struct document_cache *c, const char *name, const char *content)
{
	SCRATCH_CTX(ctx);

	assert_string_equal(put(c, ctx, name, content), content);
}

static bool has(struct document_cache *c, const char *name, const char *content)
{
	SCRATCH_CTX(ctx);
	const char *found = document_cache_get(c, ctx, name);

	return found && strcmp(found, content) == 0;
}

static void what_was_put_is_got_until_it_is_the_least_recently_used(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);
	char large[1200];

	(void)state;
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	put_and_leave(c, "a", "first");
	put_and_leave(c, "b", large);
	put_and_leave(c, "c", large);
	assert_true(has(c, "a", "first"));
	put_and_leave(c, "d", large);
	put_and_leave(c, "e", large);
	assert_true(has(c, "a", "first"));
	assert_false(has(c, "b", large));
	assert_true(has(c, "e", large));
	talloc_free(c);
}

static void what_is_too_large_is_not_kept_and_takes_nothing_along(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);
	char huge[LIMIT];

	(void)state;
	memset(huge, 'x', sizeof(huge));
	huge[sizeof(huge) - 1] = '\0';
	put_and_leave(c, "small", "s");
	put_and_leave(c, "huge", huge);
	assert_false(has(c, "huge", huge));
	assert_true(has(c, "small", "s"));
	talloc_free(c);
}

static void without_a_limit_above_zero_nothing_is_kept(void **state)
{
	struct document_cache *c = document_cache_new(NULL, 0);

	(void)state;
	put_and_leave(c, "a", "");
	assert_false(has(c, "a", ""));
	talloc_free(c);
}

static void of_two_under_one_name_the_first_stays(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);
	TALLOC_CTX *ctx = talloc_new(NULL);
	const char *first;

	(void)state;
	first = put(c, ctx, "a", "first");
	assert_ptr_equal(put(c, ctx, "a", "second"), first);
	assert_ptr_equal(document_cache_get(c, ctx, "a"), first);
	assert_string_equal(first, "first");
	talloc_free(ctx);
	assert_true(has(c, "a", "first"));
	talloc_free(c);
}

static void what_is_used_outlives_being_dropped(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);
	TALLOC_CTX *one = talloc_new(NULL), *other = talloc_new(NULL);
	char large[1800];
	const char *used;

	(void)state;
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	used = put(c, one, "a", "used");
	assert_ptr_equal(document_cache_get(c, other, "a"), used);
	put_and_leave(c, "b", large);
	put_and_leave(c, "c", large);
	put_and_leave(c, "d", large);
	assert_false(has(c, "a", "used"));
	talloc_free(one);
	assert_string_equal(used, "used");
	assert_ptr_not_equal(put(c, other, "a", "next"), used);
	assert_string_equal(used, "used");
	talloc_free(other);
	assert_true(has(c, "a", "next"));
	talloc_free(c);
}

static void a_document_goes_with_all_that_hangs_on_it(void **state)
{
	struct document_cache *c = document_cache_new(NULL, LIMIT);
	SCRATCH_CTX(ctx);
	const char **list = talloc_array(NULL, const char *, 1);
	const char *const *found;

	(void)state;
	list[0] = talloc_strdup(list, "text");
	document_cache_put(c, ctx, "list", list, 100);
	found = document_cache_get(c, ctx, "list");
	assert_string_equal(found[0], "text");
	TALLOC_FREE(ctx);
	talloc_free(c); /* a leak would be seen */
}

static void *come_and_go(void *arg)
{
	unsigned seed = 7;

	for (int i = 0; i < 2000; i++) {
		char name[8], content[400];

		snprintf(name, sizeof(name), "%d", rand_r(&seed) % 20);
		memset(content, name[0], sizeof(content) - 1);
		content[sizeof(content) - 1] = '\0';
		put_and_leave(arg, name, content);
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
	    cmocka_unit_test(without_a_limit_above_zero_nothing_is_kept),
	    cmocka_unit_test(of_two_under_one_name_the_first_stays),
	    cmocka_unit_test(what_is_used_outlives_being_dropped),
	    cmocka_unit_test(a_document_goes_with_all_that_hangs_on_it),
	    cmocka_unit_test(many_threads_may_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
