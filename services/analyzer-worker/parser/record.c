#include "services/analyzer-worker/parser/record.h"

#include <string.h>

enum { HAS_DIGEST = 1, HAS_DEVICE = 2, HAS_NOTE = 4, HAS_LINK_ID = 8, IS_IMPLIED = 16 };

struct head {
	uint32_t len, seq;
	uint16_t path_len, link_len, mode;
	uint8_t type, flags;
	uint32_t uid, gid;
	uint64_t size;
};

struct note {
	uint64_t at;
	uint32_t len;
} __attribute__((packed));

static uint8_t *put(uint8_t *to, const void *bytes, size_t len)
{
	memcpy(to, bytes, len);
	return to + len;
}

static const uint8_t *take(const uint8_t *from, void *into, size_t len)
{
	memcpy(into, from, len);
	return from + len;
}

static uint8_t flags_of(const struct record *r)
{
	const struct files_entry *entry = &r->entry;
	uint8_t flags = entry->implied ? IS_IMPLIED : 0;

	if (entry->type == FILES_REGULAR)
		flags |= HAS_DIGEST;
	if (entry->type == FILES_CHAR || entry->type == FILES_BLOCK)
		flags |= HAS_DEVICE;
	if (entry->type == FILES_HARDLINK || entry->type == RECORD_REQUEST)
		flags |= HAS_LINK_ID;
	if (r->note_len > 0)
		flags |= HAS_NOTE;
	return flags;
}

size_t record_pack(const struct record *r, void *packed)
{
	const struct files_entry *entry = &r->entry;
	struct head head = {
	    .seq = r->seq,
	    .path_len = (uint16_t)entry->path_len,
	    .link_len = (uint16_t)entry->link_len,
	    .mode = (uint16_t)entry->mode,
	    .type = (uint8_t)entry->type,
	    .flags = flags_of(r),
	    .uid = (uint32_t)entry->uid,
	    .gid = (uint32_t)entry->gid,
	    .size = entry->size,
	};
	uint8_t *to = packed;

	ASSERT(entry->path_len <= FILES_PATH_MAX && entry->link_len <= FILES_PATH_MAX);
	to = put(to + sizeof(head), entry->path, entry->path_len);
	if (entry->link_len > 0)
		to = put(to, entry->link, entry->link_len);
	if (head.flags & HAS_DIGEST)
		to = put(to, entry->sha256.bytes, DIGEST_BYTES);
	if (head.flags & HAS_DEVICE)
		to = put(put(to, &entry->dev_major, sizeof(uint32_t)), &entry->dev_minor, sizeof(uint32_t));
	if (head.flags & HAS_LINK_ID)
		to = put(to, &r->link_id, sizeof(r->link_id));
	if (head.flags & HAS_NOTE)
		to = put(to, &(struct note){.at = r->note, .len = r->note_len}, sizeof(struct note));
	head.len = (uint32_t)((size_t)(to - (uint8_t *)packed) + 7) & ~7u;
	memset(to, 0, (size_t)((uint8_t *)packed + head.len - to));
	memcpy(packed, &head, sizeof(head));
	return head.len;
}

size_t record_packed_len(const void *packed)
{
	uint32_t len;

	memcpy(&len, packed, sizeof(len));
	return len;
}

size_t record_unpack(const void *packed, struct record *r)
{
	const uint8_t *from = (const uint8_t *)packed + sizeof(struct head);
	struct head head;
	struct note note;

	memcpy(&head, packed, sizeof(head));
	*r = (struct record){.seq = head.seq};
	r->entry = (struct files_entry){
	    .path = (const char *)from,
	    .path_len = head.path_len,
	    .link = head.link_len > 0 ? (const char *)from + head.path_len : NULL,
	    .link_len = head.link_len,
	    .type = (enum files_type)head.type,
	    .implied = head.flags & IS_IMPLIED,
	    .mode = head.mode,
	    .uid = head.uid,
	    .gid = head.gid,
	    .size = head.size,
	};
	from += head.path_len + head.link_len;
	if (head.flags & HAS_DIGEST)
		from = take(from, r->entry.sha256.bytes, DIGEST_BYTES);
	if (head.flags & HAS_DEVICE)
		from = take(take(from, &r->entry.dev_major, sizeof(uint32_t)), &r->entry.dev_minor, sizeof(uint32_t));
	if (head.flags & HAS_LINK_ID)
		from = take(from, &r->link_id, sizeof(r->link_id));
	if (head.flags & HAS_NOTE) {
		take(from, &note, sizeof(note));
		r->note = note.at;
		r->note_len = note.len;
	}
	return head.len;
}

int record_packed_compare(const void *a, const void *b)
{
	struct head x, y;
	int order;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	order = files_path_compare((const char *)a + sizeof(x), x.path_len, (const char *)b + sizeof(y), y.path_len);
	return order ? order : (x.seq > y.seq) - (x.seq < y.seq);
}

int record_compare(const struct record *a, const struct record *b)
{
	int order = files_path_compare(a->entry.path, a->entry.path_len, b->entry.path, b->entry.path_len);

	return order ? order : (a->seq > b->seq) - (a->seq < b->seq);
}
