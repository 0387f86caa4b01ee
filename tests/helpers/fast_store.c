/*
 * fast_store: an object store that costs next to nothing, so that what its clients cost can be measured.
 *
 *     fast_store DIRECTORY         -- prints "port N" when it listens at 127.0.0.1, runs until it is killed
 *
 * It speaks as much of S3 (path style) and of Swift (auth v1, bulk delete) as the gateway's drivers, curl and
 * `aws s3 cp` of small objects need, and checks nothing but the condition of a put: every bucket is there, every
 * signature, key and token is right. Bytes go to one file in DIRECTORY, which has no name and never shrinks; nothing is
 * flushed. Real servers are what correctness is shown with.
 */
#include "common/buf.h"

#include <fcntl.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#define THREADS 2
#define BODY_MAX (64 * MIB)
#define ACCOUNT "/v1/AUTH_fast"
#define MADE "Sun, 06 Nov 1994 08:49:37 GMT"

struct object {
	char *name; /* path of the URL, without the account */
	uint64_t offset;
	size_t len;
	char md5[33];
	UT_hash_handle hh;
};

struct fast_store {
	int fd;
	pthread_mutex_t lock; /* for what follows */
	struct object *objects;
	uint64_t end; /* of the file */
};

/* A request whose body is still coming. */
struct upload {
	struct buf body;
};

/* ---- objects ---- */

/* The copy is the caller's to look at, without the lock; its name is not. */
static bool find(struct fast_store *s, const char *name, struct object *copy)
{
	struct object *found;

	pthread_mutex_lock(&s->lock);
	HASH_FIND_STR(s->objects, name, found);
	if (found)
		*copy = *found;
	pthread_mutex_unlock(&s->lock);
	return found;
}

static void md5_of(const struct buf *body, char text[33])
{
	uint8_t md5[16];
	size_t len = 0;

	ASSERT(EVP_Q_digest(NULL, "MD5", NULL, body->bytes ? body->bytes : "", body->len, md5, &len) == 1);
	for (size_t i = 0; i < sizeof(md5); i++)
		snprintf(text + 2 * i, 3, "%02x", md5[i]);
}

static void keep(struct fast_store *s, const char *name, const struct buf *body, struct object *copy)
{
	struct object *o;
	char md5[33];

	md5_of(body, md5);
	pthread_mutex_lock(&s->lock);
	HASH_FIND_STR(s->objects, name, o);
	if (!o) {
		o = calloc(1, sizeof(*o));
		ASSERT(o && (o->name = strdup(name)));
		HASH_ADD_KEYPTR(hh, s->objects, o->name, strlen(o->name), o);
	}
	o->offset = s->end;
	o->len = body->len;
	memcpy(o->md5, md5, sizeof(md5));
	s->end += body->len;
	*copy = *o;
	pthread_mutex_unlock(&s->lock);
	ASSERT(pwrite(s->fd, body->bytes, body->len, (off_t)copy->offset) == (ssize_t)body->len);
}

static bool drop(struct fast_store *s, const char *name)
{
	struct object *o;

	pthread_mutex_lock(&s->lock);
	HASH_FIND_STR(s->objects, name, o);
	if (o)
		HASH_DEL(s->objects, o);
	pthread_mutex_unlock(&s->lock);
	if (o) {
		free(o->name);
		free(o);
	}
	return o;
}

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response,
                              const char *const *headers)
{
	enum MHD_Result sent;

	ASSERT(response);
	for (; headers && headers[0]; headers += 2)
		MHD_add_response_header(response, headers[0], headers[1]);
	sent = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return sent;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status, const char *type,
                                   const char *text)
{
	const char *const headers[] = {"Content-Type", type, NULL};

	return answer(connection, status,
	              MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY),
	              headers);
}

