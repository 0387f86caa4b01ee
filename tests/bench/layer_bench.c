/*
 * layer_bench: what parsing a layer costs, beside the least that it could.
 *
 *     layer_bench BLOB [RUNS]
 *
 * The baseline is one thread that inflates with ISA-L and takes the SHA-256 of both sides, bytes in memory: what
 * anybody has to do who wants blob digest and DiffID. Against it: the same blob through the layer process, from a
 * thread that reads the file, hashes it and feeds the pipe, as the worker does. The best of RUNS (3) counts for each.
 * One JSON object on stdout.
 */
#include "common/clock.h"
#include "services/analyzer-worker/parser/child.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE (256 * KIB)

static void check(enum err_code code, const struct err *e)
{
	if (code == ERR_OK)
		return;
	fprintf(stderr, "layer_bench: %s: %s\n", err_name(code), e->text);
	exit(1);
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

/* Microseconds for blob digest, inflating and DiffID in one thread. */
static int64_t baseline(const char *path, uint64_t *unpacked)
{
	SCRATCH_CTX(ctx);
	static uint8_t in[PIECE], out[PIECE];
	struct hasher *blob = hasher_new(ctx), *content = hasher_new(ctx);
	int64_t begin = clock_monotonic_us();
	int fd = open(path, O_RDONLY);
	struct decoder *decoder = NULL;
	struct err e;
	size_t got;
	ssize_t n;

	must(fd >= 0, path);
	*unpacked = 0;
	while ((n = read(fd, in, sizeof(in))) > 0) {
		hasher_add(blob, in, (size_t)n);
		if (!decoder)
			check(decoder_new(ctx, codec_detect(in, (size_t)n), &decoder, &e), &e);
		decoder_feed(decoder, in, (size_t)n);
		for (;;) {
			check(decoder_read(decoder, out, sizeof(out), &got, &e), &e);
			if (got == 0)
				break;
			hasher_add(content, out, got);
			*unpacked += got;
		}
	}
	hasher_finish(blob);
	hasher_finish(content);
	close(fd);
	return clock_monotonic_us() - begin;
}

struct feeding {
	const char *path;
	struct layer_child *child;
};

static void *feed(void *arg)
{
	SCRATCH_CTX(ctx);
	static uint8_t piece[PIECE];
	struct feeding *f = arg;
	struct hasher *hasher = hasher_new(ctx);
	int fd = open(f->path, O_RDONLY);
	ssize_t n, put;

	must(fd >= 0, f->path);
	while ((n = read(fd, piece, sizeof(piece))) > 0) {
		hasher_add(hasher, piece, (size_t)n);
		for (ssize_t at = 0; at < n; at += put)
			must((put = write(f->child->blob_fd, piece + at, (size_t)(n - at))) > 0, "feeding");
	}
	hasher_finish(hasher);
	close(fd);
	layer_child_eof(f->child);
	return NULL;
}

/* Microseconds for the layer process and its feeding. */
static int64_t parse(const char *path, struct layer_result *result)
{
	struct layer_child_setup setup = {.any_codec = true};
	struct layer_child child;
	struct feeding feeding = {.path = path, .child = &child};
	FILE *files = tmpfile(), *summary = tmpfile(), *spill = tmpfile();
	int64_t begin = clock_monotonic_us();
	pthread_t feeder;
	struct err e;

	must(files && summary && spill, "tmpfile");
	setup.files_fd = fileno(files);
	setup.summary_fd = fileno(summary);
	setup.spill_fd = fileno(spill);
	check(layer_child_start(&setup, &child, &e), &e);
	must(pthread_create(&feeder, NULL, feed, &feeding) == 0, "thread");
	check(layer_child_finish(&child, NULL, NULL, result, &e), &e);
	pthread_join(feeder, NULL);
	layer_child_release(&child);
	begin = clock_monotonic_us() - begin;
	fclose(files);
	fclose(summary);
	fclose(spill);
	return begin;
}

int main(int argc, char **argv)
{
	int runs = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3;
	int64_t least_baseline = INT64_MAX, least_parse = INT64_MAX;
	struct layer_result result = {0};
	uint64_t unpacked = 0;

	if (argc == 3 && strcmp(argv[1], "--parse-layer") == 0)
		return layer_child_main(argv[2]);
	if (argc < 2 || runs < 1) {
		fputs("usage: layer_bench BLOB [RUNS]\n", stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < runs; i++) {
		least_baseline = MIN(least_baseline, baseline(argv[1], &unpacked));
		least_parse = MIN(least_parse, parse(argv[1], &result));
	}
	printf("{\"blob_bytes\":%llu,\"tar_bytes\":%llu,\"entries\":%llu,\"baseline_s\":%.3f,\"parse_s\":%.3f,"
	       "\"ratio\":%.2f,\"baseline_mb_s\":%.0f,\"parse_mb_s\":%.0f,\"child_cpu_s\":%.3f,\"child_peak_mib\":%.1f,"
	       "\"files_bytes\":%llu}\n",
	       (unsigned long long)result.blob_bytes, (unsigned long long)result.tar_bytes,
	       (unsigned long long)result.entries, (double)least_baseline / 1e6, (double)least_parse / 1e6,
	       (double)least_parse / (double)least_baseline, (double)unpacked / (double)least_baseline,
	       (double)result.tar_bytes / (double)least_parse, (double)result.cpu_us / 1e6,
	       (double)result.peak_rss_bytes / (double)MIB, (unsigned long long)result.files_bytes);
	return 0;
}
