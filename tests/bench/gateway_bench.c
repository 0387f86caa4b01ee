/*
 * gateway_bench: puts and gets through the object-store-gateway with the driver `db`, beside bare libpq writing and
 * reading the same rows in tables of the same shape, in the same PostgreSQL and the same run.
 *
 *     gateway_bench [--config FILE] [--seconds N] [--only small|large]
 *
 * With --config the gateway that the file names is used; its database is where the bare figures come from, in a schema
 * `gateway_bench` of their own, which is dropped again. Without, a gateway is started on the database STOWAGE_TEST_DB.
 * Prints `name value unit` lines, then `ratio name value`.
 *
 * A bare put is one transaction: the rows of chunk, data, object and object_chunk. A bare get is the two statements
 * that find an object's chunk and fetch its bytes. Neither hashes, compresses, seals or checks anything.
 */
#include "common/clock.h"
#include "common/process.h"
#include "proto/store_io.h"

#include <endian.h>
#include <getopt.h>
#include <inttypes.h>
#include <libgen.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL 4096
#define LARGE (64 * MIB)
#define LARGE_ROUNDS 4
#define ROW (256 * KIB)
#define CHUNK (4 * MIB)
#define ACCOUNT "bench"
#define THREADS_MAX 64
#define KEYS_MAX 200000

static struct rpc_client *gateway;
static const char *database;
static double seconds = 2;
static uint64_t seed; /* of this run, so that nothing is known from an earlier one */

static void die(const char *what, const char *why)
{
	fprintf(stderr, "gateway_bench: %s: %s\n", what, why);
	exit(1);
}

static void must(enum err_code code, const char *what, const struct err *e)
{
	if (code != ERR_OK)
		die(what, e->text);
}

/* Bytes that do not compress, others for each number and each run. */
static void fill(uint8_t *bytes, size_t len, uint64_t number)
{
	uint64_t x = (number + seed) * 0x9e3779b97f4a7c15u | 1;

	for (size_t i = 0; i + 8 <= len; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(bytes + i, &x, 8);
	}
}

/* ---- bare libpq ---- */

static PGconn *connect_bare(void)
{
	PGconn *conn = PQconnectdb(database);

	if (PQstatus(conn) != CONNECTION_OK)
		die("database", PQerrorMessage(conn));
	return conn;
}

static void run_sql(PGconn *conn, const char *sql)
{
	PGresult *r = PQexec(conn, sql);

	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		die(sql, PQerrorMessage(conn));
	PQclear(r);
}

static const struct {
	const char *name, *sql;
} statements[] = {
    {"chunk", "INSERT INTO gateway_bench.chunk (store, sha256, size, stored_size, codec, backend, state)"
              " VALUES ('object_store', $1, $2, $2, 'none', 1, 'live') RETURNING id"},
    {"data", "INSERT INTO gateway_bench.chunk_data (chunk, seq, sha256, bytes) VALUES ($1, $2, $3, $4)"},
    {"object", "INSERT INTO gateway_bench.object (store, account, bucket, key, size, sha256)"
               " VALUES ('object_store', 'bench', 'bench', $1, $2, $3) RETURNING id"},
    {"link", "INSERT INTO gateway_bench.object_chunk (object, seq, chunk) VALUES ($1, $2, $3)"},
    {"find", "SELECT o.size, o.sha256, c.id FROM gateway_bench.object o"
             " JOIN gateway_bench.object_chunk oc ON oc.object = o.id AND oc.seq = $2"
             " JOIN gateway_bench.chunk c ON c.id = oc.chunk"
             " WHERE o.store = 'object_store' AND o.account = 'bench' AND o.bucket = 'bench' AND o.key = $1"},
    {"fetch", "SELECT bytes FROM gateway_bench.chunk_data WHERE chunk = $1 ORDER BY seq"},
};

