/*
 * registry_double: starts tests/integration/registry_double.py for the tests of http and the registry client, and talks
 * to it. Tests run in the root of the sources.
 *
 *     double_start();
 *     double_script("{'/v2/app/manifests/1': [{'status': 503}, {'text': '...'}]}");   single quotes stand for double
 * ones
 *     ... requests to double_url(ctx, DOUBLE_PLAIN, "/v2/...")
 *     log = double_log(ctx);
 *     double_stop();
 *
 * What fails here fails the test.
 */
#ifndef TESTS_REGISTRY_DOUBLE_H
#define TESTS_REGISTRY_DOUBLE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/http.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whoever includes this may have another program started that listens and is controlled in the same way. */
#ifndef DOUBLE_PROGRAM
#define DOUBLE_PROGRAM "tests/integration/registry_double.py"
#endif

enum double_port { DOUBLE_PLAIN, DOUBLE_OTHER, DOUBLE_TLS, DOUBLE_PORTS };

static struct {
	pid_t pid;
	FILE *in, *out; /* of the process */
	char directory[64], certificate[80];
	int ports[DOUBLE_PORTS];
	struct http_client *control;
} registry_double;

/* Fails the test, with the error, unless the call succeeds. */
#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != ERR_OK)                                                                                  \
			fail_msg("%s: %s: %s", #call, err_name(e.code), e.text);                                       \
	} while (0)

static inline void double_spawn(int in, int out)
{
	dup2(in, 0);
	dup2(out, 1);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	execl("/usr/bin/python3", "python3", DOUBLE_PROGRAM, registry_double.directory, (char *)NULL);
	_exit(127);
}

static inline int double_start(void **state)
{
	int in[2], out[2];
	struct err e;

	(void)state;
	snprintf(registry_double.directory, sizeof(registry_double.directory), "/tmp/registry-double-XXXXXX");
	assert_non_null(mkdtemp(registry_double.directory));
	snprintf(registry_double.certificate, sizeof(registry_double.certificate), "%s/tls.pem",
	         registry_double.directory);
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	registry_double.pid = fork();
	assert_true(registry_double.pid >= 0);
	if (registry_double.pid == 0)
		double_spawn(in[0], out[1]);
	close(in[0]);
	close(out[1]);
	registry_double.in = fdopen(in[1], "w");
	registry_double.out = fdopen(out[0], "r");
	for (size_t i = 0; i < DOUBLE_PORTS; i++)
		assert_int_equal(fscanf(registry_double.out, "%d", &registry_double.ports[i]), 1);
	OK(http_client_new(NULL, &(struct http_client_options){0}, &registry_double.control, &e));
	return 0;
}

static inline int double_stop(void **state)
{
	(void)state;
	talloc_free(registry_double.control);
	fclose(registry_double.in);
	fclose(registry_double.out);
	kill(registry_double.pid, SIGTERM);
	waitpid(registry_double.pid, NULL, 0);
	unlink(registry_double.certificate);
	rmdir(registry_double.directory);
	return 0;
}

/* "127.0.0.1:PORT" */
static inline char *double_host(TALLOC_CTX *ctx, enum double_port port)
{
	return talloc_asprintf(ctx, "127.0.0.1:%d", registry_double.ports[port]);
}

static inline char *double_url(TALLOC_CTX *ctx, enum double_port port, const char *path)
{
	return talloc_asprintf(ctx, "%s://127.0.0.1:%d%s", port == DOUBLE_TLS ? "https" : "http",
	                       registry_double.ports[port], path);
}

static inline char *double_ask(TALLOC_CTX *ctx, const char *method, const char *path, const char *body)
{
	CLEANUP(http_response_release) struct http_response response = {0};
	struct err e;
	const struct http_request request = {
	    .method = method,
	    .url = double_url(ctx, DOUBLE_PLAIN, path),
	    .body = body,
	    .body_len = body ? strlen(body) : 0,
	    .memory_max = MIB,
	};

	OK(http_send(registry_double.control, &request, &response, &e));
	assert_int_equal(response.status, 200);
	return talloc_strndup(ctx, response.body.bytes ? response.body.bytes : "", response.body.len);
}

static inline void double_script(const char *fmt, ...) PRINTF(1, 2);
static inline void double_script(const char *fmt, ...)
{
	SCRATCH_CTX(ctx);
	va_list args;
	char *script;

	va_start(args, fmt);
	script = talloc_vasprintf(ctx, fmt, args);
	va_end(args);
	for (char *c = script; *c; c++)
		if (*c == '\'')
			*c = '"';
	double_ask(ctx, "PUT", "/script", script);
}

/* The requests since the last script. */
static inline char *double_log(TALLOC_CTX *ctx)
{
	return double_ask(ctx, "GET", "/log", NULL);
}

static inline int double_connections(void)
{
	SCRATCH_CTX(ctx);

	return (int)strtol(double_ask(ctx, "GET", "/connections", NULL), NULL, 10);
}

static inline size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
		count++;
	return count;
}

/* Byte i of the pattern that the double sends. */
static inline uint8_t pattern_byte(uint64_t i)
{
	i %= 65521;
	return (uint8_t)(i * i + (i >> 3));
}

#endif
