#include "tests/unit/common/process_support.h"

static void the_command_line_is_checked(void **state)
{
	static const struct {
		const char *arguments[4];
		int status;
		const char *out, *err;
	} cases[] = {
	    {{"--help"}, 0, "  catalog.start (text)\n      What becomes of the start.\n", ""},
	    {{"--help"}, 0, "  cluster_secret (text, required, secret)\n", ""},
	    {{"--version"}, 0, "tester " STOWAGE_VERSION "\n", ""},
	    {{"--nonsense"}, 2, "", "see tester --help"},
	    {{"--config"}, 2, "", "see tester --help"},
	    {{"serve"}, 2, "", "unexpected argument serve"},
	    {{"--config", "none.yaml"}, 1, "", "tester: none.yaml: No such file"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);

		assert_int_equal(run(cases[i].arguments), cases[i].status);
		assert_non_null(strstr(read_text(ctx, "out"), cases[i].out));
		assert_non_null(strstr(read_text(ctx, "err"), cases[i].err));
	}
}

static void a_bad_configuration_is_one_line_and_status_1(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"", "tester: bad.yaml: cluster_secret is required\n"},
	    {"cluster_secret: short\n", "tester: cluster_secret must have 16 to 64 characters, not 5\n"},
	    {"cluster_secret: " SECRET "\n", "tester: database.url is required\n"},
	    {"cluster_secret: " SECRET "\ndatabase: {url: x}\n", "tester: catalog.listen is required\n"},
	    {"cluster_secret: " SECRET "\nlog: {level: loud}\n",
	     "tester: log.level must be debug, info, warn or error, not \"loud\"\n"},
	    {"cluster_secret: " SECRET "\ncatalog:\n  lisen: x\n", "tester: bad.yaml:3: unknown key catalog.lisen\n"},
	    {"cluster_secret: " SECRET "\ncatalog: {threads: 0}\n",
	     "tester: bad.yaml:2: catalog.threads must be from 1 to 256, not \"0\"\n"},
	};
	static const char *const arguments[] = {"--config", "bad.yaml", NULL};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);

		write_text("bad.yaml", cases[i].text);
		assert_int_equal(run(arguments), 1);
		assert_string_equal(read_text(ctx, "err"), cases[i].error);
	}
}

static void the_printed_configuration_masks_secrets(void **state)
{
	static const char *const arguments[] = {"--config", "tester.yaml", "--print-config", NULL};
	SCRATCH_CTX(ctx);
	struct service_run s;
	char *out;

	(void)state;
	configure(&s, "  database_url: postgresql://u:geheim@h/\n  threads: 3\n");
	assert_int_equal(run(arguments), 0);
	out = read_text(ctx, "out");
	assert_null(strstr(out, SECRET));
	assert_null(strstr(out, "geheim"));
	assert_non_null(strstr(out, "\n  threads: 3\n"));
	/* What is printed can be read again, but for the secret, which is too short now. */
	write_text("tester.yaml", out);
	assert_int_equal(run(arguments), 1);
	assert_non_null(strstr(read_text(ctx, "err"), "cluster_secret must have 16"));
}

static void a_service_serves_and_ends(void **state)
{
	struct service_run s = start("");
	struct call call = {.method = "sleep"}, unknown = {.method = "nothing"};
	char *body = malloc(64 * KIB);

	(void)state;
	assert_int_equal(get(&s, "/healthz", NULL), 200);
	assert_int_equal(get(&s, "/readyz", NULL), 200);
	assert_int_equal(get(&s, "/", NULL), 404);
	assert_int_equal(get(&s, "/metrics", body), 200);
	assert_non_null(strstr(body, "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes "));
	free(body);
	make_call(&call);
	assert_int_equal(call.code, ERR_OK);
	make_call(&unknown);
	assert_int_equal(unknown.code, ERR_NOT_FOUND);
	assert_int_equal(end(&s, 5000), 0);
	assert_true(logged("drain was called draining=1"));
	assert_true(logged("stop was called"));
}

static void background_work_runs_at_once_and_when_woken(void **state)
{
	struct service_run s = start("");
	struct call call = {.method = "wake"};
	char *body = malloc(64 * KIB);

	(void)state;
	assert_int_equal(get(&s, "/metrics", body), 200);
	assert_non_null(strstr(body, "\ntester_ticks_total 1\n"));
	make_call(&call);
	assert_int_equal(call.code, ERR_OK);
	for (int i = 0; i < 100 && !strstr(body, "\ntester_ticks_total 2\n"); i++) {
		usleep(20000);
		assert_int_equal(get(&s, "/metrics", body), 200);
	}
	assert_non_null(strstr(body, "\ntester_ticks_total 2\n"));
	free(body);
	assert_int_equal(end(&s, 5000), 0);
}

static void running_requests_are_finished(void **state)
{
	struct service_run s = start("  grace: 10s\n");
	struct call slow = {.method = "sleep", .ms = 1000}, lounge = {.method = "lounge"};

	(void)state;
	begin_call(&slow);
	begin_call(&lounge);
	usleep(400000);
	assert_int_equal(end(&s, 8000), 0);
	pthread_join(slow.thread, NULL);
	pthread_join(lounge.thread, NULL);
	assert_int_equal(slow.code, ERR_OK);
	assert_int_equal(lounge.code, ERR_OK);
	assert_true(lounge.drained);
}

