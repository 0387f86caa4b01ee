#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/document/package_set.h"
#include "proto/messages.h"

#include <string.h>

static struct digest of_text(const char *text)
{
	return digest_of(text, strlen(text));
}

static void a_digest_is_that_of_the_lines(void **state)
{
	static const char *licenses[] = {"MIT", "BSD-3-Clause"};
	static const struct {
		struct package package;
		const char *line;
	} cases[] = {
	    {{.type = "dpkg", .name = "a", .purl = "p"}, "dpkg\ta\t\t\tp\t\n"},
	    {{.type = "dpkg", .name = "a", .version = "1", .arch = "all", .purl = "p", .location = "l"},
	     "dpkg\ta\t1\tall\tp\tl\n"},
	    {{.type = "dpkg", .name = "a", .purl = "p", .source = "s 1"}, "dpkg\ta\t\t\tp\t\ts 1\n"},
	    {{.type = "npm", .name = "a", .purl = "p", .licenses = {licenses, 2}},
	     "npm\ta\t\t\tp\t\t\tMIT\tBSD-3-Clause\n"},
	    {{.type = "npm", .name = "a\tb\nc\\d", .purl = "p"}, "npm\ta\\tb\\nc\\\\d\t\t\tp\t\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct digest got = package_set_digest(&cases[i].package, 1), want = of_text(cases[i].line);

		if (!digest_equal(&got, &want))
			fail_msg("case %zu", i);
	}
}

static void the_empty_set_has_the_digest_of_nothing(void **state)
{
	struct digest got = package_set_digest(NULL, 0), want = of_text("");

	(void)state;
	assert_true(digest_equal(&got, &want));
}

static void names_made_to_look_alike_give_different_sets(void **state)
{
	struct package honest[] = {{.type = "npm", .name = "a", .version = "1", .purl = "p"},
	                           {.type = "npm", .name = "b", .version = "1", .purl = "p"}};
	struct package sly = {.type = "npm", .name = "a\t1\t\tp\t\nnpm\tb", .version = "1", .purl = "p"};
	struct digest a = package_set_digest(honest, 2), b = package_set_digest(&sly, 1);

	(void)state;
	assert_false(digest_equal(&a, &b));
}

static void sorting_is_bytewise_by_field_and_drops_copies(void **state)
{
	static const char *mit[] = {"MIT"};
	struct package packages[] = {
	    {.type = "npm", .name = "b", .purl = "p"},
	    {.type = "npm", .name = "a", .version = "2", .purl = "p"},
	    {.type = "npm", .name = "a", .version = "10", .location = "x", .purl = "p"},
	    {.type = "npm", .name = "a", .version = "10", .location = "x", .arch = "z", .purl = "p"},
	    {.type = "npm", .name = "a", .version = "10", .location = "y", .arch = "a", .purl = "p"},
	    {.type = "npm", .name = "A", .purl = "p", .version = ""},
	    {.type = "npm", .name = "A", .purl = "p"},
	    {.type = "npm", .name = "A", .purl = "p", .licenses = {mit, 1}},
	    {.type = "dpkg", .name = "z", .purl = "p"},
	};
	static const char *const order[] = {"z", "A", "A", "a", "a", "a", "a", "b"};
	size_t count = ARRAY_SIZE(packages);

	(void)state;
	package_set_sort(packages, &count);
	assert_int_equal(count, ARRAY_SIZE(order));
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(packages[i].name, order[i]);
		if (i > 0)
			assert_true(package_set_compare(&packages[i - 1], &packages[i]) < 0);
	}
	assert_string_equal(packages[4].arch, "z");
	assert_string_equal(packages[5].location, "y");
	count = 0;
	package_set_sort(NULL, &count);
	assert_int_equal(count, 0);
}

static void a_package_is_the_same_wherever_it_lies(void **state)
{
	struct package a = {.type = "npm", .name = "a", .purl = "p", .location = "x"}, b = a, c = a;
	struct digest x, y, z;

	(void)state;
	b.location = "y";
	c.arch = "arm64";
	x = package_digest(&a);
	y = package_digest(&b);
	z = package_digest(&c);
	assert_true(digest_equal(&x, &y));
	assert_false(digest_equal(&x, &z));
}

static void the_hash_starts_anew_after_its_end(void **state)
{
	struct package a = {.type = "npm", .name = "a", .purl = "p"};
	SCRATCH_CTX(ctx);
	struct package_set_hash *h = package_set_hash_new(ctx);
	struct digest first, second;

	(void)state;
	package_set_hash_add(h, &a);
	first = package_set_hash_finish(h);
	package_set_hash_add(h, &a);
	second = package_set_hash_finish(h);
	assert_true(digest_equal(&first, &second));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_digest_is_that_of_the_lines),
	    cmocka_unit_test(the_empty_set_has_the_digest_of_nothing),
	    cmocka_unit_test(names_made_to_look_alike_give_different_sets),
	    cmocka_unit_test(sorting_is_bytewise_by_field_and_drops_copies),
	    cmocka_unit_test(a_package_is_the_same_wherever_it_lies),
	    cmocka_unit_test(the_hash_starts_anew_after_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
