/*
 * rpc_frames: a peer that writes its frames by hand, for tests of what a server does with them.
 *
 * The fixture gives each test a TCP address of its own in `address` and a directory in `dir`.
 */
#ifndef TESTS_UNIT_COMMON_RPC_FRAMES_H
#define TESTS_UNIT_COMMON_RPC_FRAMES_H

#include "common/frame.h"
#include "common/rpc_header.h"
#include "common/transport.h"
#include "tests/unit/common/rpc_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct peer_dir dir;
static char address[64], other_address[64];
static int port;

static inline int make_addresses(void **state)
{
	(void)state;
	dir = peer_make_dir();
	port = peer_free_port();
	snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", port);
	snprintf(other_address, sizeof(other_address), "tcp://127.0.0.1:%d", peer_free_port());
	return 0;
}

static inline int remove_addresses(void **state)
{
	(void)state;
	peer_remove_dir(&dir);
	return 0;
}

static inline struct frame_ring *ring_of(TALLOC_CTX *ctx, const char *secret, const char *previous)
{
	struct rpc_secret both = {.current = secret, .previous = previous};
	struct frame_ring *ring;
	struct err e;

	assert_int_equal(frame_ring_new(ctx, &both, &ring, &e), ERR_OK);
	return ring;
}

static inline struct transport_socket *connect_to(const char *to)
{
	struct transport_socket *s;
	struct err e;

	assert_int_equal(transport_connect(to, RPC_FRAME_MAX, &s, &e), ERR_OK);
	return s;
}

struct wanted {
	const char *id, *method, *body, *account;
	int64_t deadline_ms; /* 0: plenty */
	int64_t age_ms;
};

static inline struct transport_message seal(struct frame_ring *ring, const struct wanted *w)
{
	CLEANUP(buf_release) struct buf header;
	struct rpc_request_header fields = {
	    .id = w->id,
	    .method = w->method,
	    .account = w->account ? w->account : "acme",
	    .deadline_ms = w->deadline_ms ? w->deadline_ms : PEER_WAIT_MS,
	    .sent_at_ms = clock_wall_ms() - w->age_ms,
	};
	struct frame_content content = {0};
	struct transport_message m;
	struct err e;

	buf_init(&header, RPC_HEADER_MAX);
	rpc_header_write_request(&header, &fields, w->body, w->body ? strlen(w->body) : 0);
	content.header = header.bytes;
	content.header_len = header.len;
	assert_int_equal(transport_message_new(frame_size(header.len, 0), &m, &e), ERR_OK);
	assert_int_equal(frame_seal(ring, &content, m.bytes, &e), ERR_OK);
	return m;
}

static inline struct transport_message copy_of(const void *bytes, size_t len)
{
	struct transport_message m;
	struct err e;

	assert_int_equal(transport_message_new(len, &m, &e), ERR_OK);
	memcpy(m.bytes, bytes, len);
	return m;
}

static inline void send_on(struct transport_socket *s, struct transport_message m)
{
	struct err e;

	assert_int_equal(transport_send(s, &m, PEER_WAIT_MS, &e), ERR_OK);
}

/* The verdict of the reply that comes, or ERR_DEADLINE when none does. body (may be NULL) hangs on ctx. */
static inline enum err_code reply_on(struct transport_socket *s, struct frame_ring *ring, const char *id,
                                     TALLOC_CTX *ctx, cJSON **body, struct err *e, int64_t wait_ms)
{
	struct transport_message m;
	struct frame frame;
	cJSON *unwanted;
	bool answered;
	enum err_code code = transport_receive(s, &m, wait_ms, e);

	if (code != ERR_OK)
		return code;
	assert_int_equal(frame_open(ring, id, m.bytes, m.len, &frame), FRAME_FINE);
	code = rpc_header_read_reply(ctx, frame.header, frame.header_len, body ? body : &unwanted, &answered, e);
	assert_true(answered);
	transport_message_release(&m);
	return code;
}

static inline enum err_code ask(struct frame_ring *ring, const struct wanted *w, int64_t wait_ms, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct transport_socket *s = connect_to(address);
	enum err_code code;

	send_on(s, seal(ring, w));
	code = reply_on(s, ring, w->id, ctx, NULL, e, wait_ms);
	transport_close(s);
	return code;
}

static inline void read_metric(const struct metric *m, void *arg)
{
	struct metric_wanted {
		const char *name;
		int64_t value;
	} *wanted = arg;

	if (strcmp(m->name, wanted->name) == 0)
		wanted->value = metric_read(m);
}

static inline int64_t metric_value(const char *name)
{
	struct {
		const char *name;
		int64_t value;
	} wanted = {name, 0};

	metrics_each(read_metric, &wanted);
	return wanted.value;
}

static inline bool metric_becomes(const char *name, int64_t value)
{
	for (int i = 0; i < PEER_WAIT_MS && metric_value(name) != value; i++)
		usleep(1000);
	return metric_value(name) == value;
}

#endif
