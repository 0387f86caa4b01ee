/*
 * swift_double: starts swift_double.py for the tests of the driver swift, tells it what to do, and opens drivers on it.
 * Tests run in the root of the sources.
 *
 *     double_script("{'rules': [{'method': 'PUT', 'path': '/box/', 'status': 503, 'times': 2}]}");    ' stands for "
 *     conn = double_open("key: testing, ...");         -- the inner of a YAML mapping, '@PLAIN' and '@TLS' are replaced
 *     ... driver_swift.put(conn, ...)
 *     driver_swift.close(conn);
 *     assert_string_equal(double_log(ctx), "...");
 *
 * What fails here fails the test. double_log also fails it when the double saw something that it does not know.
 */
#ifndef TESTS_UNIT_SWIFT_DOUBLE_H
#define TESTS_UNIT_SWIFT_DOUBLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/http.h"
#include "common/log.h"
#include "services/object-store-gateway/driver.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DOUBLE_V1 "auth: 'http://@PLAIN/auth/v1.0', user: 'test:tester', key: testing"
#define DOUBLE_BOX "container: box, retry_budget: 2s"

static struct {
	pid_t pid;
	FILE *in, *out; /* of the process */
	char directory[64];
	int plain, tls;
	struct http_client *control;
} swift_double;

static inline int double_start(void **state)
{
	int in[2], out[2];
	struct err e;

	(void)state;
	snprintf(swift_double.directory, sizeof(swift_double.directory), "/tmp/swift-double-XXXXXX");
	assert_non_null(mkdtemp(swift_double.directory));
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	swift_double.pid = fork();
	assert_true(swift_double.pid >= 0);
	if (swift_double.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		execl("/usr/bin/python3", "python3", "-B", "tests/unit/object-store-gateway/swift_double.py",
		      swift_double.directory, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	swift_double.in = fdopen(in[1], "w");
	swift_double.out = fdopen(out[0], "r");
	assert_int_equal(fscanf(swift_double.out, "%d %d", &swift_double.plain, &swift_double.tls), 2);
	assert_int_equal(http_client_new(NULL, &(struct http_client_options){0}, &swift_double.control, &e), ERR_OK);
	return 0;
}

static inline void double_unlink(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", swift_double.directory, name);
	unlink(path);
}

static inline int double_stop(void **state)
{
	(void)state;
	talloc_free(swift_double.control);
	fclose(swift_double.in);
	fclose(swift_double.out);
	kill(swift_double.pid, SIGTERM);
	waitpid(swift_double.pid, NULL, 0);
	double_unlink("tls.pem");
	double_unlink("key.pem");
	double_unlink("config.yaml");
	rmdir(swift_double.directory);
	return 0;
}

static inline char *double_ask(TALLOC_CTX *ctx, const char *method, const char *path, const void *body, size_t len)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct err e;
	const struct http_request request = {
	    .method = method,
	    .url = talloc_asprintf(ctx, "http://127.0.0.1:%d%s", swift_double.plain, path),
	    .body = body,
	    .body_len = len,
	    .memory_max = 64 * MIB,
	};

	if (http_send(swift_double.control, &request, &response, &e) != ERR_OK)
		fail_msg("the double: %s", e.text);
	assert_int_equal(response.status, 200);
	return talloc_strndup(ctx, response.body.bytes ? response.body.bytes : "", response.body.len);
}

static inline void double_script(const char *script)
{
	SCRATCH_CTX(ctx);
	char *text = talloc_strdup(ctx, script);

	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	double_ask(ctx, "PUT", "/_script", text, strlen(text));
}

/* The requests since the last script, a line each; for their form see swift_double.py. */
static inline char *double_log(TALLOC_CTX *ctx)
{
	char *log = double_ask(ctx, "GET", "/_log", NULL, 0);

	if (strstr(log, "STRANGE"))
		fail_msg("the double was asked for something strange:\n%s", log);
	return log;
}

static inline char *double_names(TALLOC_CTX *ctx)
{
	return double_ask(ctx, "GET", "/_names", NULL, 0);
}

/* Puts an object into the container box of v1's account, without the driver. */
static inline void double_add(const char *escaped_name, const void *bytes, size_t len)
{
	SCRATCH_CTX(ctx);

	double_ask(ctx, "PUT", talloc_asprintf(ctx, "/_object/%s", escaped_name), bytes, len);
}

static inline void double_revoke(void)
{
	SCRATCH_CTX(ctx);

	double_ask(ctx, "POST", "/_revoke", NULL, 0);
}

static inline size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
		count++;
	return count;
}

