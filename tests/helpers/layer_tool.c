/*
 * layer_tool: the layer parser and the documents by hand, for tests.
 *
 *     layer_tool parse BLOB FILES SUMMARY     one layer to its two documents; result or error as JSON on stdout
 *     layer_tool merge FILES...               bottom first: what the stack shows, as a files document on stdout
 *     layer_tool image FILES SUMMARY ...      bottom first: distribution and packages, as JSON on stdout
 *
 * It is its own child: called with --parse-layer it parses a layer as the worker does.
 */
#include "proto/document/image.h"
#include "proto/document/merge.h"
#include "services/analyzer-worker/parser/child.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void print_json(cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);

	puts(text);
	cJSON_free(text);
	cJSON_Delete(json);
}

static int print_error(const struct err *e)
{
	cJSON *json = cJSON_CreateObject();

	cJSON_AddStringToObject(json, "error", err_name(e->code));
	cJSON_AddStringToObject(json, "text", e->text);
	print_json(json);
	return 1;
}

struct feeding {
	struct layer_child *child;
	int fd;
};

static void *feed(void *arg)
{
	static char piece[256 * 1024];
	struct feeding *f = arg;
	ssize_t n;

	while ((n = read(f->fd, piece, sizeof(piece))) > 0)
		for (ssize_t at = 0, put; at < n; at += put)
			if ((put = write(f->child->blob_fd, piece + at, (size_t)(n - at))) < 0)
				goto out;
out:
	layer_child_eof(f->child);
	return NULL;
}

/* One reading of the blob; the first bytes of the documents' files are empty. */
static enum err_code read_once(const char *blob, const struct layer_child_setup *setup, struct layer_result *result,
                               struct err *e)
{
	struct layer_child child;
	struct feeding feeding = {.child = &child, .fd = open(blob, O_RDONLY | O_CLOEXEC)};
	enum err_code code;
	pthread_t feeder;

	if (feeding.fd < 0)
		return ERR_SYS(e, ERR_NOT_FOUND, "%s", blob);
	TRY(layer_child_start(setup, &child, e));
	pthread_create(&feeder, NULL, feed, &feeding);
	code = layer_child_finish(&child, NULL, NULL, result, e);
	pthread_join(feeder, NULL);
	layer_child_release(&child);
	close(feeding.fd);
	return code;
}

static int parse(const char *blob, const char *files, const char *summary)
{
	struct layer_child_setup setup = {.any_codec = true, .may_repeat = true};
	struct layer_result result, first;
	FILE *spill = tmpfile();
	cJSON *json;
	struct err e;

	setup.files_fd = open(files, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	setup.summary_fd = open(summary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (setup.files_fd < 0 || setup.summary_fd < 0 || !spill) {
		perror("layer_tool");
		return 2;
	}
	setup.spill_fd = fileno(spill);
	signal(SIGPIPE, SIG_IGN);
	if (read_once(blob, &setup, &result, &e) != ERR_OK)
		return print_error(&e);
	if (result.wants_len > 0) {
		first = result;
		setup.again = &first;
		if (ftruncate(setup.files_fd, 0) != 0 || ftruncate(setup.summary_fd, 0) != 0)
			return 2;
		if (read_once(blob, &setup, &result, &e) != ERR_OK)
			return print_error(&e);
	}
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "diff_id", digest_text(&result.diff_id).text);
	cJSON_AddNumberToObject(json, "blob_bytes", (double)result.blob_bytes);
	cJSON_AddNumberToObject(json, "tar_bytes", (double)result.tar_bytes);
	cJSON_AddNumberToObject(json, "entries", (double)result.entries);
	cJSON_AddNumberToObject(json, "packages", (double)result.packages);
	cJSON_AddNumberToObject(json, "lower_links", (double)result.lower_links);
	cJSON_AddNumberToObject(json, "peak_rss_bytes", (double)result.peak_rss_bytes);
	cJSON_AddNumberToObject(json, "cpu_us", (double)result.cpu_us);
	print_json(json);
	return 0;
}

static enum err_code write_stdout(void *arg, const void *bytes, size_t len, struct err *e)
{
	(void)arg;
	return fwrite(bytes, 1, len, stdout) == len ? ERR_OK : ERR_SYS(e, ERR_INTERNAL, "stdout");
}

static enum err_code print_entry(void *arg, size_t layer, const struct files_entry *entry, struct err *e)
{
	(void)layer;
	return files_writer_add(arg, entry, e);
}

static int open_or_die(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0) {
		perror(path);
		exit(2);
	}
	return fd;
}

