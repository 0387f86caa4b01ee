/*
 * s3_double: the driver s3 on tests/integration/s3_double.py, which is an S3 server and breaks when it is told to.
 *
 *     s3_script("'faults': [['GET', 'object_store', {'status': 503}]]");    -- bucket "b", empty, and key "test:key"
 *     struct driver_conn *c = s3_open(ctx, "timeout: 500ms");               -- a line of driver configuration, or ""
 *     ... driver_s3.put(c, ...) ...
 *     driver_s3.close(c);
 */
#ifndef TESTS_S3_DOUBLE_H
#define TESTS_S3_DOUBLE_H

#define DOUBLE_PROGRAM "tests/integration/s3_double.py"
#include "tests/unit/common/registry_double.h"

#include "services/object-store-gateway/driver.h"

#define S3_KEYS "'keys': {'test:key': 'se:cret/+'}"

/* more: further members of the script, or "". */
static inline void s3_script(const char *more)
{
	double_script("{'buckets': ['b'], " S3_KEYS ", 'region': 'us-east-1', 'clock': 0%s%s}", more[0] ? ", " : "",
	              more);
}

/* Only the faults; buckets and keys stay. The log is empty then. */
static inline void s3_faults(const char *faults)
{
	double_script("{'faults': [%s]}", faults);
}

/* Requests since the last script. */
static inline unsigned s3_requests(void)
{
	SCRATCH_CTX(ctx);

	return (unsigned)count_of(double_log(ctx), "\n");
}

static inline enum err_code s3_try_open_with(TALLOC_CTX *ctx, const char *text, struct driver_conn **c, struct err *e)
{
	static const struct config_option options[] = {
	    {"config", CONFIG_TREE, 0, NULL},
	    CONFIG_END,
	};
	const struct config_node *node = NULL;
	const char *path = talloc_asprintf(ctx, "%s/s3.yaml", registry_double.directory);
	FILE *file = fopen(path, "w");
	enum err_code code;

	assert_non_null(file);
	assert_true(fprintf(file, "config: {%s}\n", text) > 0);
	assert_int_equal(fclose(file), 0);
	code = config_load(ctx, &path, 1, options, &node, e);
	unlink(path);
	assert_int_equal(code, ERR_OK);
	return driver_s3.open(ctx, &(struct driver_setup){.store = "object_store", .config = node}, c, e);
}

static inline enum err_code s3_try_open(TALLOC_CTX *ctx, const char *more, struct driver_conn **c, struct err *e)
{
	char *text =
	    talloc_asprintf(ctx, "url: \"%s\", bucket: b, access_key: \"test:key\", secret_key: \"se:cret/+\"%s%s",
	                    double_url(ctx, DOUBLE_PLAIN, ""), more[0] ? ", " : "", more);

	return s3_try_open_with(ctx, text, c, e);
}

static inline struct driver_conn *s3_open(TALLOC_CTX *ctx, const char *more)
{
	struct driver_conn *c = NULL;
	struct err e = {0};

	OK(s3_try_open(ctx, more, &c, &e));
	return c;
}

static inline struct location s3_location(int64_t number)
{
	return (struct location){.sha256 = digest_of(&number, sizeof(number)), .number = number};
}

#endif
