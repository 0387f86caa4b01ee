#include "services/cli/content.h"
#include "services/cli/file.h"
#include "services/cli/file_json.h"
#include "services/cli/listing.h"
#include "services/cli/table.h"
#include "services/cli/tree.h"

#include <string.h>

#define SETUID_SETGID 06000
#define GONE_EVERY 1000 /* entries between two looks at whether anybody reads */

struct files_out {
	struct cli *cli;
	const struct image_detail *image;
	struct json_writer *json; /* NULL: text */
	bool only_suid;
	uint64_t seen;
};

static void print_json(struct files_out *o, size_t layer, const struct files_entry *f)
{
	struct json_writer *w = o->json;

	json_open_object(w, NULL);
	file_json_path(w, f);
	file_json_state(w, f);
	json_add_number(w, "layer", (int64_t)layer);
	json_close(w);
}

static void print_text(const struct files_entry *f)
{
	SCRATCH_CTX(scratch);

	printf("%c %04o %5llu:%-5llu %12llu %s%s%s\n", f->type == FILES_REGULAR ? '-' : (char)f->type, f->mode,
	       (unsigned long long)f->uid, (unsigned long long)f->gid, (unsigned long long)f->size,
	       text_clean(scratch, f->path), f->link ? " -> " : "", f->link ? text_clean(scratch, f->link) : "");
}

static enum err_code emit(void *arg, size_t layer, const struct files_entry *f, struct err *e)
{
	struct files_out *o = arg;

	if (++o->seen % GONE_EVERY == 0 && file_reader_is_gone(stdout))
		return ERR(e, ERR_CANCELLED, "nobody reads the answer");
	if (o->only_suid && !(f->type == FILES_REGULAR && (f->mode & SETUID_SETGID)))
		return ERR_OK;
	if (o->json)
		print_json(o, layer, f);
	else
		print_text(f);
	return ERR_OK;
}

enum err_code content_files(struct cli *cli, const struct image_detail *image, bool only_suid, struct err *e)
{
	struct files_out o = {.cli = cli, .image = image, .only_suid = only_suid};

	TRY(tree_check(image, e));
	if (!cli->json)
		return tree_walk(cli, image, emit, &o, e);
	o.json = json_writer_new(cli->ctx, stdout);
	json_open_object(o.json, NULL);
	json_add_text(o.json, "digest", digest_text(&image->digest).text);
	json_open_array(o.json, "items");
	TRY(tree_walk(cli, image, emit, &o, e));
	listing_close_json(o.json);
	return ERR_OK;
}
