#include "proto/store_flight.h"
#include "proto/store_io.h"

#include <string.h>

/* One range of the object, on its way or here. From push to pop it is its thread's. */
struct range {
	struct store_task task;
	const struct store_reader *reader; /* of which only gateway, from and window are looked at */
	uint64_t at;
	struct object_get_reply reply;
	TALLOC_CTX *ctx; /* holds the bytes */
	const uint8_t *bytes;
	size_t len;
};

struct store_reader {
	struct rpc_client *gateway;
	struct store_object from;
	size_t window;
	bool read_ahead;
	struct range ranges[STORE_READ_AHEAD + 1]; /* taken in turn: one is read while the others are on their way */
	struct range *current;                     /* NULL: none yet */
	size_t current_at;
	size_t turn;
	struct store_flight *flight; /* NULL as long as one range was enough */
	uint64_t arrived, asked;     /* bytes from the first on: of which ranges came, and were asked for */
	bool opened, checked;
	uint64_t size;
	struct digest sha256;
	struct hasher *hasher;
};

static void drop_range(struct range *range)
{
	TALLOC_FREE(range->ctx);
	range->bytes = NULL;
	range->len = 0;
}

static void drop_ranges(struct store_reader *r)
{
	if (r->flight)
		store_flight_cancel(r->flight);
	for (size_t i = 0; i < ARRAY_SIZE(r->ranges); i++)
		drop_range(&r->ranges[i]);
	r->current = NULL;
	r->current_at = 0;
}

static int reader_destroy(struct store_reader *r)
{
	TALLOC_FREE(r->flight);
	drop_ranges(r);
	return 0;
}

struct store_reader *store_reader_new(TALLOC_CTX *ctx, struct rpc_client *gateway, const struct store_object *from,
                                      size_t window)
{
	struct store_reader *r = talloc_zero(ctx, struct store_reader);

	ASSERT(r);
	r->gateway = gateway;
	r->from = (struct store_object){
	    .account = talloc_strdup(r, from->account),
	    .store = talloc_strdup(r, from->store),
	    .bucket = talloc_strdup(r, from->bucket),
	    .key = talloc_strdup(r, from->key),
	};
	ASSERT(r->from.account && r->from.store && r->from.bucket && r->from.key);
	r->window = window && window < STORE_CHUNK_BYTES ? window : STORE_CHUNK_BYTES;
	r->read_ahead = window == 0;
	r->hasher = hasher_new(r);
	talloc_set_destructor(r, reader_destroy);
	return r;
}

void store_reader_free(struct store_reader *r)
{
	talloc_free(r);
}

uint64_t store_reader_size(const struct store_reader *r)
{
	return r->size;
}

void store_reader_rewind(struct store_reader *r)
{
	drop_ranges(r);
	r->arrived = r->asked = 0;
	r->checked = false;
	hasher_reset(r->hasher);
}

/* ---- asking ---- */

/* On a thread of the flight, or on the caller's. */
static enum err_code fetch(struct store_task *task, struct err *e)
{
	struct range *range = (struct range *)task;
	const struct store_object *from = &range->reader->from;
	struct proto_call call = {.account = from->account};
	struct object_get_request request = {.store = from->store,
	                                     .bucket = from->bucket,
	                                     .key = from->key,
	                                     .offset = (int64_t)range->at,
	                                     .length = (int64_t)range->reader->window};

	range->ctx = talloc_new(NULL);
	ASSERT(range->ctx);
	TRY(call_object_get(range->reader->gateway, &call, range->ctx, &request, &range->reply, e));
	range->bytes = call.reply_payload;
	range->len = call.reply_payload_len;
	return ERR_OK;
}

static struct range *next_range(struct store_reader *r)
{
	struct range *range = &r->ranges[r->turn++ % ARRAY_SIZE(r->ranges)];

	drop_range(range);
	range->task.run = fetch;
	range->reader = r;
	range->at = r->asked;
	r->asked += r->window;
	return range;
}

