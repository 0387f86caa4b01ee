/* What the driver swift says its place is: the same however somebody logs in, and another one for every other place. */
#include "tests/unit/object-store-gateway/swift_double.h"

#define V2 "os_auth_url: 'http://@PLAIN/v2.0', os_username: demo, os_password: secret, "
#define V3 "os_auth_url: 'http://@PLAIN/v3', os_username: demo, os_password: secret, "
#define CREDENTIAL "os_auth_url: 'http://@PLAIN', os_application_credential_secret: hush, "

static char *identity(TALLOC_CTX *ctx, const char *config)
{
	struct driver_conn *conn =
	    double_open(ctx, talloc_asprintf(ctx, "retry_budget: 2s, create_container: true, %s", config));
	char *text = talloc_strdup(ctx, driver_swift.identity(conn));

	driver_swift.close(conn);
	return text;
}

static void it_does_not_depend_on_who_logs_in_and_how(void **state)
{
	static const char *const ways[] = {
	    V2 "os_tenant_name: work",
	    V2 "os_tenant_id: w0rk",
	    V3 "os_project_name: work",
	    V3 "os_project_name: work, os_user_domain_name: Default, os_project_domain_name: Default",
	    V3 "os_project_id: w0rk",
	    "os_auth_url: 'http://@PLAIN', os_user_id: d3mo, os_password: secret, os_tenant_id: w0rk",
	    CREDENTIAL "os_application_credential_id: cred-id",
	    CREDENTIAL "os_application_credential_name: robot, os_username: demo",
	};
	SCRATCH_CTX(ctx);
	char *first = NULL;

	(void)state;
	double_script("{}");
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		char *text = identity(ctx, talloc_asprintf(ctx, "container: box, %s", ways[i]));

		first = first ? first : text;
		assert_string_equal(text, first);
		assert_null(strstr(text, "secret"));
	}
	assert_non_null(strstr(first, "AUTH_north_public box/object_store/"));
}

static void every_other_place_has_another_one(void **state)
{
	static const char *const places[] = {
	    "container: box, " DOUBLE_V1,
	    "container: box2, " DOUBLE_V1,
	    "container: box, anchore_key_prefix: p, " DOUBLE_V1,
	    "container: box, region: north, " V3 "os_project_name: work",
	    "container: box, region: south, " V3 "os_project_name: work",
	};
	char *seen[ARRAY_SIZE(places)];
	SCRATCH_CTX(ctx);

	(void)state;
	double_script("{'regions': ['north', 'south']}");
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		seen[i] = identity(ctx, places[i]);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(seen[i], seen[j]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_does_not_depend_on_who_logs_in_and_how),
	    cmocka_unit_test(every_other_place_has_another_one),
	};

	return cmocka_run_group_tests(tests, double_start, double_stop);
}
