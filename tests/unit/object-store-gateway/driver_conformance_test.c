/*
 * What driver.h promises, asked of every driver, alone and behind the driver that injects faults (here without any).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/object-store-gateway/driver_cases.h"

#define TESTS (ARRAY_SIZE(driver_cases) * BACKENDS)

static void run_case(void **state)
{
	size_t number = (size_t)(uintptr_t)*state;
	struct fixture *f = fixture_new((enum fixture_kind)(number / ARRAY_SIZE(driver_cases)));

	if (!f)
		skip();
	driver_cases[number % ARRAY_SIZE(driver_cases)].run(&f->store);
	fixture_free(f);
}

static void every_driver_fills_its_required_slots(void **state)
{
	(void)state;
	for (size_t i = 0; i < BACKENDS; i++) {
		assert_true(driver_is_whole(fixture_backends[i].inner));
		assert_true(!fixture_backends[i].outer || driver_is_whole(fixture_backends[i].outer));
		assert_ptr_equal(driver_find(fixture_backends[i].inner->name), fixture_backends[i].inner);
	}
	assert_null(driver_find("faulty"));
	assert_null(driver_find(""));
}

int main(void)
{
	static struct CMUnitTest tests[TESTS + 1];
	SCRATCH_CTX(ctx);

	for (size_t i = 0; i < TESTS; i++) {
		const char *backend = fixture_backends[i / ARRAY_SIZE(driver_cases)].name;

		tests[i] = (struct CMUnitTest){
		    .name = talloc_asprintf(ctx, "%s: %s", backend, driver_cases[i % ARRAY_SIZE(driver_cases)].name),
		    .test_func = run_case,
		    .initial_state = (void *)(uintptr_t)i,
		};
	}
	tests[TESTS] = (struct CMUnitTest)cmocka_unit_test(every_driver_fills_its_required_slots);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