static void the_grace_period_is_a_limit(void **state)
{
	struct service_run s = start("  grace: 300ms\n");
	struct call call = {.method = "sleep", .ms = 4000};
	int64_t start_ms;

	(void)state;
	begin_call(&call);
	usleep(300000);
	start_ms = clock_monotonic_ms();
	kill(s.pid, SIGTERM);
	assert_int_equal(wait_end(s.pid, 5000), 1);
	assert_in_range(clock_monotonic_ms() - start_ms, 250, 2500);
	assert_true(logged("grace period is over, ending with work unfinished requests=1"));
	pthread_join(call.thread, NULL);
	assert_int_not_equal(call.code, ERR_OK);
}

static void a_second_signal_ends_at_once(void **state)
{
	struct service_run s = start("");
	struct call call = {.method = "sleep", .ms = 3000};

	(void)state;
	begin_call(&call);
	usleep(300000);
	kill(s.pid, SIGTERM);
	assert_true(await_logged("draining signal="));
	kill(s.pid, SIGINT);
	assert_int_equal(wait_end(s.pid, 1500), 1);
	pthread_join(call.thread, NULL);
	assert_int_not_equal(call.code, ERR_OK);
}

static void a_start_that_fails_says_why(void **state)
{
	static const struct {
		const char *more, *text;
	} cases[] = {
	    {"  start: fail\n", "tester: cannot start code=forbidden error=\"the test says no\""},
	    {"  needs: gateway\n", "error=\"endpoints.gateway is not configured\""},
	    {"  database_url: nonsense nonsense\n", "code=invalid error=\"database url is not"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct service_run s = start_as(cases[i].more, false);

		assert_int_equal(wait_end(s.pid, 5000), 1);
		assert_true(logged(cases[i].text));
	}
}

static void a_port_that_is_taken_is_named(void **state)
{
	struct service_run s = start("");
	pid_t second = spawn(with_config, false);

	(void)state;
	assert_int_equal(wait_end(second, 5000), 1);
	assert_true(logged("cannot listen on http address 127.0.0.1:"));
	assert_int_equal(end(&s, 5000), 0);
}

static void a_database_that_comes_late_is_waited_for(void **state)
{
	struct service_run s;

	(void)state;
	control("stop");
	s = start_as("", false);
	assert_true(await_status(&s, "/readyz", 503));
	assert_int_equal(get(&s, "/healthz", NULL), 200);
	assert_true(await_logged("waiting for the database code=unavailable"));
	control("start");
	assert_true(await_status(&s, "/readyz", 200));
	control("stop");
	assert_true(await_status(&s, "/readyz", 503));
	assert_int_equal(get(&s, "/healthz", NULL), 200);
	control("start");
	assert_true(await_status(&s, "/readyz", 200));
	assert_int_equal(end(&s, 5000), 0);
}

static void it_ends_while_it_waits_for_the_database(void **state)
{
	struct service_run s;
	int status;

	(void)state;
	control("stop");
	s = start_as("", false);
	assert_true(await_logged("waiting for the database"));
	status = end(&s, 5000);
	control("start");
	assert_int_equal(status, 0);
}

static void it_may_be_the_first_process_of_a_container(void **state)
{
	struct service_run s;

	(void)state;
	if (geteuid() != 0)
		skip();
	s = start_as("", true);
	assert_true(await_status(&s, "/readyz", 200));
	assert_int_equal(end(&s, 5000), 0);
	assert_true(logged("/1-")); /* its instance ends with its process id and a random number */
}

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const files[] = {"out", "err", "bad.yaml", "tester.yaml", "tester.ipc"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlink(files[i]);
	return rmdir(directory);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_command_line_is_checked),
	    cmocka_unit_test(a_bad_configuration_is_one_line_and_status_1),
	    cmocka_unit_test(the_printed_configuration_masks_secrets),
	    cmocka_unit_test(a_service_serves_and_ends),
	    cmocka_unit_test(background_work_runs_at_once_and_when_woken),
	    cmocka_unit_test(running_requests_are_finished),
	    cmocka_unit_test(the_grace_period_is_a_limit),
	    cmocka_unit_test(a_second_signal_ends_at_once),
	    cmocka_unit_test(a_start_that_fails_says_why),
	    cmocka_unit_test(a_port_that_is_taken_is_named),
	    cmocka_unit_test(a_database_that_comes_late_is_waited_for),
	    cmocka_unit_test(it_ends_while_it_waits_for_the_database),
	    cmocka_unit_test(it_may_be_the_first_process_of_a_container),
	};

	if (argc > 1 && strcmp(argv[1], "--service") == 0) {
		argv[1] = argv[0];
		return serve(argc - 1, argv + 1);
	}
	if (!getenv("STOWAGE_TEST_DB")) {
		fputs(
		    "process_test: STOWAGE_TEST_DB is not set; run it as tests/run/with-postgres --fast process_test\n",
		    stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
