#include "common/transport.h"

#include "common/clock.h"

#include <arpa/inet.h>
#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <nanomsg/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* 1.1.5 is interface 5. From 6 on there is 1.2.1, which aborts on any message of 32 bytes or more. */
#if NN_VERSION_CURRENT != 5
#error "nanomsg 1.1.5 is needed: 1.2.1 aborts on messages of 32 bytes or more, others were never tried"
#endif

#define TCP "tcp://"
#define RECONNECT_MS 50
#define RECONNECT_MAX_MS 500
#define HOPS_SLACK 64     /* nanomsg counts its own header, 4 bytes a hop, as part of a message */
#define RECEIVE_BATCH 64  /* messages taken before the loop serves others */
#define SAFETY_MS 200     /* between looks at the socket whatever its descriptor says */
#define CONNECTION_MS 100 /* between looks at the connection while a reply is awaited */
#define SELFTEST_BYTES 1024
#define SELFTEST_WAIT_MS 5000

static enum err_code failed(struct err *e, enum err_code code, const char *what, const char *address)
{
	return ERR(e, code, "%s %s: %s", what, address, nn_strerror(nn_errno()));
}

enum err_code transport_message_new(size_t len, struct transport_message *m, struct err *e)
{
	ASSERT(len > 0);
	m->bytes = nn_allocmsg(len, 0);
	m->len = m->bytes ? len : 0;
	if (!m->bytes)
		return ERR(e, ERR_EXHAUSTED, "no memory for a message of %zu bytes", len);
	return ERR_OK;
}

void transport_message_release(struct transport_message *m)
{
	if (m->bytes)
		nn_freemsg(m->bytes);
	*m = (struct transport_message){0};
}

/* Where the kernel has no IPv6, a socket that asks for both families can neither listen nor connect. */
static bool have_ipv6(void)
{
	CLEANUP(fd_cleanup) int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};

	return fd >= 0 && bind(fd, (const struct sockaddr *)&any, sizeof(any)) == 0;
}

/* "tcp://192.0.2.1:80": a socket for both families aborts the process when it connects to one of these. */
static bool is_literal_ipv4(const char *address)
{
	char host[INET_ADDRSTRLEN];
	struct in_addr ignored;
	size_t len;

	if (strncmp(address, TCP, strlen(TCP)) != 0)
		return false;
	address += strlen(TCP);
	len = strcspn(address, ":");
	if (len >= sizeof(host))
		return false;
	memcpy(host, address, len);
	host[len] = '\0';
	return inet_pton(AF_INET, host, &ignored) == 1;
}

static bool set_option(int sock, int level, int option, int value)
{
	return nn_setsockopt(sock, level, option, &value, sizeof(value)) == 0;
}

static bool set_options(int sock, size_t message_max, bool ipv4_only)
{
	ASSERT(message_max < INT32_MAX - HOPS_SLACK);
	return set_option(sock, NN_SOL_SOCKET, NN_RCVMAXSIZE, (int)message_max + HOPS_SLACK) &&
	       set_option(sock, NN_SOL_SOCKET, NN_IPV4ONLY, ipv4_only || !have_ipv6()) &&
	       set_option(sock, NN_SOL_SOCKET, NN_RECONNECT_IVL, RECONNECT_MS) &&
	       set_option(sock, NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) &&
	       set_option(sock, NN_TCP, NN_TCP_NODELAY, 1);
}

static bool get_fd(int sock, int option, int *fd)
{
	size_t len = sizeof(*fd);

	return nn_getsockopt(sock, NN_SOL_SOCKET, option, fd, &len) == 0;
}

/* A raw socket, its options set; -1 with nn_errno set. */
static int open_raw(int protocol, size_t message_max, bool ipv4_only)
{
	int sock = nn_socket(AF_SP_RAW, protocol);

	if (sock >= 0 && !set_options(sock, message_max, ipv4_only)) {
		nn_close(sock);
		return -1;
	}
	return sock;
}

