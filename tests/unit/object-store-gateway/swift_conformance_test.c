/*
 * What driver.h promises, asked of the driver swift, alone and behind the driver that injects faults (here without
 * any).
 *
 * The server is swift_double.py, or the one that STOWAGE_TEST_SWIFT tells: a driver's configuration as the inner of a
 * YAML mapping, without anchore_key_prefix, "container: ..., auth: ..., user: ..., key: ...".
 */
#include "tests/unit/object-store-gateway/swift_double.h"

#include "tests/unit/object-store-gateway/driver_cases.h"

#define TESTS (ARRAY_SIZE(driver_cases) * 2)

static void run_case(void **state)
{
	size_t number = (size_t)(uintptr_t)*state;
	const char *config = getenv("STOWAGE_TEST_SWIFT");
	struct backend backend = {.driver = &driver_swift};
	struct store store = {.name = "object_store", .current = &backend};
	struct faults faults = {0};
	SCRATCH_CTX(ctx);

	double_script("{}");
	backend.conn =
	    double_open(ctx, talloc_asprintf(ctx, "%s, anchore_key_prefix: '%d %zu'",
	                                     config ? config : DOUBLE_BOX ", " DOUBLE_V1, (int)getpid(), number));
	if (number >= ARRAY_SIZE(driver_cases)) {
		backend.driver = &driver_faulty;
		backend.conn = faulty_wrap(ctx, &driver_swift, backend.conn, &faults);
	}
	driver_cases[number % ARRAY_SIZE(driver_cases)].run(&store);
	backend.driver->close(backend.conn);
	double_log(ctx);
}

static void it_fills_its_required_slots(void **state)
{
	(void)state;
	assert_true(driver_is_whole(&driver_swift));
	assert_ptr_equal(driver_find("swift"), &driver_swift);
}

int main(void)
{
	static struct CMUnitTest tests[TESTS + 1], once[ARRAY_SIZE(driver_cases)];
	SCRATCH_CTX(ctx);

	for (size_t i = 0; i < TESTS; i++) {
		tests[i] = (struct CMUnitTest){
		    .name = talloc_asprintf(ctx, "%s: %s", i < ARRAY_SIZE(driver_cases) ? "swift" : "faulty swift",
		                            driver_cases[i % ARRAY_SIZE(driver_cases)].name),
		    .test_func = run_case,
		    .initial_state = (void *)(uintptr_t)i,
		};
	}
	tests[TESTS] = (struct CMUnitTest)cmocka_unit_test(it_fills_its_required_slots);
	log_setup("swift_conformance_test", LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	/* A real server is not asked everything twice. */
	memcpy(once, tests, sizeof(once));
	if (getenv("STOWAGE_TEST_SWIFT"))
		return cmocka_run_group_tests(once, double_start, double_stop);
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
