/*
 * How the driver swift authenticates: every field of the requests, what it makes of catalogs and answers, and how long
 * it keeps a token.
 */
#include "tests/unit/object-store-gateway/swift_double.h"

#include "services/object-store-gateway/drivers/swift_auth.h"
#include "services/object-store-gateway/drivers/swift_session.h"

#include <pthread.h>
#include <time.h>

#define V3_URL "os_auth_url: 'http://@PLAIN/v3'"
#define V3_USER "os_username: demo, os_password: secret, os_project_name: work"
#define V3_LINE "POST /v3/auth/tokens|accept: application/json|content-type: application/json|"
#define V2_LINE "POST /v2.0/tokens|accept: application/json|content-type: application/json|"
#define DEFAULT_DOMAIN "\"domain\":{\"id\":\"default\"}"
#define NAMED_DOMAIN "\"domain\":{\"name\":\"Default\"}"
#define V3_PASSWORD(user_domain, project)                                                                              \
	V3_LINE "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{" user_domain             \
		",\"name\":\"demo\",\"password\":\"secret\"}}},\"scope\":{\"project\":" project "}}}"
#define V2_BODY                                                                                                        \
	"{\"auth\":{\"passwordCredentials\":{\"password\":\"secret\",\"username\":\"demo\"},\"tenantName\":\"work\"}}"

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void must_put(struct driver_conn *conn, int64_t number)
{
	struct err e;

	must(double_put(conn, number, &e), &e);
}

