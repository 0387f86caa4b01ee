#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/err.h"

#include <string.h>

static enum err_code inner(struct err *e)
{
	return ERR(e, ERR_NOT_FOUND, "object %s/%s", "a", "b");
}

static enum err_code outer(struct err *e)
{
	TRY(ERR_OK);
	TRY(inner(e));
	fail_msg("TRY went on after a failure");
	return ERR_OK;
}

static void a_failure_names_thing_and_place(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(outer(&e), ERR_NOT_FOUND);
	assert_int_equal(e.code, ERR_NOT_FOUND);
	assert_int_equal(e.sys, 0);
	assert_string_equal(e.text, "object a/b");
	assert_non_null(strstr(e.file, "err_test.c"));
	assert_true(e.line > 0);
	assert_int_equal(outer(NULL), ERR_NOT_FOUND);
}

static void errno_is_kept_and_told(void **state)
{
	struct err e = {0};

	(void)state;
	errno = ENOSPC;
	assert_int_equal(ERR_SYS(&e, err_from_errno(errno), "write %s", "x"), ERR_EXHAUSTED);
	assert_int_equal(e.sys, ENOSPC);
	assert_string_equal(e.text, "write x: No space left on device");
}

static void context_goes_before_the_text(void **state)
{
	struct err e = {0};

	(void)state;
	inner(&e);
	e.retry_ms = 5;
	assert_int_equal(err_wrap(&e, "image %d", 7), ERR_NOT_FOUND);
	assert_string_equal(e.text, "image 7: object a/b");
	assert_int_equal(e.retry_ms, 5);
	assert_int_not_equal(err_wrap(NULL, "nothing"), ERR_OK);
}

static void long_texts_are_cut_and_terminated(void **state)
{
	char longer[2000];
	struct err e = {0};

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	errno = ENOENT;
	assert_int_equal(ERR_SYS(&e, ERR_INVALID, "%s", longer), ERR_INVALID);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
	assert_int_equal(err_wrap(&e, "%s", longer), ERR_INVALID);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void every_code_has_its_row(void **state)
{
	static const struct {
		enum err_code code;
		const char *name;
		enum err_retry retry;
		int http, exit;
	} cases[] = {
	    {ERR_INVALID, "invalid", ERR_RETRY_NEVER, 400, 1},
	    {ERR_CONFLICT, "conflict", ERR_RETRY_FRESH, 409, 1},
	    {ERR_UNAVAILABLE, "unavailable", ERR_RETRY_LATER, 503, 3},
	    {ERR_DEADLINE, "deadline exceeded", ERR_RETRY_LATER, 504, 1},
	};
	enum err_code code;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_string_equal(err_name(cases[i].code), cases[i].name);
		assert_int_equal(err_retry(cases[i].code), cases[i].retry);
		assert_int_equal(err_http(cases[i].code), cases[i].http);
		assert_int_equal(err_exit(cases[i].code), cases[i].exit);
	}
	for (int n = ERR_INVALID; n <= ERR_DEADLINE; n++) {
		assert_true(err_from_wire(n, &code));
		assert_int_equal(code, n);
		assert_true(err_from_name(err_name(code), &code));
		assert_int_equal(code, n);
	}
}

static void codes_from_a_peer_are_not_believed(void **state)
{
	static const int64_t numbers[] = {0, -1, 16, 1000, INT64_MAX, INT64_MIN, (INT64_C(1) << 32) + 1};
	enum err_code code = ERR_INTERNAL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		assert_false(err_from_wire(numbers[i], &code));
	assert_false(err_from_name("", &code));
	assert_false(err_from_name("ok", &code));
	assert_false(err_from_name("Invalid", &code));
	assert_int_equal(code, ERR_INTERNAL);
	assert_string_equal(err_name((enum err_code)999), "unknown");
	assert_int_equal(err_retry((enum err_code)999), ERR_RETRY_NEVER);
	assert_string_equal(err_name(ERR_OK), "ok");
}

static void errno_has_a_code(void **state)
{
	static const struct {
		int sys;
		enum err_code code;
	} cases[] = {
	    {ENOSPC, ERR_EXHAUSTED}, {EDQUOT, ERR_EXHAUSTED}, {ENOENT, ERR_NOT_FOUND},
	    {EACCES, ERR_FORBIDDEN}, {EIO, ERR_INTERNAL},     {0, ERR_INTERNAL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(err_from_errno(cases[i].sys), cases[i].code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_failure_names_thing_and_place),
	    cmocka_unit_test(errno_is_kept_and_told),
	    cmocka_unit_test(context_goes_before_the_text),
	    cmocka_unit_test(long_texts_are_cut_and_terminated),
	    cmocka_unit_test(every_code_has_its_row),
	    cmocka_unit_test(codes_from_a_peer_are_not_believed),
	    cmocka_unit_test(errno_has_a_code),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