/* What the migrations made, without what belongs to the gateway's own rows. */
static void make_bare_tables(void)
{
	PGconn *conn = connect_bare();

	run_sql(conn, "SET client_min_messages = warning;"
	              "DROP SCHEMA IF EXISTS gateway_bench CASCADE; CREATE SCHEMA gateway_bench;"
	              "CREATE TABLE gateway_bench.chunk (LIKE objects.chunk INCLUDING ALL);"
	              "CREATE TABLE gateway_bench.chunk_data (LIKE objects.chunk_data INCLUDING ALL);"
	              "CREATE TABLE gateway_bench.object (LIKE objects.object INCLUDING ALL);"
	              "CREATE TABLE gateway_bench.object_chunk (LIKE objects.object_chunk INCLUDING ALL);"
	              "ALTER TABLE gateway_bench.object_chunk"
	              " ADD FOREIGN KEY (object) REFERENCES gateway_bench.object (id) ON DELETE CASCADE,"
	              " ADD FOREIGN KEY (chunk) REFERENCES gateway_bench.chunk (id);"
	              "ALTER TABLE gateway_bench.chunk_data ALTER COLUMN bytes SET STORAGE EXTERNAL");
	PQfinish(conn);
}

static void drop_bare_tables(void)
{
	PGconn *conn = connect_bare();

	run_sql(conn, "SET client_min_messages = warning; DROP SCHEMA gateway_bench CASCADE");
	PQfinish(conn);
}

static PGconn *connect_prepared(void)
{
	PGconn *conn = connect_bare();

	for (size_t i = 0; i < ARRAY_SIZE(statements); i++) {
		PGresult *r = PQprepare(conn, statements[i].name, statements[i].sql, 0, NULL);

		if (PQresultStatus(r) != PGRES_COMMAND_OK)
			die(statements[i].name, PQerrorMessage(conn));
		PQclear(r);
	}
	return conn;
}

struct arguments {
	int count;
	const char *values[4];
	int lengths[4], formats[4];
	char numbers[4][24];
};

static void add_number(struct arguments *a, int64_t number)
{
	snprintf(a->numbers[a->count], sizeof(a->numbers[0]), "%" PRId64, number);
	a->values[a->count] = a->numbers[a->count];
	a->count++;
}

static void add_bytes(struct arguments *a, const void *bytes, size_t len)
{
	a->values[a->count] = bytes;
	a->lengths[a->count] = (int)len;
	a->formats[a->count++] = 1;
}

/* The result stays the caller's. */
static PGresult *run(PGconn *conn, const char *name, const struct arguments *a, int binary)
{
	PGresult *r = PQexecPrepared(conn, name, a->count, a->values, a->lengths, a->formats, binary);

	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		die(name, PQerrorMessage(conn));
	return r;
}

static int64_t run_for_id(PGconn *conn, const char *name, const struct arguments *a)
{
	PGresult *r = run(conn, name, a, 0);
	int64_t id = strtoll(PQgetvalue(r, 0, 0), NULL, 10);

	PQclear(r);
	return id;
}

static int64_t bare_chunk(PGconn *conn, const struct digest *sha256, const uint8_t *bytes, size_t len)
{
	struct arguments chunk = {0};
	int64_t id;

	add_bytes(&chunk, sha256, DIGEST_BYTES);
	add_number(&chunk, (int64_t)len);
	id = run_for_id(conn, "chunk", &chunk);
	for (size_t at = 0, row = 0; at < len; at += ROW, row++) {
		struct arguments data = {0};

		add_number(&data, id);
		add_number(&data, (int64_t)row);
		add_bytes(&data, sha256, DIGEST_BYTES);
		add_bytes(&data, bytes + at, MIN(ROW, len - at));
		PQclear(run(conn, "data", &data, 0));
	}
	return id;
}

static void bare_object(PGconn *conn, const char *key, size_t len, const struct digest *sha256, const int64_t *chunks,
                        size_t count)
{
	struct arguments object = {0};
	int64_t id;

	add_bytes(&object, key, strlen(key));
	object.formats[0] = 0;
	add_number(&object, (int64_t)len);
	add_bytes(&object, sha256, DIGEST_BYTES);
	id = run_for_id(conn, "object", &object);
	for (size_t i = 0; i < count; i++) {
		struct arguments link = {0};

		add_number(&link, id);
		add_number(&link, (int64_t)i);
		add_number(&link, chunks[i]);
		PQclear(run(conn, "link", &link, 0));
	}
}