/* Asks for as much as may be on its way, once it is known that there is more. */
static void look_ahead(struct store_reader *r)
{
	if (!r->read_ahead || !r->opened || r->asked >= r->size)
		return;
	if (!r->flight)
		r->flight = store_flight_new(r, STORE_READ_AHEAD);
	while (store_flight_count(r->flight) < STORE_READ_AHEAD && r->asked < r->size)
		store_flight_push(r->flight, &next_range(r)->task);
}

/* The range that comes next, whether somebody is at it or not. */
static struct range *await_range(struct store_reader *r)
{
	struct range *range;

	look_ahead(r);
	if (r->flight && store_flight_count(r->flight))
		return (struct range *)store_flight_pop(r->flight);
	range = next_range(r);
	range->task.code = fetch(&range->task, &range->task.error);
	return range;
}

/* ---- checking ---- */

/* What a reply says of the whole must be the same each time, and its piece what was asked for. */
static enum err_code check_range(struct store_reader *r, const struct range *range, struct err *e)
{
	const struct object_get_reply *reply = &range->reply;

	if (r->opened && ((uint64_t)reply->size != r->size || !digest_equal(&reply->sha256, &r->sha256)))
		return ERR(e, ERR_CONFLICT, "replaced while it was read");
	r->opened = true;
	r->size = (uint64_t)reply->size;
	r->sha256 = reply->sha256;
	if (range->at > r->size || range->len != MIN(r->window, r->size - range->at))
		return ERR(e, ERR_CORRUPT, "%zu bytes at byte %llu of %llu", range->len, (unsigned long long)range->at,
		           (unsigned long long)r->size);
	return ERR_OK;
}

static enum err_code take_range(struct store_reader *r, struct err *e)
{
	bool first = !r->opened; /* nothing is asked for that the caller, who learns the size now, may not want */
	struct range *range;

	if (r->current) /* its memory is for the next one */
		drop_range(r->current);
	r->current = NULL;
	r->current_at = 0;
	range = await_range(r);
	if (range->task.code != ERR_OK) {
		if (e)
			*e = range->task.error;
		return range->task.code;
	}
	TRY(check_range(r, range, e));
	r->current = range;
	r->arrived += range->len;
	if (!first)
		look_ahead(r);
	if (range->len)
		hasher_add(r->hasher, range->bytes, range->len);
	return ERR_OK;
}

static enum err_code check_whole(struct store_reader *r, struct err *e)
{
	struct digest got;

	if (r->checked)
		return ERR_OK;
	got = hasher_finish(r->hasher);
	if (!digest_equal(&got, &r->sha256))
		return ERR(e, ERR_CORRUPT, "content has %s, not %s", digest_text(&got).text,
		           digest_text(&r->sha256).text);
	r->checked = true;
	return ERR_OK;
}

static size_t bytes_at_hand(const struct store_reader *r)
{
	return r->current ? r->current->len - r->current_at : 0;
}

static enum err_code go_on(struct store_reader *r, struct err *e)
{
	enum err_code code = ERR_OK;

	if (!r->opened || r->arrived < r->size)
		code = take_range(r, e);
	if (code == ERR_OK && !bytes_at_hand(r))
		code = check_whole(r, e);
	if (code != ERR_OK) {
		drop_ranges(r);
		r->asked = r->arrived;
		if (e)
			err_wrap(e, "object %s/%s", r->from.bucket, r->from.key);
	}
	return code;
}

enum err_code store_reader_open(struct store_reader *r, struct err *e)
{
	return r->opened ? ERR_OK : go_on(r, e);
}

enum err_code store_reader_read(struct store_reader *r, void *into, size_t size, size_t *got, struct err *e)
{
	*got = 0;
	if (!bytes_at_hand(r))
		TRY(go_on(r, e));
	*got = MIN(size, bytes_at_hand(r));
	if (*got)
		memcpy(into, r->current->bytes + r->current_at, *got);
	r->current_at += *got;
	return ERR_OK;
}