static int merge(int count, char **paths)
{
	SCRATCH_CTX(ctx);
	struct merge_layer *layers = talloc_zero_array(ctx, struct merge_layer, (unsigned)count + 1);
	struct files_file *files = talloc_zero_array(ctx, struct files_file, (unsigned)count + 1);
	struct files_writer *writer = files_writer_new(ctx, write_stdout, NULL);
	struct err e;

	for (int i = 0; i < count; i++) {
		files[i].fd = open_or_die(paths[i]);
		layers[i].source = files_file_source(&files[i]);
	}
	if (merge_run(layers, (size_t)count, print_entry, writer, &e) != ERR_OK ||
	    files_writer_end(writer, &e) != ERR_OK)
		return print_error(&e);
	return 0;
}

static struct summary *read_summary(TALLOC_CTX *ctx, const char *path)
{
	int fd = open_or_die(path);
	struct summary *summary;
	struct stat about;
	struct err e;
	char *bytes;

	if (fstat(fd, &about) != 0)
		exit(2);
	bytes = talloc_size(ctx, (size_t)about.st_size + 1);
	if (read(fd, bytes, (size_t)about.st_size) != about.st_size)
		exit(2);
	close(fd);
	if (summary_decode(ctx, bytes, (size_t)about.st_size, &summary, &e) != ERR_OK)
		exit(print_error(&e));
	return summary;
}

static void add_text(cJSON *to, const char *name, const char *text)
{
	if (text)
		cJSON_AddStringToObject(to, name, text);
}

/* Paths may hold bytes that JSON may not. */
static void add_path(cJSON *array, const char *path)
{
	CLEANUP(buf_release) struct buf escaped;

	buf_init(&escaped, 4 * FILES_PATH_MAX);
	files_escape(&escaped, path, strlen(path));
	cJSON_AddItemToArray(array, cJSON_CreateString(escaped.bytes));
}

static cJSON *package_json(const struct image_package *package)
{
	cJSON *json = cJSON_CreateObject(), *evidence = cJSON_AddArrayToObject(json, "evidence");

	add_text(json, "type", package->type);
	add_text(json, "purl", package->purl);
	add_text(json, "name", package->about.name);
	add_text(json, "version", package->about.version);
	add_text(json, "arch", package->about.arch);
	add_text(json, "source", package->about.source);
	add_text(json, "source_version", package->about.source_version);
	add_text(json, "license", package->about.license);
	add_text(json, "origin", package->about.origin);
	for (size_t i = 0; i < package->evidence_count; i++)
		add_path(evidence, package->evidence[i]);
	return json;
}

static void print_image(const struct image_result *result)
{
	cJSON *json = cJSON_CreateObject(), *distribution = cJSON_AddObjectToObject(json, "distribution");
	cJSON *packages = cJSON_AddArrayToObject(json, "packages"),
	      *unparsed = cJSON_AddArrayToObject(json, "unparsed");

	add_text(distribution, "id", result->distribution.id);
	add_text(distribution, "version_id", result->distribution.version_id);
	add_text(distribution, "pretty_name", result->distribution.pretty_name);
	add_text(distribution, "evidence", result->distribution.evidence);
	for (size_t i = 0; i < result->package_count; i++)
		cJSON_AddItemToArray(packages, package_json(&result->packages[i]));
	for (size_t i = 0; i < result->unparsed_count; i++)
		add_path(unparsed, result->unparsed[i].about->evidence);
	cJSON_AddNumberToObject(json, "claimed", (double)result->claimed);
	print_json(json);
}

static int image(int count, char **paths)
{
	SCRATCH_CTX(ctx);
	struct image_layer *layers = talloc_zero_array(ctx, struct image_layer, (unsigned)count + 1);
	struct files_file *files = talloc_zero_array(ctx, struct files_file, (unsigned)count + 1);
	struct image_result *result;
	struct err e;

	for (int i = 0; i < count; i++) {
		files[i].fd = open_or_die(paths[2 * i]);
		layers[i].files = files_file_source(&files[i]);
		layers[i].summary = read_summary(ctx, paths[2 * i + 1]);
	}
	if (image_assemble(ctx, layers, (size_t)count, &result, &e) != ERR_OK)
		return print_error(&e);
	print_image(result);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--parse-layer") == 0)
		return layer_child_main(argv[2]);
	if (argc == 5 && strcmp(argv[1], "parse") == 0)
		return parse(argv[2], argv[3], argv[4]);
	if (argc >= 2 && strcmp(argv[1], "merge") == 0)
		return merge(argc - 2, argv + 2);
	if (argc >= 2 && argc % 2 == 0 && strcmp(argv[1], "image") == 0)
		return image((argc - 2) / 2, argv + 2);
	fputs("usage: layer_tool parse BLOB FILES SUMMARY | merge FILES... | image FILES SUMMARY ...\n", stderr);
	return 2;
}
