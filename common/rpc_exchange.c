#include "common/rpc_exchange.h"

#include "common/clock.h"
#include "common/metrics.h"

#include <inttypes.h>
#include <stdio.h>

#define STOP_SLICE_MS 50
#define REFUSED_SLICE_MS 16 /* at most, between looks whether a connection was refused; the first come sooner */

static struct metric nonsense =
    METRIC_COUNTER("stowage_rpc_replies_unopened_total", "Replies that do not open or cannot be read.");

struct rpc_random_id rpc_random_id(void)
{
	struct rpc_random_id id;
	uint64_t random[2];

	random_bytes(random, sizeof(random));
	snprintf(id.text, sizeof(id.text), "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
	return id;
}

/* A message that lives on a talloc context, because the payload of a reply lies in it. */
static int held_destroy(struct transport_message *m)
{
	transport_message_release(m);
	return 0;
}

static struct transport_message *held_message(TALLOC_CTX *ctx)
{
	struct transport_message *m = talloc_zero(ctx, struct transport_message);

	ASSERT(m);
	talloc_set_destructor(m, held_destroy);
	return m;
}

static void message_cleanup(struct transport_message *m)
{
	transport_message_release(m);
}

static enum err_code seal(struct rpc_exchange *x, struct transport_message *m, struct err *e)
{
	CLEANUP(buf_release) struct buf header;
	struct frame_content content = {.payload = x->payload, .payload_len = x->payload_len};

	buf_init(&header, RPC_HEADER_MAX);
	x->header.sent_at_ms = clock_wall_ms();
	rpc_header_write_request(&header, &x->header, x->body, x->body_len);
	if (buf_failed(&header))
		return ERR(e, ERR_TOO_LARGE, "a request of %zu bytes exceeds %ju", x->body_len,
		           (uintmax_t)RPC_HEADER_MAX);
	content.header = header.bytes;
	content.header_len = header.len;
	if (content.payload_len > RPC_PAYLOAD_MAX)
		return ERR(e, ERR_TOO_LARGE, "a payload of %zu bytes exceeds %ju", content.payload_len,
		           (uintmax_t)RPC_PAYLOAD_MAX);
	TRY(transport_message_new(frame_size(content.header_len, content.payload_len), m, e));
	return frame_seal(x->ring, &content, m->bytes, e);
}

static bool stopped(const struct rpc_exchange *x)
{
	return x->stop && atomic_load(x->stop);
}

/* Waits for a connection, but not for one that was refused: whoever is called next may be there. */
static enum err_code send_sealed(const struct rpc_exchange *x, struct transport_socket *socket,
                                 struct transport_message *sealed, struct err *e)
{
	int64_t until = clock_monotonic_ms() + x->connect_ms, slice = 1;

	for (;;) {
		int64_t left = until - clock_monotonic_ms();
		enum err_code code = transport_send(socket, sealed, MIN(left, slice), e);

		if (code == ERR_OK || left <= slice || stopped(x) || transport_is_refused(socket))
			return code;
		slice = MIN(slice * 2, REFUSED_SLICE_MS);
	}
}

/* Waits in slices where somebody may want it to end early. */
static enum err_code receive(const struct rpc_exchange *x, struct transport_socket *socket, struct transport_message *m,
                             struct err *e)
{
	int64_t until = clock_monotonic_ms() + x->reply_ms;

	for (;;) {
		int64_t left = until - clock_monotonic_ms();
		int64_t wait = x->stop ? MIN(left, STOP_SLICE_MS) : left;
		enum err_code code = transport_receive(socket, m, wait, e);

		if (code != ERR_DEADLINE || wait == left || stopped(x))
			return code;
	}
}

/* What the peer says, or LOST when it is nonsense. */
static enum rpc_outcome read_reply(const struct rpc_exchange *x, TALLOC_CTX *ctx, struct transport_message *m,
                                   struct rpc_reply *reply, enum err_code *code, struct err *e)
{
	struct frame frame;
	bool answered;

	if (frame_open(x->ring, x->header.id, m->bytes, m->len, &frame) != FRAME_FINE) {
		metric_add(&nonsense, 1);
		*code = ERR(e, ERR_UNAVAILABLE, "a reply to %s that does not open", x->header.method);
		return RPC_LOST;
	}
	*code = rpc_header_read_reply(ctx, frame.header, frame.header_len, &reply->body, &answered, e);
	if (!answered) {
		metric_add(&nonsense, 1);
		return RPC_LOST;
	}
	reply->payload = frame.payload;
	reply->payload_len = frame.payload_len;
	return RPC_ANSWERED;
}

static enum rpc_outcome talk(struct rpc_endpoint *ep, struct transport_socket *socket, struct rpc_exchange *x,
                             struct transport_message *sealed, TALLOC_CTX *ctx, struct rpc_reply *reply,
                             enum err_code *code, struct err *e)
{
	struct transport_message *m;

	*code = send_sealed(x, socket, sealed, e);
	if (*code != ERR_OK) {
		rpc_endpoint_give_socket(ep, socket); /* it may go on connecting, for whoever takes it next */
		return RPC_UNREACHED;
	}
	m = held_message(ctx);
	*code = receive(x, socket, m, e);
	if (*code != ERR_OK) {
		transport_close(socket);
		talloc_free(m);
		return *code == ERR_DEADLINE ? RPC_SILENT : RPC_LOST;
	}
	rpc_endpoint_give_socket(ep, socket);
	return read_reply(x, ctx, m, reply, code, e);
}

enum rpc_outcome rpc_exchange(struct rpc_endpoint *ep, struct rpc_exchange *x, TALLOC_CTX *ctx, struct rpc_reply *reply,
                              enum err_code *code, struct err *e)
{
	CLEANUP(message_cleanup) struct transport_message sealed = {0};
	struct transport_socket *socket;

	*reply = (struct rpc_reply){0};
	*code = seal(x, &sealed, e);
	if (*code != ERR_OK)
		return RPC_UNSENT;
	*code = rpc_endpoint_take_socket(ep, &socket, e);
	if (*code != ERR_OK)
		return RPC_UNSENT;
	return talk(ep, socket, x, &sealed, ctx, reply, code, e);
}

bool rpc_ping(struct rpc_endpoint *ep, struct frame_ring *ring, const char *principal, int64_t wait_ms,
              const atomic_bool *stop)
{
	SCRATCH_CTX(ctx);
	struct rpc_random_id id = rpc_random_id();
	struct rpc_exchange x = {
	    .ring = ring,
	    .header = {.id = id.text, .method = "ping", .principal = principal, .deadline_ms = wait_ms},
	    .stop = stop,
	    .connect_ms = wait_ms / 2,
	    .reply_ms = wait_ms,
	};
	struct rpc_reply reply;
	enum err_code code;
	struct err e;

	return rpc_exchange(ep, &x, ctx, &reply, &code, &e) == RPC_ANSWERED && code == ERR_OK;
}
