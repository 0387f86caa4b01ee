/*
 * Any bytes as the tar of a layer: read in pieces whose number the first byte says, a second time if the first reading
 * asks for that. What is accepted must have made documents that can be read back, and has the digest of all its bytes.
 *
 * Changed headers get the checksum that they need, or nearly all inputs would end at it.
 */
#include "services/analyzer-worker/parser/build.h"
#include "services/analyzer-worker/parser/tar.h"

#include "proto/document/files.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCK 512
#define CHECKSUM_AT 148
#define CHECKSUM_LEN 8
#define MAGIC_AT 257
#define PIECES_MAX RING_BUFFERS /* they wait in the ring, since nobody reads meanwhile */
#define ARENA (64 * KIB)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* One reading, and what it leaves. */
struct reading {
	struct tar tar;
	struct spill spill;
	struct wants *missing;
	struct buf files, summary;
};

static const struct layer_limits limits = {
    .entries = 4096,
    .unpacked = 4 * MIB, /* a sparse file says what it likes */
    .links = 256,
    .packages = 4096,
    .document = 32 * MIB,
};

static void seal_header(uint8_t *block)
{
	unsigned sum = 0;

	memset(block + CHECKSUM_AT, ' ', CHECKSUM_LEN);
	for (size_t i = 0; i < BLOCK; i++)
		sum += block[i];
	snprintf((char *)block + CHECKSUM_AT, CHECKSUM_LEN, "%06o", sum & 0777777);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	(void)seed;
	size = LLVMFuzzerMutate(data, size, max_size);
	for (size_t at = 1; at + BLOCK <= size; at += BLOCK)
		if (memcmp(data + at + MAGIC_AT, "ustar", 5) == 0)
			seal_header(data + at);
	return size;
}

static struct ring *fill_ring(TALLOC_CTX *ctx, const uint8_t *data, size_t size, size_t pieces)
{
	struct ring *ring = ring_new(ctx);
	size_t step = MIN(size / pieces + 1, RING_BUFFER_SIZE);

	for (size_t at = 0; at < size; at += step) {
		size_t len = MIN(step, size - at);
		uint8_t *into = ring_produce(ring);

		memcpy(into, data + at, len);
		ring_publish(ring, len);
	}
	ring_close(ring, NULL);
	return ring;
}

static enum err_code collect(void *arg, const void *bytes, size_t len, struct err *e)
{
	buf_add(arg, bytes, len);
	return buf_failed(arg) ? ERR(e, ERR_TOO_LARGE, "the document is too long") : ERR_OK;
}

/* True: accepted. */
static bool read_layer(struct reading *r, TALLOC_CTX *ctx, struct ring *ring, struct wants *wants,
                       const struct digest *diff_id)
{
	struct summary_counts counts;
	struct digest found;
	struct err e;

	r->tar = (struct tar){.ring = ring, .limits = &limits, .wants = wants};
	r->tar.build = build_new(ctx, &r->spill, &limits, ARENA);
	r->tar.content = content_new(ctx, &r->spill);
	build_set_wants(r->tar.build, r->missing, wants);
	if (tar_read(&r->tar, &e) != ERR_OK)
		return false;
	found = ring_digest(ring);
	ASSERT(digest_equal(&found, diff_id));
	summary_print_head(&r->summary, "fuzz");
	if (build_write(r->tar.build, collect, &r->files, collect, &r->summary, &counts, &e) != ERR_OK)
		return false;
	summary_print_end(&r->summary, diff_id, 0, &counts);
	return !buf_failed(&r->summary);
}

static void check_documents(TALLOC_CTX *ctx, const struct reading *r)
{
	struct files_memory memory = {r->files.bytes, r->files.len, 0};
	struct files_source source = files_memory_source(&memory);
	struct files_reader *reader = files_reader_new(ctx, &source);
	const struct files_entry *entry;
	struct summary *summary;
	struct err e;

	do
		ASSERT(files_reader_next(reader, &entry, &e) == ERR_OK);
	while (entry);
	ASSERT(summary_decode(ctx, r->summary.bytes, r->summary.len, &summary, &e) == ERR_OK);
	ASSERT(summary->counts.packages == 0 || summary->group_count > 0);
}

/* As the worker does it: the second child gets what the first one left in the spill file. */
static bool read_twice(struct reading *first, struct reading *second, TALLOC_CTX *ctx, struct ring *ring,
                       const struct digest *diff_id)
{
	struct wants *wants = wants_new(ctx);
	uint64_t at, len;
	struct err e;

	if (wants_save(first->missing, &first->spill, &at, &len, &e) != ERR_OK)
		return false;
	second->spill = first->spill;
	ASSERT(wants_load(wants, &second->spill, at, len, &e) == ERR_OK);
	ASSERT(read_layer(second, ctx, ring, wants, diff_id));
	return true;
}

static void reading_init(struct reading *r)
{
	*r = (struct reading){.spill = {.fd = -1}};
	buf_init(&r->files, 32 * MIB);
	buf_init(&r->summary, 32 * MIB);
}

static void reading_release(struct reading *r)
{
	buf_release(&r->files);
	buf_release(&r->summary);
}

static int spill_file(void)
{
	int fd = memfd_create("spill", MFD_CLOEXEC);

	ASSERT(fd >= 0);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SCRATCH_CTX(ctx);
	CLEANUP(fd_cleanup) int fd = spill_file();
	size_t pieces = size ? 1 + data[0] % PIECES_MAX : 1;
	struct reading first, second;
	struct digest diff_id;

	if (size < 2 || size > MIB)
		return 0;
	diff_id = digest_of(data + 1, size - 1);
	reading_init(&first);
	reading_init(&second);
	first.spill = (struct spill){.fd = fd, .max = limits.document};
	first.missing = wants_new(ctx);
	if (read_layer(&first, ctx, fill_ring(ctx, data + 1, size - 1, pieces), NULL, &diff_id)) {
		check_documents(ctx, &first);
		if (wants_count(first.missing) > 0 &&
		    read_twice(&first, &second, ctx, fill_ring(ctx, data + 1, size - 1, pieces), &diff_id))
			check_documents(ctx, &second);
	}
	reading_release(&first);
	reading_release(&second);
	return 0;
}
