#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/frame.h"
#include "common/frame_keys.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECRET "correct horse battery staple"
#define OTHER "the secret of tomorrow"

static struct frame_ring *ring_of(TALLOC_CTX *ctx, const char *current, const char *previous)
{
	struct rpc_secret secret = {.current = current, .previous = previous};
	struct frame_ring *ring;
	struct err e;

	assert_int_equal(frame_ring_new(ctx, &secret, &ring, &e), ERR_OK);
	return ring;
}

static uint8_t *seal(TALLOC_CTX *ctx, struct frame_ring *ring, const char *bound, const char *header, size_t *len)
{
	struct frame_content content = {.bound = bound, .header = header, .header_len = strlen(header)};
	uint8_t *bytes;
	struct err e;

	*len = frame_size(content.header_len, 0);
	bytes = talloc_array(ctx, uint8_t, *len);
	assert_int_equal(frame_seal(ring, &content, bytes, &e), ERR_OK);
	return bytes;
}

static enum frame_fault open_copy(struct frame_ring *ring, const char *bound, const uint8_t *bytes, size_t len)
{
	SCRATCH_CTX(ctx);
	struct frame frame;

	return frame_open(ring, bound, talloc_memdup(ctx, bytes, len), len, &frame);
}

static void what_is_sealed_opens_as_it_was(void **state)
{
	static const struct {
		size_t header, payload;
	} cases[] = {
	    {0, 0},
	    {1, 0},
	    {0, 1},
	    {2, 15},
	    {300, 16},
	    {65536, 17},
	    {RPC_HEADER_MAX, RPC_PAYLOAD_MAX},
	    {0, RPC_PAYLOAD_MAX},
	};
	SCRATCH_CTX(ctx);
	struct frame_ring *a = ring_of(ctx, SECRET, NULL), *b = ring_of(ctx, SECRET, NULL);
	uint8_t *bytes = talloc_array(ctx, uint8_t, RPC_HEADER_MAX + RPC_PAYLOAD_MAX);
	uint8_t *sealed = talloc_array(ctx, uint8_t, RPC_FRAME_MAX);

	(void)state;
	random_bytes(bytes, RPC_HEADER_MAX + RPC_PAYLOAD_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct frame_content content = {.header = bytes,
		                                .header_len = cases[i].header,
		                                .payload = bytes + cases[i].header,
		                                .payload_len = cases[i].payload};
		size_t len = frame_size(cases[i].header, cases[i].payload);
		struct frame frame;
		struct err e;

		assert_true(len <= RPC_FRAME_MAX);
		assert_int_equal(frame_seal(a, &content, sealed, &e), ERR_OK);
		assert_int_equal(frame_open(b, NULL, sealed, len, &frame), FRAME_FINE);
		assert_int_equal(frame.counter, i + 1);
		assert_int_equal(frame.header_len, cases[i].header);
		assert_int_equal(frame.payload_len, cases[i].payload);
		assert_memory_equal(frame.header, bytes, cases[i].header);
		assert_memory_equal(frame.payload, bytes + cases[i].header, cases[i].payload);
	}
}

static void more_than_the_limits_is_not_sealed(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *ring = ring_of(ctx, SECRET, NULL);
	const struct frame_content cases[] = {{.header = "", .header_len = RPC_HEADER_MAX + 1},
	                                      {.payload = "", .payload_len = RPC_PAYLOAD_MAX + 1}};
	uint8_t none[FRAME_OVERHEAD];
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(frame_seal(ring, &cases[i], none, &e), ERR_TOO_LARGE);
}