static void every_way_to_authenticate_asks_exactly_what_it_should(void **state)
{
	static const struct {
		const char *config, *request;
	} cases[] = {
	    {DOUBLE_V1, "GET /auth/v1.0|x-auth-key: testing|x-auth-user: test:tester|"},
	    {DOUBLE_V1 ", auth_version: '1.0'", "GET /auth/v1.0|x-auth-key: testing|x-auth-user: test:tester|"},
	    {"os_auth_url: 'http://@PLAIN/v2.0', os_username: demo, os_password: secret, os_tenant_name: work",
	     V2_LINE V2_BODY},
	    {"os_auth_url: 'http://@PLAIN/', os_username: demo, os_password: secret, os_tenant_name: work",
	     V2_LINE V2_BODY},
	    {"os_auth_url: 'http://@PLAIN', auth_version: 2, " V3_USER, V2_LINE V2_BODY},
	    {V3_URL ", " V3_USER, V3_PASSWORD(DEFAULT_DOMAIN, "{" DEFAULT_DOMAIN ",\"name\":\"work\"}")},
	    {"os_auth_url: 'http://@PLAIN', " V3_USER,
	     V3_PASSWORD(DEFAULT_DOMAIN, "{" DEFAULT_DOMAIN ",\"name\":\"work\"}")},
	    {"os_auth_url: 'http://@PLAIN', auth_version: '3', os_username: demo, os_password: secret, os_tenant_name: "
	     "work",
	     V3_PASSWORD(DEFAULT_DOMAIN, "{" DEFAULT_DOMAIN ",\"name\":\"work\"}")},
	    {"os_auth_url: 'http://@PLAIN/v3/', " V3_USER
	     ", os_user_domain_name: Default, os_project_domain_name: Default",
	     V3_PASSWORD(NAMED_DOMAIN, "{" NAMED_DOMAIN ",\"name\":\"work\"}")},
	    {V3_URL ", " V3_USER ", os_user_domain_id: default, os_project_domain_name: Default",
	     V3_PASSWORD(DEFAULT_DOMAIN, "{" NAMED_DOMAIN ",\"name\":\"work\"}")},
	    {V3_URL ", os_username: demo, os_password: secret, os_project_id: w0rk",
	     V3_PASSWORD(DEFAULT_DOMAIN, "{\"id\":\"w0rk\"}")},
	    {V3_URL ", os_application_credential_id: cred-id, os_application_credential_secret: hush",
	     V3_LINE "{\"auth\":{\"identity\":{\"application_credential\":{\"id\":\"cred-id\",\"secret\":\"hush\"},"
	             "\"methods\":[\"application_credential\"]}}}"},
	    /* As Swift's own client has them. */
	    {"os_auth_url: 'http://@PLAIN/v2.0', os_username: demo, os_password: secret, os_tenant_id: w0rk",
	     V2_LINE "{\"auth\":{\"passwordCredentials\":{\"password\":\"secret\",\"username\":\"demo\"},"
	             "\"tenantId\":\"w0rk\"}}"},
	    {V3_URL ", os_user_id: d3mo, os_password: secret, os_tenant_id: w0rk, os_auth_type: password",
	     V3_LINE "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{\"id\":\"d3mo\","
	             "\"password\":\"secret\"}}},\"scope\":{\"project\":{\"id\":\"w0rk\"}}}}"},
	    {"os_auth_url: 'http://@PLAIN', os_user_id: d3mo, os_password: secret, os_tenant_id: w0rk",
	     V3_LINE "{\"auth\":{\"identity\":{\"methods\":[\"password\"],\"password\":{\"user\":{\"id\":\"d3mo\","
	             "\"password\":\"secret\"}}},\"scope\":{\"project\":{\"id\":\"w0rk\"}}}}"},
	    {V3_URL ", os_auth_type: v3applicationcredential, os_application_credential_id: cred-id,"
	            " os_application_credential_secret: hush, insecure: false, os_service_type: object-store",
	     V3_LINE "{\"auth\":{\"identity\":{\"application_credential\":{\"id\":\"cred-id\",\"secret\":\"hush\"},"
	             "\"methods\":[\"application_credential\"]}}}"},
	    {"os_auth_url: 'http://@PLAIN', os_application_credential_name: robot, os_username: demo,"
	     " os_application_credential_secret: hush, os_user_domain_name: Default",
	     V3_LINE
	     "{\"auth\":{\"identity\":{\"application_credential\":{\"name\":\"robot\",\"secret\":\"hush\",\"user\":"
	     "{" NAMED_DOMAIN ",\"name\":\"demo\"}},\"methods\":[\"application_credential\"]}}}"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *conn;
		char *log;

		double_script("{}");
		conn = double_open(ctx, talloc_asprintf(ctx, DOUBLE_BOX ", %s", cases[i].config));
		must_put(conn, 1);
		driver_swift.close(conn);
		log = double_log(ctx);
		log[strcspn(log, "\n")] = '\0';
		assert_string_equal(log, cases[i].request);
		/* Everything after it has the token that it gave, and nothing asks for another. */
		log += strlen(log) + 1;
		assert_int_equal(count_of(log, "|x-auth-token: 1|"), count_of(log, "\n") - count_of(log, "GET /info|"));
		assert_null(strstr(log, "auth/"));
	}
}

static void region_and_interface_choose_from_the_catalog(void **state)
{
	static const struct {
		const char *config, *regions, *account; /* account NULL: refused */
		const char *text;
	} cases[] = {
	    {"", "'north'", "AUTH_north_public"},
	    {", interface: public", "'north'", "AUTH_north_public"},
	    {", interface: internal", "'north'", "AUTH_north_internal"},
	    {", os_endpoint_type: adminURL", "'north'", "AUTH_north_admin"},
	    {", region: south, interface: internal", "'north', 'south'", "AUTH_south_internal"},
	    {", os_region_name: north", "'north', 'south'", "AUTH_north_public"},
	    {", os_storage_url: 'http://@PLAIN/v1/AUTH_mine/'", "'north', 'south'", "AUTH_mine"},
	    {"", "'north', 'south'", NULL, "several object-stores of interface public: north, south"},
	    {", region: east", "'north', 'south'", NULL,
	     "no object-store of interface public in region east; regions that have: north, south"},
	    {"", "", NULL, "no object-store"},
	};
	static const char *const ways[] = {
	    V3_URL ", os_application_credential_id: cred-id, os_application_credential_secret: hush",
	    "os_auth_url: 'http://@PLAIN/v2.0', os_username: demo, os_password: secret, os_tenant_name: work"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases) * ARRAY_SIZE(ways); i++) {
		SCRATCH_CTX(ctx);
		size_t n = i / ARRAY_SIZE(ways);
		const char *inner = talloc_asprintf(ctx, DOUBLE_BOX ", create_container: true, %s%s",
		                                    ways[i % ARRAY_SIZE(ways)], cases[n].config);
		struct driver_conn *conn;
		enum err_code code;
		struct err e;

		double_script(talloc_asprintf(ctx, "{'regions': [%s]}", cases[n].regions));
		code = double_try_open(ctx, inner, &conn, &e);
		if (!cases[n].account) {
			expect_error(code, &e, ERR_INVALID, cases[n].text);
			continue;
		}
		if (code != ERR_OK)
			fail_msg("%s: %s", inner, e.text);
		driver_swift.close(conn);
		assert_non_null(strstr(double_log(ctx),
		                       talloc_asprintf(ctx, "\nHEAD /v1/%s/box|x-auth-token: 1|\n", cases[n].account)));
	}
}

