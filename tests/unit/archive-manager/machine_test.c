#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/archive-manager/machine.h"
#include "services/archive-manager/transition.h"

#include <string.h>

#define STATES (ARCHIVE_FAILED + 1)

/* What is allowed, once more, by hand: everything else is not. */
static const struct {
	enum archive_state from;
	enum machine_event event;
	enum archive_state to;
} allowed[] = {
    {archive_state_none, MACHINE_ADD, ARCHIVE_COPYING},       {ARCHIVE_COPYING, MACHINE_START_OVER, ARCHIVE_COPYING},
    {ARCHIVE_COPYING, MACHINE_COPIED, ARCHIVE_VERIFYING},     {ARCHIVE_COPYING, MACHINE_REMOVE, ARCHIVE_REMOVING},
    {ARCHIVE_COPYING, MACHINE_FAIL, ARCHIVE_FAILED},          {ARCHIVE_VERIFYING, MACHINE_START_OVER, ARCHIVE_COPYING},
    {ARCHIVE_VERIFYING, MACHINE_VERIFIED, ARCHIVE_ARCHIVED},  {ARCHIVE_VERIFYING, MACHINE_REMOVE, ARCHIVE_REMOVING},
    {ARCHIVE_VERIFYING, MACHINE_FAIL, ARCHIVE_FAILED},        {ARCHIVE_ARCHIVED, MACHINE_ADD, ARCHIVE_COPYING},
    {ARCHIVE_ARCHIVED, MACHINE_CHECK, ARCHIVE_VERIFYING},     {ARCHIVE_ARCHIVED, MACHINE_DETACH, ARCHIVE_DETACHING},
    {ARCHIVE_ARCHIVED, MACHINE_RESTORE, ARCHIVE_RESTORING},   {ARCHIVE_ARCHIVED, MACHINE_REMOVE, ARCHIVE_REMOVING},
    {ARCHIVE_DETACHING, MACHINE_START_OVER, ARCHIVE_COPYING}, {ARCHIVE_DETACHING, MACHINE_DETACHED, ARCHIVE_ARCHIVED},
    {ARCHIVE_DETACHING, MACHINE_FAIL, ARCHIVE_FAILED},        {ARCHIVE_RESTORING, MACHINE_RESTORED, ARCHIVE_ARCHIVED},
    {ARCHIVE_RESTORING, MACHINE_FAIL, ARCHIVE_FAILED},        {ARCHIVE_REMOVING, MACHINE_REMOVED, archive_state_none},
    {ARCHIVE_REMOVING, MACHINE_FAIL, ARCHIVE_FAILED},         {ARCHIVE_FAILED, MACHINE_ADD, ARCHIVE_COPYING},
    {ARCHIVE_FAILED, MACHINE_CHECK, ARCHIVE_VERIFYING},       {ARCHIVE_FAILED, MACHINE_RESTORE, ARCHIVE_RESTORING},
    {ARCHIVE_FAILED, MACHINE_REMOVE, ARCHIVE_REMOVING},
};

static void every_pair_of_state_and_event_is_decided(void **state)
{
	(void)state;
	for (int from = 0; from < STATES; from++)
		for (int event = 0; event < MACHINE_EVENTS; event++) {
			struct machine_move move = machine_next((enum archive_state)from, (enum machine_event)event);
			size_t i = 0;

			while (i < ARRAY_SIZE(allowed) &&
			       ((int)allowed[i].from != from || (int)allowed[i].event != event))
				i++;
			assert_int_equal(move.allowed, i < ARRAY_SIZE(allowed));
			assert_int_equal(move.to, move.allowed ? (int)allowed[i].to : from);
		}
}

/* The source goes only from a state that was reached through verifying. */
static void nothing_detaches_but_what_was_verified(void **state)
{
	(void)state;
	for (int from = 0; from < STATES; from++)
		for (int event = 0; event < MACHINE_EVENTS; event++) {
			struct machine_move move = machine_next((enum archive_state)from, (enum machine_event)event);

			if (move.allowed && move.to == ARCHIVE_DETACHING)
				assert_int_equal(from, ARCHIVE_ARCHIVED);
			if (move.allowed && move.to == ARCHIVE_ARCHIVED)
				assert_true(event == MACHINE_VERIFIED || event == MACHINE_DETACHED ||
				            event == MACHINE_RESTORED);
		}
}