static struct MHD_Response *no_body(void)
{
	return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result answer_empty(struct MHD_Connection *connection, unsigned status)
{
	return answer(connection, status, no_body(), NULL);
}

static enum MHD_Result answer_absent(struct MHD_Connection *connection)
{
	return answer_text(connection, 404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>");
}

static enum MHD_Result send_object(struct fast_store *s, struct MHD_Connection *connection, const char *name)
{
	const char *range = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Range");
	char etag[40];
	const char *const headers[] = {"ETag", etag, "Last-Modified", MADE, NULL};
	struct object o;
	size_t first = 0, last;

	if (!find(s, name, &o))
		return answer_absent(connection);
	snprintf(etag, sizeof(etag), "\"%s\"", o.md5);
	last = o.len - 1;
	if (range && (sscanf(range, "bytes=%zu-%zu", &first, &last) != 2 || first > last || last >= o.len))
		return answer_empty(connection, 416);
	return answer(connection, range ? 206 : 200,
	              MHD_create_response_from_fd_at_offset64(last - first + 1, dup(s->fd), o.offset + first), headers);
}

static enum MHD_Result take_object(struct fast_store *s, struct MHD_Connection *connection, const char *name,
                                   const struct buf *body)
{
	char etag[40];
	const char *const headers[] = {"ETag", etag, NULL};
	struct object o;

	if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match") && find(s, name, &o))
		return answer_text(connection, 412, "application/xml",
		                   "<Error><Code>PreconditionFailed</Code></Error>");
	keep(s, name, body, &o);
	snprintf(etag, sizeof(etag), "\"%s\"", o.md5);
	return answer(connection, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Auth-Token") ? 201 : 200,
	              no_body(), headers);
}

/* ---- many at once ---- */

static enum MHD_Result list(struct fast_store *s, struct MHD_Connection *connection, const char *bucket)
{
	const char *prefix = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "prefix");
	CLEANUP(buf_release) struct buf text;
	struct object *o, *next;
	char start[512];

	snprintf(start, sizeof(start), "%s/%s", bucket, prefix ? prefix : "");
	buf_init(&text, BODY_MAX);
	buf_add_text(&text, "<ListBucketResult><IsTruncated>false</IsTruncated>");
	pthread_mutex_lock(&s->lock);
	HASH_ITER (hh, s->objects, o, next)
		if (strncmp(o->name, start, strlen(start)) == 0)
			buf_add_format(&text,
			               "<Contents><Key>%s</Key><Size>%zu</Size><ETag>%s</ETag>"
			               "<LastModified>1994-11-06T08:49:37.000Z</LastModified></Contents>",
			               o->name + strlen(bucket) + 1, o->len, o->md5);
	pthread_mutex_unlock(&s->lock);
	buf_add_text(&text, "</ListBucketResult>");
	buf_add_char(&text, '\0');
	ASSERT(!buf_failed(&text));
	return answer_text(connection, 200, "application/xml", text.bytes);
}

static enum MHD_Result drop_many_s3(struct fast_store *s, struct MHD_Connection *connection, const char *bucket,
                                    char *body)
{
	for (char *at = body; (at = strstr(at, "<Key>"));) {
		char *end = strstr(at += strlen("<Key>"), "</Key>"), name[1024];

		ASSERT(end && snprintf(name, sizeof(name), "%s/%.*s", bucket, (int)(end - at), at) < (int)sizeof(name));
		drop(s, name);
	}
	return answer_text(connection, 200, "application/xml", "<DeleteResult></DeleteResult>");
}

static enum MHD_Result drop_many_swift(struct fast_store *s, struct MHD_Connection *connection, char *body)
{
	unsigned removed = 0, absent = 0;
	char text[200], *name;

	ASSERT(!strchr(body, '%')); /* nobody here has such names */
	while ((name = strsep(&body, "\n")))
		if (*name)
			*(drop(s, name) ? &removed : &absent) += 1;
	snprintf(text, sizeof(text),
	         "{\"Number Deleted\": %u, \"Number Not Found\": %u, \"Errors\": [], \"Response Status\": \"200 OK\"}",
	         removed, absent);
	return answer_text(connection, 200, "application/json", text);
}

/* ---- requests ---- */

static enum MHD_Result let_in(struct MHD_Connection *connection)
{
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
	char url[300];
	const char *const headers[] = {"X-Auth-Token", "fast", "X-Storage-Url", url, NULL};

