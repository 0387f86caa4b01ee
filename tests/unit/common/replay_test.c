#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/replay.h"

#include <string.h>

static const uint8_t salt[FRAME_SALT_BYTES] = "one", other_salt[FRAME_SALT_BYTES] = "two";

static void each_frame_is_new_once(void **state)
{
	static const struct {
		uint64_t counter;
		bool first_time;
	} cases[] = {
	    {1, true},      {1, false},         {2, true},           {5, true},       {3, true},
	    {3, false},     {4, true},          {70, true},          {6, true},       {69, true},
	    {70, false},    {1000, true},       {999, true},         {70, false},     {71, true},
	    {100000, true}, {1, false},         {99999, true},       {34465, true},   {34464, false},
	    {34465, false}, {UINT64_MAX, true}, {UINT64_MAX, false}, {100000, false}, {UINT64_MAX - 1, true},
	};
	SCRATCH_CTX(ctx);
	struct replay *r = replay_new(ctx, 10);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool first_time = replay_first_time(r, salt, cases[i].counter);

		if (first_time != cases[i].first_time)
			print_error("case %zu, counter %ju\n", i, (uintmax_t)cases[i].counter);
		assert_int_equal(first_time, cases[i].first_time);
	}
	assert_true(replay_first_time(r, other_salt, 1));
}

/* Against a plain array of marks: any order within the window is told right, and nothing is ever new twice. */
static void a_shuffled_stream_is_told_right(void **state)
{
	enum { FRAMES = 300000, SPREAD = 5000 };
	SCRATCH_CTX(ctx);
	struct replay *r = replay_new(ctx, 10);
	bool *seen = talloc_zero_array(ctx, bool, FRAMES + SPREAD);

	(void)state;
	for (uint64_t i = 0; i < FRAMES; i++) {
		uint64_t counter = i + random_below(SPREAD);

		assert_int_equal(replay_first_time(r, salt, counter), !seen[counter]);
		seen[counter] = true;
	}
}

static void the_least_recently_used_salt_makes_room(void **state)
{
	SCRATCH_CTX(ctx);
	struct replay *r = replay_new(ctx, 3);
	uint8_t salts[4][FRAME_SALT_BYTES] = {{1}, {2}, {3}, {4}};

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_true(replay_first_time(r, salts[i], 1000)); /* each with a window that has grown */
	assert_false(replay_first_time(r, salts[0], 1000));
	assert_true(replay_first_time(r, salts[3], 1)); /* in the place of the second */
	assert_false(replay_first_time(r, salts[0], 1000));
	assert_false(replay_first_time(r, salts[2], 1000));
	assert_true(replay_first_time(r, salts[1], 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_frame_is_new_once),
	    cmocka_unit_test(a_shuffled_stream_is_told_right),
	    cmocka_unit_test(the_least_recently_used_salt_makes_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