static void only_archived_failed_and_absent_are_settled(void **state)
{
	(void)state;
	for (int s = 0; s < STATES; s++)
		assert_int_equal(machine_is_settled((enum archive_state)s),
		                 s == archive_state_none || s == ARCHIVE_ARCHIVED || s == ARCHIVE_FAILED);
}

/* Whatever is under way can be left: towards a settled state or out. */
static void from_every_state_a_settled_one_is_reachable(void **state)
{
	bool reaches[STATES] = {false};

	(void)state;
	for (int s = 0; s < STATES; s++)
		reaches[s] = machine_is_settled((enum archive_state)s);
	for (int round = 0; round < STATES; round++)
		for (int s = 0; s < STATES; s++)
			for (int event = 0; event < MACHINE_EVENTS; event++) {
				struct machine_move move =
				    machine_next((enum archive_state)s, (enum machine_event)event);

				reaches[s] |= move.allowed && reaches[move.to];
			}
	for (int s = 0; s < STATES; s++)
		assert_true(reaches[s]);
}

static void events_have_names(void **state)
{
	(void)state;
	for (int event = 0; event < MACHINE_EVENTS; event++)
		assert_true(strlen(machine_event_name((enum machine_event)event)) > 0);
	assert_string_equal(machine_event_name(MACHINE_EVENTS), "unknown");
}

static void the_kind_of_error_decides_what_becomes_of_an_image(void **state)
{
	static const struct {
		enum err_code code;
		int64_t attempts;
		enum transition_verdict verdict;
	} cases[] = {
	    {ERR_UNAVAILABLE, 0, TRANSITION_AGAIN},  {ERR_UNAVAILABLE, 100000, TRANSITION_AGAIN},
	    {ERR_DEADLINE, 3, TRANSITION_AGAIN},     {ERR_EXHAUSTED, 3, TRANSITION_AGAIN},
	    {ERR_CONFLICT, 0, TRANSITION_AGAIN},     {ERR_CONFLICT, 100000, TRANSITION_FAIL},
	    {ERR_CORRUPT, 0, TRANSITION_FAIL},       {ERR_NOT_FOUND, 0, TRANSITION_FAIL},
	    {ERR_PRECONDITION, 0, TRANSITION_FAIL},  {ERR_INTERNAL, 0, TRANSITION_FAIL},
	    {ERR_STALE_LEASE, 0, TRANSITION_LET_GO}, {ERR_CANCELLED, 0, TRANSITION_INTERRUPT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(transition_judge(cases[i].code, cases[i].attempts), cases[i].verdict);
}

static void a_wish_to_remove_comes_before_all_others(void **state)
{
	static const struct {
		enum archive_state state;
		enum machine_event intent;
		bool detach;
		enum machine_event wish;
	} cases[] = {
	    {ARCHIVE_ARCHIVED, MACHINE_NOTHING, false, MACHINE_NOTHING},
	    {ARCHIVE_ARCHIVED, MACHINE_NOTHING, true, MACHINE_DETACH},
	    {ARCHIVE_ARCHIVED, MACHINE_RESTORE, true, MACHINE_RESTORE},
	    {ARCHIVE_ARCHIVED, MACHINE_REMOVE, true, MACHINE_REMOVE},
	    {ARCHIVE_FAILED, MACHINE_NOTHING, true, MACHINE_NOTHING},
	    {ARCHIVE_FAILED, MACHINE_REMOVE, false, MACHINE_REMOVE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct row row = {.state = cases[i].state, .intent = cases[i].intent, .detach = cases[i].detach};

		assert_int_equal(transition_wish_of(&row), cases[i].wish);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_pair_of_state_and_event_is_decided),
	    cmocka_unit_test(nothing_detaches_but_what_was_verified),
	    cmocka_unit_test(only_archived_failed_and_absent_are_settled),
	    cmocka_unit_test(from_every_state_a_settled_one_is_reachable),
	    cmocka_unit_test(events_have_names),
	    cmocka_unit_test(the_kind_of_error_decides_what_becomes_of_an_image),
	    cmocka_unit_test(a_wish_to_remove_comes_before_all_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
