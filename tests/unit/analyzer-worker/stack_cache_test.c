#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/analyzer-worker/stack_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 4096
#define LAYERS 8

/* A stack as a text: one letter a layer. Its evidence: one piece a layer, hidden by the layer's letter. */
struct stack {
	struct digest digests[LAYERS];
	uint16_t hidden_by[LAYERS];
	struct image_sight sight;
};

static void stack_init(struct stack *s, const char *letters)
{
	memset(s, 0, sizeof(*s));
	for (; letters[s->sight.layers]; s->sight.layers++) {
		s->digests[s->sight.layers].bytes[0] = (uint8_t)letters[s->sight.layers];
		s->hidden_by[s->sight.layers] = (uint16_t)letters[s->sight.layers];
	}
	s->sight.count = s->sight.layers;
	s->sight.hidden_by = s->hidden_by;
}

static void add(struct stack_cache *c, const char *account, const char *letters)
{
	struct stack s;

	stack_init(&s, letters);
	stack_cache_add(c, account, s.digests, s.sight.layers, &s.sight);
}

/* How many layers are known. */
static size_t known(struct stack_cache *c, const char *account, const char *letters)
{
	SCRATCH_CTX(ctx);
	struct image_sight found;
	struct stack s;

	stack_init(&s, letters);
	if (!stack_cache_find(c, ctx, account, s.digests, s.sight.layers, &found))
		return 0;
	assert_true(found.layers > 0 && found.layers <= s.sight.layers && found.count >= found.layers);
	for (size_t i = 0; i < found.layers; i++)
		assert_int_equal(found.hidden_by[i], s.hidden_by[i]);
	return found.layers;
}

static void the_longest_run_of_lowest_layers_is_found(void **state)
{
	struct stack_cache *c = stack_cache_new(NULL, LIMIT);

	(void)state;
	assert_int_equal(known(c, "one", "abc"), 0);
	add(c, "one", "abcd");
	add(c, "one", "abe");
	assert_int_equal(known(c, "one", "abcd"), 4);
	assert_int_equal(known(c, "one", "abcx"), 3);
	assert_int_equal(known(c, "one", "abcdx"), 4);
	assert_int_equal(known(c, "one", "abex"), 3);
	assert_int_equal(known(c, "one", "abx"), 2);
	assert_int_equal(known(c, "one", "a"), 1);
	assert_int_equal(known(c, "one", "bcd"), 0);
	assert_int_equal(known(c, "other", "abcd"), 0);
	talloc_free(c);
}

static void no_layers_are_no_stack(void **state)
{
	struct stack_cache *c = stack_cache_new(NULL, LIMIT);

	(void)state;
	add(c, "one", "");
	assert_int_equal(known(c, "one", ""), 0);
	talloc_free(c);
}

static void the_limit_holds_and_the_least_recently_used_go(void **state)
{
	struct stack_cache *c = stack_cache_new(NULL, LIMIT), *none = stack_cache_new(NULL, 0);
	size_t kept = 0;

	(void)state;
	add(none, "one", "a");
	assert_int_equal(known(none, "one", "a"), 0);
	for (int letter = 1; letter <= 100; letter++) {
		add(c, "one", (char[]){(char)letter, 'x', 'y', 'z', 0});
		assert_int_equal(known(c, "one", "\x01xyz"), 4); /* used again and again */
	}
	for (int letter = 1; letter <= 100; letter++)
		kept += known(c, "one", (char[]){(char)letter, 0});
	assert_true(kept > 2);
	/* Each takes more than its four digests. */
	assert_true(kept < LIMIT / (4 * sizeof(struct digest)));
	talloc_free(none);
	talloc_free(c);
}

static void a_base_takes_no_room_beside_what_stands_on_it(void **state)
{
	struct stack_cache *c = stack_cache_new(NULL, LIMIT);

	(void)state;
	add(c, "other", "z");
	for (int round = 0; round < 1000; round++) {
		add(c, "one", "a");
		add(c, "one", "ab");
		add(c, "one", "abc");
		add(c, "one", "abcd");
	}
	assert_int_equal(known(c, "one", "abcd"), 4);
	assert_int_equal(known(c, "other", "z"), 1);
	talloc_free(c);
}

static void *come_and_go(void *arg)
{
	unsigned seed = 3;

	for (int i = 0; i < 3000; i++) {
		char letters[5] = {0};

		for (int l = 0; l < 4; l++)
			letters[l] = (char)('a' + rand_r(&seed) % 5);
		add(arg, "one", letters);
		known(arg, "one", letters);
	}
	return NULL;
}

static void many_threads_may_come_and_go(void **state)
{
	struct stack_cache *c = stack_cache_new(NULL, LIMIT);
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
	    cmocka_unit_test(the_longest_run_of_lowest_layers_is_found),
	    cmocka_unit_test(no_layers_are_no_stack),
	    cmocka_unit_test(the_limit_holds_and_the_least_recently_used_go),
	    cmocka_unit_test(a_base_takes_no_room_beside_what_stands_on_it),
	    cmocka_unit_test(many_threads_may_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
