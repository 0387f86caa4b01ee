#include "services/cli/file_json.h"

#include "proto/record.h"

static void add_name(struct json_writer *w, const char *name, const char *escaped_name, const char *bytes, size_t len)
{
	CLEANUP(buf_release) struct buf escaped = {0};

	json_add_bytes(w, name, bytes, len);
	if (proto_is_utf8(bytes, len))
		return;
	buf_init(&escaped, 4 * FILES_PATH_MAX + 1);
	files_escape(&escaped, bytes, len);
	json_add_bytes(w, escaped_name, escaped.bytes, escaped.len);
}

void file_json_path(struct json_writer *w, const struct files_entry *f)
{
	add_name(w, "path", "path_escaped", f->path, f->path_len);
}

void file_json_state(struct json_writer *w, const struct files_entry *f)
{
	char text[64];

	snprintf(text, sizeof(text), "%c", (char)f->type);
	json_add_text(w, "type", text);
	snprintf(text, sizeof(text), "%04o", f->mode);
	json_add_text(w, "mode", text);
	json_add_number(w, "uid", (int64_t)f->uid);
	json_add_number(w, "gid", (int64_t)f->gid);
	if (f->type == FILES_REGULAR) {
		json_add_number(w, "size", (int64_t)f->size);
		json_add_text(w, "sha256", digest_hex(&f->sha256).text);
	}
	if (f->link)
		add_name(w, "link", "link_escaped", f->link, f->link_len);
	if (f->type == FILES_CHAR || f->type == FILES_BLOCK) {
		snprintf(text, sizeof(text), "%u,%u", f->dev_major, f->dev_minor);
		json_add_text(w, "device", text);
	}
}