/* Digests are made up: bare libpq hashes nothing. */
static struct digest label(const uint8_t *bytes)
{
	struct digest d;

	memcpy(d.bytes, bytes, sizeof(d.bytes));
	return d;
}

static void bare_put(PGconn *conn, const char *key, const uint8_t *bytes, size_t len)
{
	size_t count = (len + CHUNK - 1) / CHUNK;
	int64_t *chunks = calloc(count, sizeof(*chunks));
	struct digest d = label(bytes);

	for (size_t i = 0; i < count; i++) {
		struct digest chunk = label(bytes + i * CHUNK);

		run_sql(conn, "BEGIN");
		chunks[i] = bare_chunk(conn, &chunk, bytes + i * CHUNK, MIN(CHUNK, len - i * CHUNK));
		if (i + 1 < count)
			run_sql(conn, "COMMIT");
	}
	if (count > 1) {
		run_sql(conn, "COMMIT");
		run_sql(conn, "BEGIN");
	}
	bare_object(conn, key, len, &d, chunks, count);
	run_sql(conn, "COMMIT");
	free(chunks);
}

static void bare_get(PGconn *conn, const char *key, size_t len)
{
	size_t got = 0;

	for (size_t i = 0; i * CHUNK < len; i++) {
		struct arguments find = {0}, fetch = {0};
		PGresult *r;

		add_bytes(&find, key, strlen(key));
		find.formats[0] = 0;
		add_number(&find, (int64_t)i);
		r = run(conn, "find", &find, 0);
		add_number(&fetch, strtoll(PQgetvalue(r, 0, 2), NULL, 10));
		PQclear(r);
		r = run(conn, "fetch", &fetch, 1);
		for (int row = 0; row < PQntuples(r); row++)
			got += (size_t)PQgetlength(r, row, 0);
		PQclear(r);
	}
	if (got != len)
		die(key, "bare libpq read another length");
}

/* ---- the gateway ---- */

static struct store_object name_of(const char *key)
{
	return (struct store_object){ACCOUNT, "object_store", "bench", key};
}

static void gateway_put(const char *key, const uint8_t *bytes, size_t len)
{
	struct store_object to = name_of(key);
	struct err e;

	must(store_put_bytes(gateway, &to, bytes, len, NULL, &e), "put", &e);
}

static void gateway_get(const char *key, size_t len)
{
	SCRATCH_CTX(ctx);
	struct store_object from = name_of(key);
	struct err e;
	void *bytes;
	size_t got;

	must(store_get_bytes(gateway, ctx, &from, len, &bytes, &got, &e), "get", &e);
	if (got != len)
		die(key, "the gateway gave another length");
}

/* ---- measuring ---- */

static void bare_put_small(PGconn *conn, const char *key, const uint8_t *bytes)
{
	bare_put(conn, key, bytes, SMALL);
}

static void bare_get_small(PGconn *conn, const char *key, const uint8_t *bytes UNUSED)
{
	bare_get(conn, key, SMALL);
}

static void gateway_put_small(const char *key, const uint8_t *bytes)
{
	gateway_put(key, bytes, SMALL);
}

static void gateway_get_small(const char *key, const uint8_t *bytes UNUSED)
{
	gateway_get(key, SMALL);
}

struct load {
	bool bare, get;
	int64_t until_us;
	atomic_int next; /* number of the next key */
	int keys;        /* that gets choose among */
	atomic_int done;
};

static void key_text(char *into, size_t size, int number)
{
	snprintf(into, size, "small/%d", number);
}