/* The configuration as a tree, which comes from a file only. */
static inline const struct config_node *double_config(TALLOC_CTX *ctx, const char *inner)
{
	static const struct config_option options[] = {{"config", CONFIG_TREE, 0, NULL}, CONFIG_END};
	const char *path = talloc_asprintf(ctx, "%s/config.yaml", swift_double.directory);
	const struct config_node *node = NULL;
	FILE *file = fopen(path, "w");
	struct err e;

	assert_non_null(file);
	fputs("config: {", file);
	for (const char *c = inner; *c; c++) {
		bool plain = strncmp(c, "@PLAIN", 6) == 0, tls = strncmp(c, "@TLS", 4) == 0,
		     dir = strncmp(c, "@DIR", 4) == 0;

		if (plain || tls)
			fprintf(file, "127.0.0.1:%d", plain ? swift_double.plain : swift_double.tls);
		else if (dir)
			fputs(swift_double.directory, file);
		else
			fputc(*c, file);
		c += plain ? 5 : tls || dir ? 3 : 0;
	}
	fputs("}\n", file);
	assert_int_equal(fclose(file), 0);
	if (config_load(ctx, &path, 1, options, &node, &e) != ERR_OK)
		fail_msg("%s: %s", inner, e.text);
	return node;
}

static inline enum err_code double_try_open(TALLOC_CTX *ctx, const char *inner, struct driver_conn **conn,
                                            struct err *e)
{
	struct driver_setup setup = {.store = "object_store", .config = double_config(ctx, inner)};

	return driver_swift.open(ctx, &setup, conn, e);
}

static inline struct driver_conn *double_open(TALLOC_CTX *ctx, const char *inner)
{
	struct driver_conn *conn = NULL;
	struct err e;

	if (double_try_open(ctx, inner, &conn, &e) != ERR_OK)
		fail_msg("open %s: %s: %s", inner, err_name(e.code), e.text);
	return conn;
}

/* The driver on the double as the script has it; requests of the start are forgotten. more: ", key: value" or "". */
static inline struct driver_conn *double_open_on(TALLOC_CTX *ctx, const char *script, const char *more)
{
	struct driver_conn *conn;

	double_script(script);
	conn = double_open(ctx, talloc_asprintf(ctx, DOUBLE_BOX ", " DOUBLE_V1 "%s", more));
	double_script("{'keep': true}");
	return conn;
}

/* A chunk whose content is "x". */
static inline struct location double_location(int64_t number)
{
	return (struct location){digest_of("x", 1), number};
}

static inline enum err_code double_put(struct driver_conn *conn, int64_t number, struct err *e)
{
	struct location at = double_location(number);

	return driver_swift.put(conn, &at, "x", 1, e);
}

static inline void must(enum err_code code, const struct err *e)
{
	if (code != ERR_OK)
		fail_msg("%s: %s", err_name(code), e->text);
}

/* The error's code and text must be these (text: a part of it). */
static inline void expect_error(enum err_code code, const struct err *e, enum err_code wanted, const char *text)
{
	if (code != wanted || e->code != wanted || !strstr(e->text, text))
		fail_msg("%s: \"%s\", wanted %s: \"%s\"", err_name(code), code == ERR_OK ? "" : e->text,
		         err_name(wanted), text);
}

#endif