/* One message and the header nanomsg keeps for it. 1: received, 0: none there, -1: the header is not a usable one. */
static int receive(int sock, struct transport_message *m, struct transport_route *route)
{
	void *bytes = NULL;
	struct nn_iovec part = {.iov_base = &bytes, .iov_len = NN_MSG};
	struct nn_msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
	struct nn_cmsghdr first = {0};
	int len;

	memset(route->control, 0, sizeof(route->control)); /* a header that does not fit is left out without a word */
	header.msg_control = route->control;
	header.msg_controllen = sizeof(route->control);
	len = nn_recvmsg(sock, &header, NN_DONTWAIT);
	if (len < 0)
		return 0;
	*m = (struct transport_message){.bytes = bytes, .len = (size_t)len};
	memcpy(&first, route->control, sizeof(first));
	route->len = first.cmsg_len;
	if (first.cmsg_level == PROTO_SP && first.cmsg_type == SP_HDR && route->len <= sizeof(route->control))
		return 1;
	transport_message_release(m);
	return -1;
}

/* Takes the message over when it returns true. */
static bool send_message(int sock, struct transport_message *m, const struct transport_route *route)
{
	struct nn_iovec part = {.iov_base = &m->bytes, .iov_len = NN_MSG};
	struct nn_msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
	struct transport_route copy = *route;

	header.msg_control = copy.control;
	header.msg_controllen = copy.len;
	if (nn_sendmsg(sock, &header, NN_DONTWAIT) < 0)
		return false;
	*m = (struct transport_message){0};
	return true;
}

/* Serving ---------------------------------------------------------------------------------------------------------- */

struct transport_listener {
	int sock;
	uv_poll_t readable;
	uv_timer_t safety;
	int open_handles;
	transport_received received;
	void *arg;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* The descriptor stays readable while there is more, so what is left after a batch comes in the loop's next round. */
static void take_batch(struct transport_listener *l)
{
	for (int i = 0; i < RECEIVE_BATCH; i++) {
		struct transport_message m;
		struct transport_route route;
		int got = receive(l->sock, &m, &route);

		if (got == 0)
			return;
		if (got > 0)
			l->received(&m, &route, l->arg);
	}
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
	(void)status;
	(void)events;
	take_batch(handle->data);
}

static void on_safety(uv_timer_t *handle)
{
	take_batch(handle->data);
}

static bool watch(struct transport_listener *l, uv_loop_t *loop)
{
	int fd;

	if (!get_fd(l->sock, NN_RCVFD, &fd) || uv_poll_init(loop, &l->readable, fd) != 0)
		return false;
	l->readable.data = l;
	ASSERT(uv_timer_init(loop, &l->safety) == 0);
	l->safety.data = l;
	l->open_handles = 2;
	return uv_poll_start(&l->readable, UV_READABLE, on_readable) == 0 &&
	       uv_timer_start(&l->safety, on_safety, SAFETY_MS, SAFETY_MS) == 0;
}

enum err_code transport_listen(uv_loop_t *loop, const char *const *addresses, size_t count, size_t message_max,
                               transport_received received, void *arg, struct transport_listener **out, struct err *e)
{
	struct transport_listener *l = talloc_zero(NULL, struct transport_listener);

	ASSERT(l);
	l->received = received;
	l->arg = arg;
	l->sock = open_raw(NN_REP, message_max, false);
	if (l->sock < 0) {
		talloc_free(l);
		return failed(e, ERR_EXHAUSTED, "cannot open a socket for", count ? addresses[0] : "nothing");
	}
	for (size_t i = 0; i < count; i++) {
		if (nn_bind(l->sock, addresses[i]) < 0) {
			enum err_code code = failed(e, ERR_UNAVAILABLE, "cannot listen on", addresses[i]);

			transport_listener_free(l, NULL, NULL);
			return code;
		}
	}
	if (!watch(l, loop)) {
		transport_listener_free(l, NULL, NULL);
		return ERR(e, ERR_INTERNAL, "cannot watch the socket of %s", addresses[0]);
	}
	*out = l;
	return ERR_OK;
}

bool transport_answer(struct transport_listener *l, const struct transport_route *route, struct transport_message *m)
{
	bool sent = send_message(l->sock, m, route);

	transport_message_release(m);
	return sent;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct transport_listener *l = handle->data;
	void (*closed)(void *arg) = l->closed;
	void *arg = l->closed_arg;

	if (--l->open_handles > 0)
		return;
	talloc_free(l);
	if (closed)
		closed(arg);
}

void transport_listener_free(struct transport_listener *l, void (*closed)(void *arg), void *arg)
{
	if (!l)
		return;
	l->closed = closed;
	l->closed_arg = arg;
	if (l->open_handles > 0) {
		uv_close((uv_handle_t *)&l->readable, on_handle_closed);
		uv_close((uv_handle_t *)&l->safety, on_handle_closed);
	}
	nn_close(l->sock);
	if (l->open_handles == 0)
		talloc_free(l);
}

/* Calling ---------------------------------------------------------------------------------------------------------- */

struct transport_socket {
	int sock;
	int receivable, sendable; /* descriptors that nanomsg keeps */
	uint64_t connection;      /* which one, counted, carried the request */
	struct transport_route route;
	char address[TRANSPORT_ADDRESS_MAX];
};

/* The header of a request that has made no hop yet: its number alone, with the mark of the last word. One request at a
 * time and no second use after a silence mean that the number need not change. */
static void make_route(struct transport_route *route)
{
	static const uint8_t request[] = {0x80, 0, 0, 1};
	const size_t len = sizeof(request);
	struct nn_cmsghdr first = {.cmsg_level = PROTO_SP, .cmsg_type = SP_HDR};

	first.cmsg_len = NN_CMSG_SPACE(sizeof(len) + sizeof(request));
	memcpy(route->control, &first, sizeof(first));
	memcpy(route->control + sizeof(first), &len, sizeof(len));
	memcpy(route->control + sizeof(first) + sizeof(len), request, sizeof(request));
	route->len = first.cmsg_len;
}

enum err_code transport_connect(const char *address, size_t message_max, struct transport_socket **out, struct err *e)
{
	struct transport_socket *s;