static void settings_that_cannot_work_are_refused(void **state)
{
	static const struct {
		const char *config, *text;
	} cases[] = {
	    {DOUBLE_V1, "container"},
	    {"container: a/b, " DOUBLE_V1, "a/b"},
	    {"container: '', " DOUBLE_V1, "container"},
	    {"container: box", "neither auth"},
	    {"container: box, auth: 'http://@PLAIN/auth/v1.0', user: 'test:tester'", "key is missing"},
	    {"container: box, auth: 'http://@PLAIN/auth/v1.0', key: testing", "user is missing"},
	    {"container: box, auth: 'http://@PLAIN/', user: \"a\\r\\nX-Evil: 1\", key: b",
	     "user or key has a control character"},
	    {"container: box, auth: 'ftp://@PLAIN/', user: a, key: b", "ftp://"},
	    {"container: box, auth: 'http://@PLAIN/', user: a, key: b, auth_version: 2",
	     "auth_version 2 needs os_auth_url"},
	    {"container: box, auth_version: 1, " V3_URL ", " V3_USER, "auth_version 1 needs auth"},
	    {"container: box, auth_version: 4, " V3_URL ", " V3_USER, "'4'"},
	    {"container: box, " DOUBLE_V1 ", " V3_URL, "both"},
	    {"container: box, " V3_URL ", os_password: p, os_project_name: w", "os_username is missing"},
	    {"container: box, " V3_URL ", os_username: u, os_project_name: w", "os_password is missing"},
	    {"container: box, " V3_URL ", os_username: u, os_password: p", "os_project_name is missing"},
	    {"container: box, os_auth_url: 'http://@PLAIN/v2.0', os_username: u, os_password: p",
	     "os_tenant_name is missing"},
	    {"container: box, " V3_URL ", os_application_credential_id: x",
	     "os_application_credential_secret is missing"},
	    {"container: box, " V3_URL ", os_application_credential_secret: x",
	     "os_application_credential_id is missing"},
	    {"container: box, " V3_URL ", os_application_credential_secret: x, os_application_credential_name: y",
	     "os_username is missing"},
	    {"container: box, interface: private, " DOUBLE_V1, "private"},
	    {"container: box, anchore_key_prefix: /x, " DOUBLE_V1, "anchore_key_prefix"},
	    {"container: box, anchore_key_prefix: \"x\\n\", " DOUBLE_V1, "anchore_key_prefix"},
	    {"container: box, os_storage_url: somewhere, " DOUBLE_V1, "os_storage_url"},
	    {"container: box, colour: red, " DOUBLE_V1, "colour"},
	    {"container: box, os_auth_type: token, " DOUBLE_V1, "known are password and v3applicationcredential"},
	    {"container: box, os_auth_type: v3applicationcredential, " V3_URL ", " V3_USER,
	     "os_application_credential_secret is missing"},
	    {"container: box, auth_version: 2, " DOUBLE_V1, "needs os_auth_url, os_username and os_password, not auth"},
	    {"container: box, prefix: x, " DOUBLE_V1, "write anchore_key_prefix"},
	    {"container: box, os_options: {region_name: x}, " DOUBLE_V1, "with os_ in front"},
	    {"container: box, os_identity_api_version: 3, " DOUBLE_V1, "write auth_version"},
	    {"container: box, os_auth_token: x, " DOUBLE_V1, "tokens end; write os_username"},
	    {"container: box, insecure: true, " DOUBLE_V1, "write os_cacert"},
	    {"container: box, os_cert: /x, " DOUBLE_V1, "log in with a password"},
	    {"container: box, os_service_type: volume, " DOUBLE_V1, "always object-store"},
	    {"container: box, retries: 5, " DOUBLE_V1, "write retry_budget"},
	    {"container: box, snet: true, " DOUBLE_V1, "write \"interface: internal\""},
	};

	(void)state;
	double_script("{}");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *conn;
		struct err e;

		expect_error(double_try_open(ctx, cases[i].config, &conn, &e), &e, ERR_INVALID, cases[i].text);
		assert_string_equal(double_log(ctx), "");
	}
}

