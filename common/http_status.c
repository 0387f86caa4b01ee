#include "common/http_status.h"

#include "common/clock.h"
#include "common/metrics.h"

#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 16
#define CONNECTION_SECONDS 5
#define READY_MS 1000   /* "ready" is good for that long */
#define NOT_READY_MS 50 /* and "not ready" for that: who starts a service waits for its end */
#define STALE_MS 10000
#define METRICS_MAX (4 * MIB)

struct http_status {
	struct http_status_options options;
	struct MHD_Daemon *daemon;

	pthread_mutex_t lock; /* for all that follows */
	pthread_cond_t answered;
	bool asking, known;
	int64_t asked_ms;
	enum err_code ready;
	struct err reason;
};

struct answer {
	unsigned status;
	const char *type;
	struct buf body;
};

/* Under the lock. */
static bool is_fresh(const struct http_status *s)
{
	return s->known && clock_monotonic_ms() - s->asked_ms < (s->ready == ERR_OK ? READY_MS : NOT_READY_MS);
}

/* Asks the service, or takes what was found lately; *reason is filled when it is not ready. */
static enum err_code ask_ready(struct http_status *s, struct err *reason)
{
	struct err found = {.text = ""};
	enum err_code code;

	pthread_mutex_lock(&s->lock);
	while (s->asking && !s->known)
		pthread_cond_wait(&s->answered, &s->lock);
	if (!s->asking && !is_fresh(s)) {
		s->asking = true;
		pthread_mutex_unlock(&s->lock);
		code = s->options.ready(s->options.arg, &found);
		pthread_mutex_lock(&s->lock);
		s->ready = code;
		s->reason = found;
		s->asked_ms = clock_monotonic_ms();
		s->known = true;
		s->asking = false;
		pthread_cond_broadcast(&s->answered);
	}
	code = s->ready;
	*reason = s->reason;
	if (s->asking && clock_monotonic_ms() - s->asked_ms >= STALE_MS)
		code = ERR(reason, ERR_DEADLINE, "readiness is being looked into for %d s and more", STALE_MS / 1000);
	pthread_mutex_unlock(&s->lock);
	return code;
}

static void answer_ready(struct http_status *s, struct answer *a)
{
	struct err reason;

	if (ask_ready(s, &reason) == ERR_OK) {
		buf_add_text(&a->body, "ready\n");
		return;
	}
	a->status = MHD_HTTP_SERVICE_UNAVAILABLE;
	buf_add_format(&a->body, "%s: %s\n", err_name(reason.code), reason.text);
}

static void answer_path(struct http_status *s, const char *path, struct answer *a)
{
	if (strcmp(path, "/healthz") == 0) {
		bool alive = s->options.alive(s->options.arg);

		a->status = alive ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
		buf_add_text(&a->body, alive ? "alive\n" : "the event loop does not turn\n");
	} else if (strcmp(path, "/readyz") == 0) {
		answer_ready(s, a);
	} else if (strcmp(path, "/metrics") == 0) {
		a->type = "text/plain; version=0.0.4; charset=utf-8";
		if (s->options.measure)
			s->options.measure(s->options.arg);
		metrics_print(&a->body);
	} else {
		a->status = MHD_HTTP_NOT_FOUND;
		buf_add_text(&a->body, "/healthz, /readyz and /metrics are here\n");
	}
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct answer *a)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(a->body.len, a->body.bytes, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result sent;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, a->type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	sent = MHD_queue_response(connection, a->status, response);
	MHD_destroy_response(response);
	return sent;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version UNUSED, const char *upload UNUSED, size_t *upload_len UNUSED,
                              void **state UNUSED)
{
	struct answer a = {.status = MHD_HTTP_OK, .type = "text/plain; charset=utf-8"};
	enum MHD_Result sent;

	buf_init(&a.body, METRICS_MAX);
	if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
		answer_path(arg, url, &a);
	} else {
		a.status = MHD_HTTP_METHOD_NOT_ALLOWED;
		buf_add_text(&a.body, "GET and HEAD only\n");
	}
	sent = send_answer(connection, &a);
	buf_release(&a.body);
	return sent;
}

/* "host:port", the host in brackets when it has colons, or left out. */
static bool split_address(TALLOC_CTX *ctx, const char *listen, const char **host, const char **port)
{
	const char *colon = strrchr(listen, ':');
	size_t len;

	if (!colon || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5 ||
	    strtol(colon + 1, NULL, 10) > UINT16_MAX)
		return false;
	len = (size_t)(colon - listen);
	if (len >= 2 && listen[0] == '[' && listen[len - 1] == ']')
		*host = talloc_strndup(ctx, listen + 1, len - 2);
	else if (memchr(listen, ':', len))
		return false;
	else
		*host = len ? talloc_strndup(ctx, listen, len) : NULL;
	*port = colon + 1;
	return true;
}

static enum err_code resolve(const char *listen, struct addrinfo **out, struct err *e)
{
	static const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	SCRATCH_CTX(ctx);
	const char *host, *port;
	int failure;

	if (!split_address(ctx, listen, &host, &port))
		return ERR(e, ERR_INVALID, "http address %s is not host:port", listen);
	failure = getaddrinfo(host, port, &hints, out);
	if (failure != 0)
		return ERR(e, ERR_INVALID, "http address %s: %s", listen, gai_strerror(failure));
	return ERR_OK;
}

static struct MHD_Daemon *serve(struct http_status *s, const struct addrinfo *address)
{
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL;

	if (address->ai_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	return MHD_start_daemon(flags, 0, NULL, NULL, handle, s, MHD_OPTION_SOCK_ADDR, address->ai_addr,
	                        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
	                        (unsigned)CONNECTION_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(16 * KIB),
	                        MHD_OPTION_END);
}

static int status_destroy(struct http_status *s)
{
	if (s->daemon)
		MHD_stop_daemon(s->daemon);
	pthread_cond_destroy(&s->answered);
	pthread_mutex_destroy(&s->lock);
	return 0;
}

enum err_code http_status_start(TALLOC_CTX *ctx, const struct http_status_options *options, struct http_status **out,
                                struct err *e)
{
	struct addrinfo *addresses;
	struct http_status *s;

	TRY(resolve(options->listen, &addresses, e));
	s = talloc_zero(ctx, struct http_status);
	ASSERT(s);
	s->options = *options;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->answered, NULL);
	talloc_set_destructor(s, status_destroy);
	s->daemon = serve(s, addresses);
	freeaddrinfo(addresses);
	if (!s->daemon) {
		enum err_code code = ERR_SYS(e, ERR_UNAVAILABLE, "cannot listen on http address %s", options->listen);

		talloc_free(s);
		return code;
	}
	*out = s;
	return ERR_OK;
}

uint16_t http_status_port(const struct http_status *s)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);

	return info ? info->port : 0;
}

void http_status_stop(struct http_status *s)
{
	talloc_free(s);
}
