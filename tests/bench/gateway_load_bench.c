/*
 * gateway_load_bench: makes one kind of work for a running gateway and prints how fast it went, for store_bench.py.
 *
 *     gateway_load_bench --config FILE put PREFIX COUNT SIZE CLIENTS      small objects, each of other bytes
 *     gateway_load_bench --config FILE get PREFIX COUNT SIZE CLIENTS      COUNT of them read again
 *     gateway_load_bench --config FILE write KEY BYTES                    one object, made up as it is written
 *     gateway_load_bench --config FILE read KEY                           one object, read to its end
 *     gateway_load_bench --config FILE documents PREFIX COUNT SIZE SHARED COPIES
 *                                                    documents with a common beginning of SHARED bytes, each COPIES
 * times gateway_load_bench --config FILE remove PREFIX                      all objects whose key begins so
 *     gateway_load_bench --config FILE gc                                 chunks that no object names, without grace
 *
 * Output: "name value" lines; `peak_kib` is the most memory that this process ever had.
 */
#include "common/clock.h"
#include "common/process.h"
#include "proto/store_io.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT "bench"
#define STORE "object_store"
#define BUCKET "bench"
#define PIECE (1 * MIB)
#define CLIENTS_MAX 256
#define GC_LIMIT 1000 /* what the background sweep takes at once, too */

struct load {
	struct rpc_client *gateway;
	const char *prefix;
	size_t size;
	int count;
	bool get;
	atomic_int next;
	uint64_t seed; /* of this run, so that nothing is known from an earlier one */
};

static void must(enum err_code code, const char *what, const struct err *e)
{
	if (code == ERR_OK)
		return;
	fprintf(stderr, "gateway_load_bench: %s: %s\n", what, e->text);
	exit(1);
}

/* Bytes that do not compress, others for each seed. */
static void fill(uint8_t *bytes, size_t len, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u | 1;

	for (size_t i = 0; i < len; i += sizeof(x)) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(bytes + i, &x, MIN(sizeof(x), len - i));
	}
}

static int64_t now_us(void)
{
	return clock_monotonic_us();
}

static void print_time(int64_t since_us)
{
	printf("seconds %.6f\n", (double)(now_us() - since_us) / 1e6);
}

/* ---- small objects ---- */

static void carry_one(struct load *l, const char *key, int number, uint8_t *bytes)
{
	SCRATCH_CTX(ctx);
	struct store_object object = {ACCOUNT, STORE, BUCKET, key};
	struct err e;
	void *got;
	size_t len;

	if (l->get) {
		must(store_get_bytes(l->gateway, ctx, &object, l->size, &got, &len, &e), key, &e);
		return;
	}
	fill(bytes, l->size, l->seed + (uint64_t)number);
	must(store_put_bytes(l->gateway, &object, bytes, l->size, NULL, &e), key, &e);
}

static void *work(void *arg)
{
	struct load *l = arg;
	uint8_t *bytes = malloc(l->size);
	char key[128];
	int number;

	ASSERT(bytes);
	while ((number = atomic_fetch_add(&l->next, 1)) < l->count) {
		snprintf(key, sizeof(key), "%s/%d", l->prefix, number);
		carry_one(l, key, number, bytes);
	}
	free(bytes);
	return NULL;
}

static void carry_small(struct load *l, char **words)
{
	pthread_t threads[CLIENTS_MAX];
	int clients = (int)strtol(words[3], NULL, 10);
	int64_t began;

	l->prefix = words[0];
	l->count = (int)strtol(words[1], NULL, 10);
	l->size = strtoull(words[2], NULL, 10);
	ASSERT(clients > 0 && clients <= CLIENTS_MAX && l->size > 0);
	began = now_us();
	for (int i = 0; i < clients; i++)
		ASSERT(pthread_create(&threads[i], NULL, work, l) == 0);
	for (int i = 0; i < clients; i++)
		pthread_join(threads[i], NULL);
	print_time(began);
}

static void put(struct load *l, char **words)
{
	carry_small(l, words);
}

static void get(struct load *l, char **words)
{
	l->get = true;
	carry_small(l, words);
}

/* ---- one large object ---- */

static void write_one(struct load *l, char **words)
{
	SCRATCH_CTX(ctx);
	struct store_writer *w = store_writer_new(ctx, l->gateway, ACCOUNT, STORE);
	uint64_t left = strtoull(words[1], NULL, 10);
	uint8_t *piece = talloc_size(ctx, PIECE);
	int64_t began = now_us();
	struct err e;

	ASSERT(piece);
	for (uint64_t seed = l->seed; left; seed++) {
		size_t part = MIN(left, PIECE);

		fill(piece, part, seed);
		must(store_writer_add(w, piece, part, &e), words[0], &e);
		left -= part;
	}
	must(store_writer_commit(w, BUCKET, words[0], NULL, &e), words[0], &e);
	print_time(began);
}