	snprintf(url, sizeof(url), "http://%s" ACCOUNT, host ? host : "");
	return answer(connection, 200, no_body(), headers);
}

/* A path with one slash is a bucket's or container's: "/c", or nothing at all, an account's. */
static enum MHD_Result answer_place(struct fast_store *s, struct MHD_Connection *connection, const char *name,
                                    const char *method, struct buf *body)
{
	buf_add_char(body, '\0');
	ASSERT(!buf_failed(body));
	if (strcmp(name, "/auth/v1.0") == 0)
		return let_in(connection);
	if (strcmp(name, "/info") == 0)
		return answer_text(
		    connection, 200, "application/json",
		    "{\"bulk_delete\": {\"max_deletes_per_request\": 10000, \"max_failed_deletes\": 1000}}");
	if (strcmp(method, "POST") == 0 && !*name)
		return drop_many_swift(s, connection, body->bytes);
	if (strcmp(method, "POST") == 0)
		return drop_many_s3(s, connection, name, body->bytes);
	if (strcmp(method, "GET") == 0)
		return list(s, connection, name);
	return answer_empty(connection, strcmp(method, "PUT") == 0 ? 201 : 204);
}

static enum MHD_Result respond(struct fast_store *s, struct MHD_Connection *connection, const char *url,
                               const char *method, struct buf *body)
{
	const char *name = strncmp(url, ACCOUNT, strlen(ACCOUNT)) == 0 ? url + strlen(ACCOUNT) : url;

	if (!*name || strchr(name + 1, '/') == NULL || strcmp(name, "/auth/v1.0") == 0)
		return answer_place(s, connection, name, method, body);
	if (strcmp(method, "PUT") == 0)
		return take_object(s, connection, name, body);
	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		return send_object(s, connection, name);
	if (strcmp(method, "DELETE") == 0) {
		drop(s, name);
		return answer_empty(connection, 204);
	}
	return answer_empty(connection, 405);
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version UNUSED, const char *bytes, size_t *len, void **state)
{
	struct upload *u = *state;

	if (!u) {
		*state = u = calloc(1, sizeof(*u));
		ASSERT(u);
		buf_init(&u->body, BODY_MAX);
		return MHD_YES;
	}
	if (*len) {
		buf_add(&u->body, bytes, *len);
		*len = 0;
		return buf_failed(&u->body) ? MHD_NO : MHD_YES;
	}
	return respond(arg, connection, url, method, &u->body);
}

static void forget(void *arg UNUSED, struct MHD_Connection *connection UNUSED, void **state,
                   enum MHD_RequestTerminationCode why UNUSED)
{
	struct upload *u = *state;

	if (!u)
		return;
	buf_release(&u->body);
	free(u);
	*state = NULL;
}

static struct MHD_Daemon *listen_at(struct fast_store *s)
{
	const struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, 0, NULL, NULL, handle, s,
	                        MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_THREAD_POOL_SIZE, THREADS,
	                        MHD_OPTION_NOTIFY_COMPLETED, forget, NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
	                        (size_t)(256 * KIB), MHD_OPTION_END);
}

int main(int argc, char **argv)
{
	struct fast_store s = {.fd = -1};
	struct MHD_Daemon *daemon;

	if (argc != 2) {
		fprintf(stderr, "usage: fast_store DIRECTORY\n");
		return 2;
	}
	s.fd = open(argv[1], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	ASSERT(pthread_mutex_init(&s.lock, NULL) == 0);
	daemon = s.fd < 0 ? NULL : listen_at(&s);
	if (!daemon) {
		perror("fast_store");
		return 1;
	}
	printf("port %u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	for (;;)
		pause();
}