static void *work(void *arg)
{
	struct load *l = arg;
	PGconn *conn = l->bare ? connect_prepared() : NULL;
	uint8_t bytes[SMALL];
	char key[64];

	while (clock_monotonic_us() < l->until_us) {
		int number = atomic_fetch_add(&l->next, 1);

		key_text(key, sizeof(key), l->get ? number % l->keys : number);
		if (!l->get)
			fill(bytes, sizeof(bytes), (uint64_t)number + 1);
		if (l->bare)
			(l->get ? bare_get_small : bare_put_small)(conn, key, bytes);
		else
			(l->get ? gateway_get_small : gateway_put_small)(key, bytes);
		atomic_fetch_add(&l->done, 1);
	}
	PQfinish(conn);
	return NULL;
}

/* Calls a second; *next goes on where it was, so that every put is of something new. */
static double measure(bool bare, bool get, int threads, int *next)
{
	struct load load = {.bare = bare, .get = get, .keys = *next};
	pthread_t running[THREADS_MAX];
	int64_t started = clock_monotonic_us();

	load.until_us = started + (int64_t)(seconds * 1e6);
	atomic_store(&load.next, get ? 0 : *next);
	for (int i = 0; i < threads; i++)
		pthread_create(&running[i], NULL, work, &load);
	for (int i = 0; i < threads; i++)
		pthread_join(running[i], NULL);
	if (!get)
		*next = atomic_load(&load.next);
	return atomic_load(&load.done) / ((double)(clock_monotonic_us() - started) / 1e6);
}

static void print_pair(const char *name, double ours, double bare, const char *unit)
{
	printf("gateway_%s %.0f %s\n", name, ours, unit);
	printf("bare_%s %.0f %s\n", name, bare, unit);
	printf("ratio gateway_%s_to_bare %.2f\n", name, ours / bare);
	fflush(stdout);
}

static void checkpoint(void)
{
	PGconn *conn = connect_bare();

	PQclear(PQexec(conn, "CHECKPOINT")); /* where it is allowed: evens out who pays for whose writes */
	PQfinish(conn);
}

static void bench_small(void)
{
	static const int threads[] = {1, 8, 64};
	int ours = 0, bare = 0;
	char name[64];

	for (int get = 0; get <= 1; get++) {
		for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
			double bare_rate, rate;

			checkpoint();
			bare_rate = measure(true, get, threads[i], &bare);
			checkpoint();
			rate = measure(false, get, threads[i], &ours);
			snprintf(name, sizeof(name), "%s_4KiB_%d", get ? "get" : "put", threads[i]);
			print_pair(name, rate, bare_rate, get ? "gets/s" : "puts/s");
		}
	}
}

static double mib_per_second(int64_t us)
{
	return LARGE_ROUNDS * ((double)LARGE / (double)MIB) / ((double)us / 1e6);
}

static void bench_large(void)
{
	uint8_t *bytes = malloc(LARGE);
	PGconn *conn = connect_prepared();
	int64_t us[2][2] = {{0}}; /* put, get; gateway, bare */

	checkpoint();
	for (int round = 0; round < LARGE_ROUNDS; round++) {
		char key[32];
		int64_t at[5];

		snprintf(key, sizeof(key), "large/%d", round);
		fill(bytes, LARGE, (uint64_t)round + 1000000007);
		at[0] = clock_monotonic_us();
		bare_put(conn, key, bytes, LARGE);
		at[1] = clock_monotonic_us();
		gateway_put(key, bytes, LARGE);
		at[2] = clock_monotonic_us();
		bare_get(conn, key, LARGE);
		at[3] = clock_monotonic_us();
		gateway_get(key, LARGE);
		at[4] = clock_monotonic_us();
		us[0][1] += at[1] - at[0];
		us[0][0] += at[2] - at[1];
		us[1][1] += at[3] - at[2];
		us[1][0] += at[4] - at[3];
	}
	print_pair("put_64MiB", mib_per_second(us[0][0]), mib_per_second(us[0][1]), "MiB/s");
	print_pair("get_64MiB", mib_per_second(us[1][0]), mib_per_second(us[1][1]), "MiB/s");
	PQfinish(conn);
	free(bytes);
}

/* ---- a gateway of our own ---- */