static void wrong_credentials_are_unauthenticated_and_never_repeated_in_the_text(void **state)
{
	static const struct {
		const char *config, *who;
	} cases[] = {
	    {"auth: 'http://@PLAIN/auth/v1.0', user: 'test:tester', key: hunter2", "user test:tester"},
	    {"os_auth_url: 'http://@PLAIN/v2.0', os_username: demo, os_password: hunter2, os_tenant_name: work",
	     "user demo for project work (status 401)"},
	    {V3_URL ", os_username: demo, os_password: hunter2, os_project_name: work", "user demo for project work"},
	    {V3_URL ", os_username: demo, os_password: secret, os_project_name: play", "user demo for project play"},
	    {V3_URL ", os_username: demo, os_password: secret, os_project_id: w0rk, os_user_domain_name: Firm",
	     "user demo of domain Firm for project w0rk (status 401)"},
	    {V3_URL ", os_application_credential_id: cred-id, os_application_credential_secret: hunter2",
	     "application credential cred-id"},
	};

	(void)state;
	double_script("{}");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		const char *inner = talloc_asprintf(ctx, DOUBLE_BOX ", %s", cases[i].config);
		struct driver_conn *conn;
		struct err e;

		expect_error(double_try_open(ctx, inner, &conn, &e), &e, ERR_UNAUTHENTICATED, cases[i].who);
		assert_null(strstr(e.text, "hunter2"));
		assert_int_equal(count_of(double_log(ctx), "\n"), i + 1); /* and are not tried twice */
	}
}

/* As Keystone has it. */
#define LOST_CREDENTIAL                                                                                                \
	"{\\u0022error\\u0022: {\\u0022code\\u0022: 404, \\u0022message\\u0022: "                                      \
	"\\u0022Could not find Application Credential: 17.\\u0022}}'"
#define V3_CREDENTIAL ", os_application_credential_id: cred-id, os_application_credential_secret: hush"

