/*
 * transport: messages between processes. The only file that knows nanomsg, and what nanomsg 1.1.5 really does:
 *
 *  - A raw REP socket drops a reply, silently, when that peer's pipe still carries an earlier one. So a socket of ours
 *    carries one request at a time, and one whose reply did not come is closed, never used again.
 *  - A cooked REQ socket sends again on its own whenever a connection breaks, and says nothing when there is no peer at
 *    all. Ours are raw: nothing is sent twice unless the caller does it, and "nobody there" is an answer. Peers that
 * use ordinary REQ sockets are served all the same.
 *  - A connection that is refused is no error either: the socket tries again after a pause, and only its counters show
 *    it. A new socket tries at once.
 *  - A message over NN_RCVMAXSIZE breaks the connection, without an error at either side. Who sends checks the size.
 *  - A socket that may use IPv6 and is told to connect to a literal IPv4 address ends the process by an assertion. Such
 *    an address gets a socket for IPv4 alone.
 *  - Strange bytes on a TCP connection break that connection; on an ipc:// socket some of them end the process by an
 *    assertion. Only who may write to the socket's file can connect: by the usual umask, the same user.
 *  - NN_LINGER does nothing: who closes waits first until what was sent had time to leave.
 *
 * The serving side belongs to a libuv loop, but for its answers, and never blocks. The calling side blocks, with a
 * limit. A socket is one thread's at a time. Addresses are tcp://host:port (to listen, host may be a star for all),
 * ipc:///path and inproc://name.
 */
#ifndef COMMON_TRANSPORT_H
#define COMMON_TRANSPORT_H

#include "common/err.h"

#include <uv.h>

#define TRANSPORT_ADDRESS_MAX 128 /* NUL included */
#define TRANSPORT_ROUTE_MAX 128

/* Bytes that nanomsg allocated. Whoever holds the struct owns them; taking over leaves {NULL, 0} behind. */
struct transport_message {
	uint8_t *bytes;
	size_t len;
};

/* ERR_EXHAUSTED without memory. len > 0. */
enum err_code transport_message_new(size_t len, struct transport_message *m, struct err *e) MUST_CHECK;
void transport_message_release(struct transport_message *m); /* empty: no effect */

/* A message goes there and back between two sockets inside the process, or the library is not to be trusted:
 * ERR_UNSUPPORTED. Before anything else is used; some versions of nanomsg end the process here. Passed once, it costs
 * nothing any more. */
enum err_code transport_selftest(struct err *e) MUST_CHECK;

/* Serving ---------------------------------------------------------------------------------------------------------- */

/* The way back to whoever sent a request. May be used more than once. */
struct transport_route {
	_Alignas(size_t) uint8_t control[TRANSPORT_ROUTE_MAX];
	size_t len;
};

struct transport_listener;

/* On the loop's thread, for each message; it takes the message over. */
typedef void (*transport_received)(struct transport_message *m, const struct transport_route *route, void *arg);

/* Binds all addresses and receives while the loop runs. ERR_UNAVAILABLE names the address. message_max: what is longer
 * is never received. */
enum err_code transport_listen(uv_loop_t *loop, const char *const *addresses, size_t count, size_t message_max,
                               transport_received received, void *arg, struct transport_listener **out,
                               struct err *e) MUST_CHECK;

/* Takes the message over; false: nanomsg refused it, and it is gone. True does not mean that it arrived. On any thread,
 * until the listener is freed. */
bool transport_answer(struct transport_listener *l, const struct transport_route *route, struct transport_message *m);

/* Closes the socket at once; the memory goes in the loop's close callbacks, and closed(arg) (may be NULL) is the last
 * of them. NULL is fine, but calls nothing. */
void transport_listener_free(struct transport_listener *l, void (*closed)(void *arg), void *arg);

/* Calling ---------------------------------------------------------------------------------------------------------- */

struct transport_socket;

/* Begins to connect; does not wait. ERR_INVALID: no such kind of address. ERR_EXHAUSTED: no more sockets (a process
 * has 512). */
enum err_code transport_connect(const char *address, size_t message_max, struct transport_socket **out,
                                struct err *e) MUST_CHECK;

/* Whether the last try to connect failed, and no other one is under way: nobody listens there, or cannot be reached.
 * The socket will try again; it is sooner to close it and make another. */
bool transport_is_refused(const struct transport_socket *s);

/* Takes the message over when it returns ERR_OK. ERR_UNAVAILABLE: no peer within wait_ms. */
enum err_code transport_send(struct transport_socket *s, struct transport_message *m, int64_t wait_ms,
                             struct err *e) MUST_CHECK;

/* The reply. ERR_DEADLINE: none within wait_ms, it may still come. ERR_UNAVAILABLE: the connection that carried the
 * request is gone, and the reply with it. */
enum err_code transport_receive(struct transport_socket *s, struct transport_message *m, int64_t wait_ms,
                                struct err *e) MUST_CHECK;

void transport_close(struct transport_socket *s); /* NULL is fine */

#endif