static void read_one(struct load *l, char **words)
{
	SCRATCH_CTX(ctx);
	struct store_object from = {ACCOUNT, STORE, BUCKET, words[0]};
	struct store_reader *r = store_reader_new(ctx, l->gateway, &from, 0);
	uint8_t *piece = talloc_size(ctx, PIECE);
	int64_t began = now_us();
	uint64_t total = 0;
	size_t got;
	struct err e;

	ASSERT(piece);
	do {
		must(store_reader_read(r, piece, PIECE, &got, &e), words[0], &e);
		total += got;
	} while (got);
	print_time(began);
	printf("bytes %" PRIu64 "\n", total);
}

/* ---- what is shared ---- */

static void documents(struct load *l, char **words)
{
	int count = (int)strtol(words[1], NULL, 10), copies = (int)strtol(words[4], NULL, 10);
	size_t size = strtoull(words[2], NULL, 10), shared = strtoull(words[3], NULL, 10);
	uint64_t stored_bytes = 0;
	uint8_t *bytes = malloc(size);
	int64_t began = now_us();

	ASSERT(bytes && copies > 0 && shared <= size);
	fill(bytes, size, l->seed);
	for (int i = 0; i < count; i++) {
		char key[128];
		struct store_object to = {ACCOUNT, STORE, BUCKET, key};
		struct store_stored stored;
		struct err e;

		snprintf(key, sizeof(key), "%s/%d", words[0], i);
		fill(bytes + shared, size - shared, l->seed + 1 + (uint64_t)(i / copies));
		must(store_put_bytes(l->gateway, &to, bytes, size, &stored, &e), key, &e);
		stored_bytes += stored.stored_bytes;
	}
	print_time(began);
	printf("bytes %ju\nstored_bytes %" PRIu64 "\n", (uintmax_t)size * (uintmax_t)count, stored_bytes);
	free(bytes);
}

/* ---- removing ---- */

static void remove_all(struct load *l, char **words)
{
	struct proto_call call = {.account = ACCOUNT};
	struct object_delete_prefix_request request = {STORE, BUCKET, words[0]};
	struct object_delete_prefix_reply reply = {.more = true};
	int64_t began = now_us(), removed = 0;
	struct err e;

	while (reply.more) {
		SCRATCH_CTX(ctx);

		reply = (struct object_delete_prefix_reply){0};
		must(call_object_delete_prefix(l->gateway, &call, ctx, &request, &reply, &e), words[0], &e);
		removed += reply.deleted;
	}
	print_time(began);
	printf("removed %" PRId64 "\n", removed);
}

static void gc(struct load *l, char **words UNUSED)
{
	struct proto_call call = {.account = ACCOUNT};
	struct store_gc_request request = {.store = STORE, .no_grace = true, .limit = GC_LIMIT};
	struct store_gc_reply reply = {.more = true};
	int64_t began = now_us(), removed = 0;
	struct err e;

	while (reply.more) {
		SCRATCH_CTX(ctx);

		reply = (struct store_gc_reply){0};
		must(call_store_gc(l->gateway, &call, ctx, &request, &reply, &e), "gc", &e);
		removed += reply.removed;
	}
	print_time(began);
	printf("removed %" PRId64 "\n", removed);
}

/* ---- */

static const struct command {
	const char *name;
	int words;
	void (*run)(struct load *l, char **words);
} commands[] = {
    {"put", 4, put},
    {"get", 4, get},
    {"write", 2, write_one},
    {"read", 1, read_one},
    {"documents", 5, documents},
    {"remove", 1, remove_all},
    {"gc", 0, gc},
};

static struct rpc_client *connect_gateway(TALLOC_CTX *ctx, const char *file)
{
	struct process_config *config = talloc_zero(ctx, struct process_config);
	struct rpc_client *client;
	struct err e;

	must(config_load(ctx, &file, 1, process_options(ctx, NULL, NULL), config, &e), "configuration", &e);
	must(rpc_client_new(ctx,
	                    &(struct rpc_client_options){
				.name = "gateway",
				.endpoints = config->gateway_endpoints.items,
				.endpoint_count = config->gateway_endpoints.count,
				.secret = {config->cluster_secret, config->cluster_secret_previous},
				.principal = "gateway_load_bench",
				.connect_wait_ms = 20000,
			    },
	                    &client, &e),
	     "client", &e);
	return client;
}

static void print_peak(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	long kib;

	ASSERT(status);
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "VmHWM: %ld", &kib) == 1)
			printf("peak_kib %ld\n", kib);
	fclose(status);
}

int main(int argc, char **argv)
{
	SCRATCH_CTX(ctx);
	struct load load = {0};

	for (size_t i = 0; argc >= 4 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, argv[3]) != 0 || argc != 4 + commands[i].words)
			continue;
		random_bytes(&load.seed, sizeof(load.seed));
		load.gateway = connect_gateway(ctx, argv[2]);
		commands[i].run(&load, argv + 4);
		print_peak();
		return 0;
	}
	fprintf(stderr, "gateway_load_bench: what it takes stands at the head of its source\n");
	return 2;
}
