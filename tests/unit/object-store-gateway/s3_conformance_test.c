/*
 * What driver.h promises, asked of the driver s3, alone and behind the driver that injects faults (here without any).
 *
 * The server is s3_double.py, or the one that STOWAGE_TEST_S3 tells: a driver's configuration as YAML, without braces
 * and without prefix, "url: ..., bucket: ..., access_key: ..., secret_key: ...". A real server is asked once only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/object-store-gateway/s3_double.h"

#include "tests/unit/object-store-gateway/driver_cases.h"

#define TESTS (ARRAY_SIZE(driver_cases) * 2)

static void run_case(void **state)
{
	size_t number = (size_t)(uintptr_t)*state;
	bool faulty = number >= ARRAY_SIZE(driver_cases);
	const char *config = getenv("STOWAGE_TEST_S3");
	struct faults faults = {0};
	SCRATCH_CTX(ctx);
	struct backend backend = {.driver = &driver_s3};
	struct store store = {.name = "object_store", .current = &backend};
	struct err e = {.text = ""};
	char *prefix = talloc_asprintf(ctx, "prefix: \"%zu %d/\"", number, (int)getpid());

	if (config) {
		OK(s3_try_open_with(ctx, talloc_asprintf(ctx, "%s, %s", config, prefix), &backend.conn, &e));
	} else {
		s3_script("");
		backend.conn = s3_open(ctx, prefix);
	}
	if (faulty) {
		backend.driver = &driver_faulty;
		backend.conn = faulty_wrap(ctx, &driver_s3, backend.conn, &faults);
	}
	driver_cases[number % ARRAY_SIZE(driver_cases)].run(&store);
	backend.driver->close(backend.conn);
}

static void it_fills_its_required_slots(void **state)
{
	(void)state;
	assert_true(driver_is_whole(&driver_s3));
	assert_ptr_equal(driver_find("s3"), &driver_s3);
}

int main(void)
{
	static struct CMUnitTest tests[TESTS + 1] = {cmocka_unit_test(it_fills_its_required_slots)};
	size_t skipped = getenv("STOWAGE_TEST_S3") ? ARRAY_SIZE(driver_cases) : 0;
	SCRATCH_CTX(ctx);

	for (size_t i = 0; i < TESTS; i++) {
		tests[i + 1] = (struct CMUnitTest){
		    .name = talloc_asprintf(ctx, "%s: %s", i < ARRAY_SIZE(driver_cases) ? "s3" : "faulty s3",
		                            driver_cases[i % ARRAY_SIZE(driver_cases)].name),
		    .test_func = run_case,
		    .initial_state = (void *)(uintptr_t)i,
		};
	}
	return _cmocka_run_group_tests("tests", tests, TESTS + 1 - skipped, double_start, double_stop);
}