	if (strlen(address) >= TRANSPORT_ADDRESS_MAX)
		return ERR(e, ERR_INVALID, "the address %s is longer than %d bytes", address,
		           TRANSPORT_ADDRESS_MAX - 1);
	if (strchr(address, ';')) /* an interface of the other family than the peer's would abort the process too */
		return ERR(e, ERR_INVALID, "the address %s names an interface", address);
	s = talloc_zero(NULL, struct transport_socket);
	ASSERT(s);
	make_route(&s->route);
	snprintf(s->address, sizeof(s->address), "%s", address);
	s->sock = open_raw(NN_REQ, message_max, is_literal_ipv4(address));
	if (s->sock < 0) {
		talloc_free(s);
		return failed(e, ERR_EXHAUSTED, "cannot open a socket for", address);
	}
	if (nn_connect(s->sock, address) < 0) {
		enum err_code code = failed(e, ERR_INVALID, "cannot connect to", address);

		transport_close(s);
		return code;
	}
	ASSERT(get_fd(s->sock, NN_RCVFD, &s->receivable) && get_fd(s->sock, NN_SNDFD, &s->sendable));
	*out = s;
	return ERR_OK;
}

static bool wait_for(int fd, int64_t wait_ms)
{
	struct pollfd watched = {.fd = fd, .events = POLLIN};

	return poll(&watched, 1, (int)MIN(MAX(wait_ms, 0), INT32_MAX)) > 0;
}

bool transport_is_refused(const struct transport_socket *s)
{
	return nn_get_statistic(s->sock, NN_STAT_CURRENT_EP_ERRORS) > 0 &&
	       nn_get_statistic(s->sock, NN_STAT_INPROGRESS_CONNECTIONS) == 0 &&
	       nn_get_statistic(s->sock, NN_STAT_CURRENT_CONNECTIONS) == 0;
}

/* Which connection carries the request can be told only when there is one before it is sent. */
enum err_code transport_send(struct transport_socket *s, struct transport_message *m, int64_t wait_ms, struct err *e)
{
	int64_t until = clock_monotonic_ms() + wait_ms;