static void both_secrets_are_accepted_and_no_third(void **state)
{
	static const struct {
		const char *sender, *current, *previous;
		enum frame_fault fault;
	} cases[] = {
	    {SECRET, SECRET, NULL, FRAME_FINE},         {SECRET, SECRET, OTHER, FRAME_FINE},
	    {SECRET, OTHER, SECRET, FRAME_FINE},        {SECRET, OTHER, NULL, FRAME_UNOPENED},
	    {SECRET, OTHER, "", FRAME_UNOPENED},        {"some third secret", OTHER, SECRET, FRAME_UNOPENED},
	    {SECRET "x", SECRET, NULL, FRAME_UNOPENED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct frame_ring *from = ring_of(ctx, cases[i].sender, NULL);
		struct frame_ring *to = ring_of(ctx, cases[i].current, cases[i].previous);

		for (int again = 0; again < 3; again++) { /* with a key found by trying, then with the one kept */
			size_t len;
			uint8_t *bytes = seal(ctx, from, NULL, "{\"a\":1}", &len);
			struct frame frame;

			assert_int_equal(frame_open(to, NULL, bytes, len, &frame), cases[i].fault);
			if (cases[i].fault == FRAME_FINE)
				assert_memory_equal(frame.header, "{\"a\":1}", 7);
		}
	}
}

static void a_frame_opens_only_for_what_it_is_bound_to(void **state)
{
	static const struct {
		const char *sealed, *opened;
		enum frame_fault fault;
	} cases[] = {
	    {NULL, NULL, FRAME_FINE},    {"id", "id", FRAME_FINE},     {"id", "other", FRAME_UNOPENED},
	    {"id", "i", FRAME_UNOPENED}, {"id", NULL, FRAME_UNOPENED}, {NULL, "id", FRAME_UNOPENED},
	    {NULL, "", FRAME_UNOPENED},  {"", NULL, FRAME_UNOPENED},   {"", "", FRAME_FINE},
	};
	SCRATCH_CTX(ctx);
	struct frame_ring *ring = ring_of(ctx, SECRET, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len;
		uint8_t *bytes = seal(ctx, ring, cases[i].sealed, "{}", &len);

		assert_int_equal(open_copy(ring, cases[i].opened, bytes, len), cases[i].fault);
	}
}

static void no_bit_can_be_changed_and_nothing_cut_or_added(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *ring = ring_of(ctx, SECRET, OTHER), *sender = ring_of(ctx, SECRET, NULL);
	size_t len;
	uint8_t *bytes = seal(ctx, sender, NULL, "{\"id\":\"x\"}", &len);
	uint8_t *longer = talloc_zero_array(ctx, uint8_t, len + 1);

	(void)state;
	assert_int_equal(open_copy(ring, NULL, bytes, len), FRAME_FINE);
	for (size_t bit = 0; bit < len * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_not_equal(open_copy(ring, NULL, bytes, len), FRAME_FINE);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t shorter = 1; shorter < len; shorter++)
		assert_int_equal(open_copy(ring, NULL, bytes, shorter),
		                 shorter < FRAME_OVERHEAD ? FRAME_MALFORMED : FRAME_UNOPENED);
	memcpy(longer, bytes, len);
	assert_int_equal(open_copy(ring, NULL, longer, len + 1), FRAME_UNOPENED);
	assert_int_equal(open_copy(ring, NULL, bytes, len), FRAME_FINE);
}

static void what_is_too_long_is_not_even_looked_at(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *ring = ring_of(ctx, SECRET, NULL);
	uint8_t *bytes = talloc_zero_array(ctx, uint8_t, RPC_FRAME_MAX + 1);
	struct frame frame;

	(void)state;
	assert_int_equal(frame_open(ring, NULL, bytes, RPC_FRAME_MAX + 1, &frame), FRAME_OVERSIZE);
	assert_int_equal(frame_open(ring, NULL, bytes, RPC_FRAME_MAX, &frame), FRAME_MALFORMED);
}

/* Sealed by somebody who has the secret and lies about the length of the header. */
static void a_header_length_that_does_not_fit_is_malformed(void **state)
{
	static const uint32_t lengths[] = {3, 4, 0x7fffffff, 0xffffffff, (uint32_t)RPC_HEADER_MAX + 1};
	SCRATCH_CTX(ctx);
	struct frame_ring *ring = ring_of(ctx, SECRET, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint8_t bytes[4 + 32 + 12 + 6 + 16] = "STW1";
		uint8_t inside[6] = {(uint8_t)(lengths[i] >> 24),
		                     (uint8_t)(lengths[i] >> 16),
		                     (uint8_t)(lengths[i] >> 8),
		                     (uint8_t)lengths[i],
		                     '{',
		                     '}'};
		EVP_CIPHER_CTX *run = EVP_CIPHER_CTX_new();
		struct frame_key key;
		struct frame frame;
		struct err e;
		int done;

		random_bytes(bytes + 4, 32);
		assert_int_equal(frame_key_derive(SECRET, bytes + 4, &key, &e), ERR_OK);
		assert_int_equal(EVP_EncryptInit_ex(run, EVP_aes_256_gcm(), NULL, key.bytes, bytes + 36), 1);
		assert_int_equal(EVP_EncryptUpdate(run, NULL, &done, (const uint8_t *)"STW1Q", 5), 1);
		assert_int_equal(EVP_EncryptUpdate(run, bytes + 48, &done, inside, sizeof(inside)), 1);
		assert_int_equal(EVP_EncryptFinal_ex(run, bytes + 54, &done), 1);
		assert_int_equal(EVP_CIPHER_CTX_ctrl(run, EVP_CTRL_AEAD_GET_TAG, 16, bytes + 54), 1);
		EVP_CIPHER_CTX_free(run);
		assert_int_equal(frame_open(ring, NULL, bytes, sizeof(bytes), &frame), FRAME_MALFORMED);
	}
}

struct sealer {
	struct frame_ring *ring;
	uint64_t seen[2000];
};

static void *seal_many(void *arg)
{
	struct sealer *s = arg;
	TALLOC_CTX *ctx = talloc_new(NULL);

	for (size_t i = 0; i < ARRAY_SIZE(s->seen); i++) {
		size_t len;
		uint8_t *bytes = seal(ctx, s->ring, NULL, "{}", &len);
		struct frame frame;

		ASSERT(frame_open(s->ring, NULL, bytes, len, &frame) == FRAME_FINE);
		s->seen[i] = frame.counter;
		talloc_free(bytes);
	}
	talloc_free(ctx);
	return NULL;
}

static void no_counter_is_used_twice_by_threads(void **state)
{
	enum { THREADS = 4 };
	SCRATCH_CTX(ctx);
	static struct sealer sealers[THREADS];
	static bool used[THREADS * ARRAY_SIZE(sealers[0].seen) + 1];
	struct frame_ring *ring = ring_of(ctx, SECRET, NULL);
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++) {
		sealers[i].ring = ring;
		assert_int_equal(pthread_create(&threads[i], NULL, seal_many, &sealers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < THREADS; i++) {
		for (size_t n = 0; n < ARRAY_SIZE(sealers[i].seen); n++) {
			assert_in_range(sealers[i].seen[n], 1, ARRAY_SIZE(used) - 1);
			assert_false(used[sealers[i].seen[n]]);
			used[sealers[i].seen[n]] = true;
		}
	}
}

static void a_fork_gets_a_salt_of_its_own(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *ring = ring_of(ctx, SECRET, NULL);
	uint8_t child[256] = {0}, *mine;
	int channel[2], status;
	size_t len;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(channel), 0);
	pid = fork();
	if (pid == 0) {
		uint8_t *bytes = seal(ctx, ring, NULL, "{}", &len);

		_exit(write(channel[1], bytes, len) == (ssize_t)len ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	mine = seal(ctx, ring, NULL, "{}", &len);
	assert_int_equal(read(channel[0], child, sizeof(child)), len);
	close(channel[0]);
	close(channel[1]);
	assert_memory_not_equal(child + 4, mine + 4, FRAME_SALT_BYTES);
	assert_int_equal(open_copy(ring, NULL, child, len), FRAME_FINE);
}

static void secrets_have_a_least_and_a_greatest_length(void **state)
{
	char long_secret[FRAME_SECRET_MAX + 2];
	const struct {
		const char *current, *previous;
		enum err_code code;
	} cases[] = {
	    {NULL, NULL, ERR_INVALID},
	    {"", NULL, ERR_INVALID},
	    {"fifteen letters", NULL, ERR_INVALID},
	    {"sixteen letters.", NULL, ERR_OK},
	    {"sixteen letters.", "short", ERR_INVALID},
	    {"sixteen letters.", "", ERR_OK},
	    {long_secret, NULL, ERR_INVALID},
	    {long_secret + 1, long_secret + 1, ERR_OK},
	};

	(void)state;
	memset(long_secret, 's', sizeof(long_secret) - 1);
	long_secret[sizeof(long_secret) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		SCRATCH_CTX(ctx);
		struct rpc_secret secret = {cases[i].current, cases[i].previous};
		struct frame_ring *ring;
		struct err e;

		assert_int_equal(frame_ring_new(ctx, &secret, &ring, &e), cases[i].code);
	}
}

static void kept_keys_stay_within_their_number(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_keys *keys = frame_keys_new(ctx, 3);
	uint8_t salts[5][FRAME_SALT_BYTES];
	struct frame_key key = {{0}}, found;

	(void)state;
	random_bytes(salts, sizeof(salts));
	for (uint8_t i = 0; i < 5; i++) {
		key.bytes[0] = i;
		frame_keys_keep(keys, salts[i], &key);
		assert_true(frame_keys_find(keys, salts[0], &found) == (i < 5)); /* 0 is used all the time, and stays */
		assert_int_equal(found.bytes[0], 0);
	}
	assert_int_equal(frame_keys_count(keys), 3);
	assert_false(frame_keys_find(keys, salts[1], &found));
	assert_false(frame_keys_find(keys, salts[2], &found));
	assert_true(frame_keys_find(keys, salts[4], &found));
	assert_int_equal(found.bytes[0], 4);
}

static void many_peers_do_not_confuse_a_ring(void **state)
{
	SCRATCH_CTX(ctx);
	struct frame_ring *ring = ring_of(ctx, SECRET, NULL);
	struct frame_ring *first = ring_of(ctx, SECRET, NULL);

	(void)state;
	for (int i = 0; i < FRAME_PEERS_MAX + 10; i++) {
		SCRATCH_CTX(peer);
		size_t len;
		uint8_t *bytes = seal(peer, i % 100 ? ring_of(peer, SECRET, NULL) : first, NULL, "{}", &len);

		assert_int_equal(open_copy(ring, NULL, bytes, len), FRAME_FINE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_sealed_opens_as_it_was),
	    cmocka_unit_test(more_than_the_limits_is_not_sealed),
	    cmocka_unit_test(both_secrets_are_accepted_and_no_third),
	    cmocka_unit_test(a_frame_opens_only_for_what_it_is_bound_to),
	    cmocka_unit_test(no_bit_can_be_changed_and_nothing_cut_or_added),
	    cmocka_unit_test(what_is_too_long_is_not_even_looked_at),
	    cmocka_unit_test(a_header_length_that_does_not_fit_is_malformed),
	    cmocka_unit_test(no_counter_is_used_twice_by_threads),
	    cmocka_unit_test(a_fork_gets_a_salt_of_its_own),
	    cmocka_unit_test(secrets_have_a_least_and_a_greatest_length),
	    cmocka_unit_test(kept_keys_stay_within_their_number),
	    cmocka_unit_test(many_peers_do_not_confuse_a_ring),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