static void answers_of_the_identity_service_are_not_believed_blindly(void **state)
{
	static const struct {
		const char *config, *answer;
		enum err_code code;
		const char *text;
	} cases[] = {
	    {DOUBLE_V1, "'status': 403", ERR_FORBIDDEN, "status 403"},
	    {DOUBLE_V1, "'status': 404", ERR_INTERNAL, "is it the right URL"},
	    {DOUBLE_V1, "'status': 300", ERR_INTERNAL, "not understood"},
	    {DOUBLE_V1, "'status': 503", ERR_UNAVAILABLE, "status 503"},
	    {DOUBLE_V1, "'status': 200, 'text': '<html>hello'", ERR_INTERNAL, "lacks X-Auth-Token"},
	    {DOUBLE_V1, "'status': 200, 'headers': {'X-Auth-Token': 'abc'}", ERR_INTERNAL,
	     "lacks X-Auth-Token or X-Storage-Url"},
	    {DOUBLE_V1, "'status': 200, 'headers': {'X-Auth-Token': 'a b', 'X-Storage-Url': 'http://@h/'}",
	     ERR_INTERNAL, "the token has"},
	    {DOUBLE_V1, "'status': 200, 'headers': {'X-Auth-Token': 'abc', 'X-Storage-Url': 'file:///etc'}",
	     ERR_INTERNAL, "URL"},
	    {DOUBLE_V1, "'status': 302, 'headers': {'Location': '/elsewhere'}", ERR_INTERNAL, "not understood"},
	    {V3_URL ", " V3_USER, "'status': 201, 'text': '<html>'", ERR_INTERNAL, "not understood"},
	    {V3_URL ", " V3_USER, "'status': 201, 'text': '{}'", ERR_INTERNAL, "lacks X-Subject-Token"},
	    {V3_URL ", " V3_USER, "'status': 201, 'headers': {'X-Subject-Token': 'abc'}, 'text': '{}'", ERR_INTERNAL,
	     "lacks"},
	    {V3_URL ", " V3_USER,
	     "'status': 201, 'headers': {'X-Subject-Token': 'abc'}, 'text': '{\\u0022token\\u0022: {}}'", ERR_INVALID,
	     "no object-store"},
	    {V3_URL ", " V3_USER, "'status': 400", ERR_INTERNAL, "status 400"},
	    {V3_URL ", " V3_USER, "'status': 404, 'text': '" LOST_CREDENTIAL, ERR_INTERNAL, "is it the right URL"},
	    {V3_URL V3_CREDENTIAL, "'status': 404, 'text': '" LOST_CREDENTIAL, ERR_UNAUTHENTICATED,
	     "application credential cred-id (status 404)"},
	    {V3_URL V3_CREDENTIAL, "'status': 404, 'text': '<html>application credential'", ERR_INTERNAL,
	     "is it the right URL"},
	    {"os_auth_url: 'http://@PLAIN/v2.0', os_username: demo, os_password: secret, os_tenant_name: work",
	     "'status': 200, 'text': '{\\u0022access\\u0022: []}'", ERR_INTERNAL, "access.token.id"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct driver_conn *conn;
		struct err e;

		double_script(talloc_asprintf(ctx, "{'rules': [{'times': 99, %s}]}", cases[i].answer));
		expect_error(double_try_open(ctx, talloc_asprintf(ctx, DOUBLE_BOX ", %s", cases[i].config), &conn, &e),
		             &e, cases[i].code, cases[i].text);
	}
}

static void https_is_trusted_by_the_ca_file_only(void **state)
{
	static const char tls[] = "auth: 'https://@TLS/auth/v1.0', user: 'test:tester', key: testing, " DOUBLE_BOX;
	SCRATCH_CTX(ctx);
	struct driver_conn *conn;
	struct err e;

	(void)state;
	double_script("{}");
	expect_error(double_try_open(ctx, tls, &conn, &e), &e, ERR_PRECONDITION, "not trusted");
	/* The double's account is plain http, where the token is not sent unasked. */
	expect_error(double_try_open(ctx, talloc_asprintf(ctx, "%s, ca_file: '@DIR/tls.pem'", tls), &conn, &e), &e,
	             ERR_INVALID, "in the clear");
	assert_int_equal(count_of(double_log(ctx), "\n"), 1);
	driver_swift.close(double_open(
	    ctx,
	    talloc_asprintf(ctx, "%s, os_cacert: '@DIR/tls.pem', os_storage_url: 'https://@TLS/v1/AUTH_test'", tls)));
}

static void a_refused_token_is_renewed_once(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn;

	(void)state;
	double_script("{}");
	conn = double_open(ctx, DOUBLE_BOX ", " DOUBLE_V1);
	double_revoke();
	double_script("{'keep': true}");
	must_put(conn, 1);
	must_put(conn, 2);
	driver_swift.close(conn);
	assert_string_equal(
	    double_log(ctx),
	    "PUT /v1/AUTH_test/box/object_store/0000000000000000001-"
	    "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	    "|content-type: application/octet-stream|etag: 9dd4e461268c8034f5c8564e155c67a6|x-auth-token: 1|x\n"
	    "GET /auth/v1.0|x-auth-key: testing|x-auth-user: test:tester|\n"
	    "PUT /v1/AUTH_test/box/object_store/0000000000000000001-"
	    "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	    "|content-type: application/octet-stream|etag: 9dd4e461268c8034f5c8564e155c67a6|x-auth-token: 2|x\n"
	    "PUT /v1/AUTH_test/box/object_store/0000000000000000002-"
	    "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	    "|content-type: application/octet-stream|etag: 9dd4e461268c8034f5c8564e155c67a6|x-auth-token: 2|x\n");
}

static void a_token_that_stays_refused_is_an_error_and_no_loop(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn;
	struct err e;
	char *log;

	(void)state;
	double_script("{}");
	conn = double_open(ctx, DOUBLE_BOX ", " DOUBLE_V1);
	double_script("{'keep': true, 'rules': [{'method': 'PUT', 'status': 401, 'times': 99}]}");
	expect_error(double_put(conn, 1, &e), &e, ERR_UNAVAILABLE, "status 401");
	log = double_log(ctx);
	assert_int_equal(count_of(log, "GET /auth"), 1);
	assert_int_equal(count_of(log, "PUT "), 2);
	driver_swift.close(conn);
}

struct crowd_member {
	struct driver_conn *conn;
	int64_t number;
	enum err_code code;
	pthread_t thread;
};

static void *join_crowd(void *arg)
{
	struct crowd_member *m = arg;
	struct err e;

	m->code = double_put(m->conn, m->number, &e);
	return NULL;
}

static void many_threads_renew_a_token_together(void **state)
{
	enum { THREADS = 12 };
	SCRATCH_CTX(ctx);
	struct crowd_member members[THREADS];
	struct driver_conn *conn;

	(void)state;
	double_script("{}");
	conn = double_open(ctx, DOUBLE_BOX ", " DOUBLE_V1);
	double_revoke();
	double_script("{'keep': true, 'rules': [{'path': '/auth/', 'act': true, 'delay': 0.5, 'times': 99}]}");
	for (int64_t i = 0; i < THREADS; i++) {
		members[i] = (struct crowd_member){.conn = conn, .number = i + 1};
		assert_int_equal(pthread_create(&members[i].thread, NULL, join_crowd, &members[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(members[i].thread, NULL);
		assert_int_equal(members[i].code, ERR_OK);
	}
	assert_int_equal(count_of(double_log(ctx), "GET /auth"), 1);
	driver_swift.close(conn);
}

static void threads_share_the_failure_of_a_renewal(void **state)
{
	enum { THREADS = 6 };
	SCRATCH_CTX(ctx);
	struct crowd_member members[THREADS];
	struct driver_conn *conn;

	(void)state;
	double_script("{}");
	conn = double_open(ctx, DOUBLE_BOX ", " DOUBLE_V1);
	double_revoke();
	double_script("{'keep': true, 'rules': [{'path': '/auth/', 'status': 401, 'delay': 1, 'times': 99}]}");
	for (int64_t i = 0; i < THREADS; i++) {
		members[i] = (struct crowd_member){.conn = conn, .number = i + 1};
		assert_int_equal(pthread_create(&members[i].thread, NULL, join_crowd, &members[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(members[i].thread, NULL);
		assert_int_equal(members[i].code, ERR_UNAVAILABLE);
	}
	assert_int_equal(count_of(double_log(ctx), "GET /auth"), 1);
	driver_swift.close(conn);
}

static void a_token_is_renewed_before_it_is_over_by_the_servers_own_clock(void **state)
{
	SCRATCH_CTX(ctx);
	struct driver_conn *conn;
	char *log;

	(void)state;
	double_script("{'life': 3, 'epoch': '2001-02-03T04:05:06'}");
	conn = double_open(ctx, DOUBLE_BOX ", " V3_URL ", " V3_USER);
	must_put(conn, 1);
	log = double_log(ctx);
	assert_int_equal(count_of(log, "/auth/tokens"), 1);
	pause_ms(3050);
	must_put(conn, 2);
	must_put(conn, 3);
	driver_swift.close(conn);
	log = double_log(ctx);
	assert_int_equal(count_of(log, "/auth/tokens"), 2);
	assert_int_equal(count_of(log, "/0000000000000000002-"), 1); /* no 401 was needed */
	assert_int_equal(count_of(log, "x-auth-token: 2"), 2);
}

static struct swift_session *new_session(TALLOC_CTX *ctx, const char *inner)
{
	struct swift_settings *settings = talloc_zero(ctx, struct swift_settings);
	struct http_client *http;
	struct err e;

	assert_int_equal(swift_settings_read(ctx, double_config(ctx, inner), settings, &e), ERR_OK);
	assert_int_equal(http_client_new(ctx, &(struct http_client_options){0}, &http, &e), ERR_OK);
	return swift_session_new(ctx, http, settings);
}

static void an_old_token_serves_as_long_as_it_lives_when_no_new_one_is_to_be_had(void **state)
{
	SCRATCH_CTX(ctx);
	struct swift_session *session = new_session(ctx, DOUBLE_BOX ", " V3_URL ", " V3_USER);
	struct swift_access access;
	enum err_code code;
	int64_t start;
	struct err e;

	(void)state;
	double_script("{'life': 20}");
	assert_int_equal(swift_session_access(session, ctx, 0, &access, &e), ERR_OK);
	assert_int_equal(access.number, 1);
	double_script("{'keep': true, 'life': 4, 'rules': [{'skip': 1, 'times': 99, 'status': 503}]}");
	start = clock_monotonic_ms();
	assert_int_equal(swift_session_access(session, ctx, 1, &access, &e), ERR_OK);
	assert_int_equal(access.number, 2);
	pause_ms(3650); /* into the last tenth */
	code = swift_session_access(session, ctx, 0, &access, &e);
	/* Unless the machine was so slow that the token is over. */
	if (clock_monotonic_ms() - start < 4000)
		assert_true(code == ERR_OK && access.number == 2);
	pause_ms(400);
	expect_error(swift_session_access(session, ctx, 0, &access, &e), &e, ERR_UNAVAILABLE, "status 503");
	assert_int_equal(count_of(double_log(ctx), "POST /v3"), 3);
}

static void a_refusal_that_comes_late_gets_the_new_token(void **state)
{
	SCRATCH_CTX(ctx);
	struct swift_session *session = new_session(ctx, DOUBLE_BOX ", " DOUBLE_V1);
	struct swift_access first, second, third;
	struct err e;

	(void)state;
	double_script("{}");
	assert_int_equal(swift_session_access(session, ctx, 0, &first, &e), ERR_OK);
	assert_int_equal(swift_session_access(session, ctx, first.number, &second, &e), ERR_OK);
	assert_int_equal(swift_session_access(session, ctx, first.number, &third, &e), ERR_OK);
	assert_true(second.number != first.number && strcmp(first.token, second.token) != 0);
	assert_int_equal(third.number, second.number);
	assert_string_equal(third.token, second.token);
	assert_int_equal(count_of(double_log(ctx), "GET /auth"), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_way_to_authenticate_asks_exactly_what_it_should),
	    cmocka_unit_test(region_and_interface_choose_from_the_catalog),
	    cmocka_unit_test(settings_that_cannot_work_are_refused),
	    cmocka_unit_test(wrong_credentials_are_unauthenticated_and_never_repeated_in_the_text),
	    cmocka_unit_test(answers_of_the_identity_service_are_not_believed_blindly),
	    cmocka_unit_test(https_is_trusted_by_the_ca_file_only),
	    cmocka_unit_test(a_refused_token_is_renewed_once),
	    cmocka_unit_test(a_token_that_stays_refused_is_an_error_and_no_loop),
	    cmocka_unit_test(many_threads_renew_a_token_together),
	    cmocka_unit_test(threads_share_the_failure_of_a_renewal),
	    cmocka_unit_test(a_token_is_renewed_before_it_is_over_by_the_servers_own_clock),
	    cmocka_unit_test(an_old_token_serves_as_long_as_it_lives_when_no_new_one_is_to_be_had),
	    cmocka_unit_test(a_refusal_that_comes_late_gets_the_new_token),
	};

	log_setup("swift_auth_test", LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	return cmocka_run_group_tests(tests, double_start, double_stop);
}