	for (;;) {
		bool sendable = wait_for(s->sendable, until - clock_monotonic_ms());

		if (!sendable && clock_monotonic_ms() >= until)
			return ERR(e, ERR_UNAVAILABLE, "nobody answers at %s", s->address);
		if (!sendable)
			continue;
		s->connection = nn_get_statistic(s->sock, NN_STAT_ESTABLISHED_CONNECTIONS);
		if (send_message(s->sock, m, &s->route))
			return ERR_OK;
		if (nn_errno() != EAGAIN && nn_errno() != EINTR)
			return failed(e, ERR_UNAVAILABLE, "cannot send to", s->address);
	}
}

static bool connection_lost(const struct transport_socket *s)
{
	return nn_get_statistic(s->sock, NN_STAT_CURRENT_CONNECTIONS) == 0 ||
	       nn_get_statistic(s->sock, NN_STAT_ESTABLISHED_CONNECTIONS) != s->connection;
}

/* nanomsg tells nobody when the connection that a reply would come over breaks: its counters are looked at, soon at
 * first, because a peer that dies tends to do so at once. */
enum err_code transport_receive(struct transport_socket *s, struct transport_message *m, int64_t wait_ms, struct err *e)
{
	int64_t until = clock_monotonic_ms() + wait_ms;
	int64_t slice = 5;

	for (;;) {
		struct transport_route ignored;
		bool lost = connection_lost(s); /* before looking: a reply that came in time counts */
		int64_t left;

		if (receive(s->sock, m, &ignored) > 0)
			return ERR_OK;
		if (lost)
			return ERR(e, ERR_UNAVAILABLE, "the connection to %s was lost", s->address);
		left = until - clock_monotonic_ms();
		if (left <= 0)
			return ERR(e, ERR_DEADLINE, "no reply from %s within %jd ms", s->address, (intmax_t)wait_ms);
		wait_for(s->receivable, MIN(left, slice));
		slice = MIN(slice * 2, CONNECTION_MS);
	}
}

void transport_close(struct transport_socket *s)
{
	if (!s)
		return;
	nn_close(s->sock);
	talloc_free(s);
}

/* Self-test -------------------------------------------------------------------------------------------------------- */

static bool carry(int from, int to, const uint8_t *bytes)
{
	uint8_t got[SELFTEST_BYTES + 1];

	return nn_send(from, bytes, SELFTEST_BYTES, 0) == SELFTEST_BYTES &&
	       nn_recv(to, got, sizeof(got), 0) == SELFTEST_BYTES && memcmp(got, bytes, SELFTEST_BYTES) == 0;
}

static bool echo(int server, int client)
{
	char address[64];
	uint8_t bytes[SELFTEST_BYTES];

	snprintf(address, sizeof(address), "inproc://stowage-selftest-%jd-%d", (intmax_t)getpid(), server);
	random_bytes(bytes, sizeof(bytes));
	return set_option(server, NN_SOL_SOCKET, NN_RCVTIMEO, SELFTEST_WAIT_MS) &&
	       set_option(client, NN_SOL_SOCKET, NN_RCVTIMEO, SELFTEST_WAIT_MS) && nn_bind(server, address) >= 0 &&
	       nn_connect(client, address) >= 0 && carry(client, server, bytes) && carry(server, client, bytes);
}

enum err_code transport_selftest(struct err *e)
{
	static atomic_bool passed; /* once is enough; twice at the same time does no harm */
	int server, client, sys;
	bool echoed;

	if (atomic_load(&passed))
		return ERR_OK;
	server = nn_socket(AF_SP, NN_REP);
	client = nn_socket(AF_SP, NN_REQ);
	echoed = server >= 0 && client >= 0 && echo(server, client);
	sys = nn_errno();
	nn_close(client);
	nn_close(server);
	atomic_store(&passed, echoed);
	if (!echoed)
		return ERR(e, ERR_UNSUPPORTED, "nanomsg does not carry %d bytes from one socket to another: %s",
		           SELFTEST_BYTES, nn_strerror(sys));
	return ERR_OK;
}