static char directory[64] = "/tmp/stowage-gateway-bench-XXXXXX";

static pid_t start_gateway(TALLOC_CTX *ctx, const char *self, const char **config)
{
	const char *url = getenv("STOWAGE_TEST_DB");
	char *copy = talloc_strdup(ctx, self);
	char *binary = talloc_asprintf(ctx, "%s/../bin/object-store-gateway", dirname(copy)), *path;
	pid_t pid;
	FILE *file;

	if (!url)
		die("STOWAGE_TEST_DB", "neither a database nor --config is given");
	if (!mkdtemp(directory))
		die(directory, strerror(errno));
	path = talloc_asprintf(ctx, "%s/stowage.yaml", directory);
	file = fopen(path, "w");
	if (!file)
		die(path, strerror(errno));
	fprintf(file,
	        "cluster_secret: a secret for the bench alone\ndatabase: {url: \"%s\"}\nlog: {level: warn}\n"
	        "endpoints: {gateway: [\"ipc://%s/gateway.ipc\"]}\n"
	        "object_store_gateway: {listen: [\"ipc://%s/gateway.ipc\"]}\n",
	        url, directory, directory);
	fclose(file);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(binary, binary, "--config", path, NULL);
		die(binary, strerror(errno));
	}
	*config = path;
	return pid;
}

static void stop_gateway(pid_t pid)
{
	static const char *const files[] = {"stowage.yaml", "gateway.ipc"};
	char path[128];

	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
		unlink(path);
	}
	rmdir(directory);
}

static void read_configuration(TALLOC_CTX *ctx, const char *file)
{
	struct process_config *config = talloc_zero(ctx, struct process_config);
	struct err e;

	must(config_load(ctx, &file, 1, process_options(ctx, NULL, NULL), config, &e), "configuration", &e);
	database = config->database_url;
	must(rpc_client_new(ctx,
	                    &(struct rpc_client_options){
				.name = "gateway",
				.endpoints = config->gateway_endpoints.items,
				.endpoint_count = config->gateway_endpoints.count,
				.secret = {config->cluster_secret, config->cluster_secret_previous},
				.principal = "gateway_bench",
				.connect_wait_ms = 20000,
			    },
	                    &gateway, &e),
	     "client", &e);
}

static void remove_objects(void)
{
	SCRATCH_CTX(ctx);
	static const char *const prefixes[] = {"small/", "large/"};
	struct proto_call call = {.account = ACCOUNT};

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		struct object_delete_prefix_request request = {"object_store", "bench", prefixes[i]};
		struct object_delete_prefix_reply reply = {.more = true};
		struct err e;

		while (reply.more) {
			reply = (struct object_delete_prefix_reply){0};
			must(call_object_delete_prefix(gateway, &call, ctx, &request, &reply, &e), "cleaning up", &e);
		}
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	                                        {"seconds", required_argument, NULL, 's'},
	                                        {"only", required_argument, NULL, 'o'},
	                                        {NULL, 0, NULL, 0}};
	SCRATCH_CTX(ctx);
	const char *config = NULL, *only = NULL;
	pid_t pid = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'c') {
			config = optarg;
		} else if (option == 's') {
			seconds = strtod(optarg, NULL);
		} else if (option == 'o') {
			only = optarg;
		} else {
			fprintf(stderr, "usage: gateway_bench [--config FILE] [--seconds N] [--only small|large]\n");
			return 2;
		}
	}
	if (!config)
		pid = start_gateway(ctx, argv[0], &config);
	read_configuration(ctx, config);
	random_bytes(&seed, sizeof(seed));
	gateway_put("small/first", (const uint8_t *)"is it up?", 9); /* waits until it is, and its tables are there */
	make_bare_tables();
	if (!only || strcmp(only, "small") == 0)
		bench_small();
	if (!only || strcmp(only, "large") == 0)
		bench_large();
	drop_bare_tables();
	remove_objects();
	talloc_free(gateway);
	if (pid)
		stop_gateway(pid);
	return 0;
}
