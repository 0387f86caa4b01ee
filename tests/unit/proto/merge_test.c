#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/document/merge.h"

#include <stdio.h>
#include <string.h>

#define LAYERS 5

/* Layers as the lines of their documents, bottom first, and what the merge shows: layer number, then the line. */
struct merge_case {
	const char *name;
	const char *layers[LAYERS];
	const char *shown;
};

static const struct merge_case cases[] = {
    {"no layers", {NULL}, ""},
    {"one layer is itself", {"a d 755\na/b f 644\nc l link=a\n"}, "0 a d\n0 a/b f\n0 c l link=a\n"},
    {"two layers interleave",
     {"a d 755\na/b f 644\n", "a d 700\na/c f 644\nb f 644\n"},
     "1 a d\n0 a/b f\n1 a/c f\n1 b f\n"},
    {"a whiteout hides a file", {"a d 755\na/b f 644\n", "a d 755\na/b w\n"}, "1 a d\n"},
    {"a whiteout hides a tree",
     {"a d 755\na/b d 755\na/b/c f 644\na/b-c f 644\n", "a d 755\na/b w\n"},
     "1 a d\n0 a/b-c f\n"},
    {"a whiteout spares its own layer", {"a f 644\n", "a w\na f 600\n"}, "1 a f\n"},
    {"a whiteout spares its own layer's tree",
     {"a d 755\na/b f 644\n", "a w\na d 755\na/c f 644\n"},
     "1 a d\n1 a/c f\n"},
    {"a whiteout hides a directory's attributes",
     {"a d 700\n", "a w\na d 755 implied\na/c f 644\n"},
     "1 a d implied\n1 a/c f\n"},
    {"a whiteout of nothing does nothing", {"b f 644\n", "a w\na/x w\n"}, "0 b f\n"},
    {"what comes after a whiteout stays", {"a f 644\n", "a w\n", "a f 600\n"}, "2 a f\n"},
    {"a whiteout hides all layers under it", {"a f 644\n", "a f 644\n", "a w\n"}, ""},
    {"an opaque directory hides what is below",
     {"a d 700\na/b f 644\n", "a d 755\na o\na/c f 644\n"},
     "1 a d\n1 a/c f\n"},
    {"an opaque line without an entry keeps the directory", {"a d 700\na/b f 644\n", "a o\n"}, "0 a d\n"},
    {"opaque at the root", {". d 755\na f 644\nb d 755\n", ". o\nc f 644\n"}, "0 . d\n1 c f\n"},
    {"the root keeps hidden names apart", {".a d 755\n.a/b f 644\n", ". o\n.b f 644\n"}, "1 .b f\n"},
    {"a file replaces a tree", {"a d 755\na/b f 644\na/c f 644\n", "a f 644\n"}, "1 a f\n"},
    {"a link replaces a tree", {"a d 755\na/b f 644\n", "a l link=z\n"}, "1 a l link=z\n"},
    {"a directory replaces a file", {"a f 644\n", "a d 755\na/b f 644\n"}, "1 a d\n1 a/b f\n"},
    {"an implied directory replaces a file", {"a f 644\n", "a d 755 implied\na/b f 644\n"}, "1 a d implied\n1 a/b f\n"},
    {"a directory over a file over a tree",
     {"a d 755\na/b f 644\n", "a f 644\n", "a d 755\na/c f 644\n"},
     "2 a d\n2 a/c f\n"},
    {"an implied directory over a file over a tree",
     {"a d 700\na/b f 644\n", "a f 644\n", "a d 755 implied\na/c f 644\n"},
     "2 a d implied\n2 a/c f\n"},
    {"an implied directory has the lower one's attributes",
     {"a d 700\n", "a d 755 implied\na/b f 644\n"},
     "0 a d\n1 a/b f\n"},
    {"two implied directories",
     {"a d 755 implied\na/x f 644\n", "a d 755 implied\na/b f 644\n"},
     "0 a d implied\n1 a/b f\n0 a/x f\n"},
    {"masks end with their directory",
     {"a d 755\na/b f 644\na-b f 644\nb f 644\n", "a f 644\n"},
     "1 a f\n0 a-b f\n0 b f\n"},
    {"masks nest",
     {"a d 755\na/b d 755\na/b/c f 644\na/d f 644\n", "a d 755\na/b d 755\na/b o\n",
      "a d 755\na/b d 755\na/b/e f 644\n"},
     "2 a d\n2 a/b d\n2 a/b/e f\n0 a/d f\n"},
    {"an inner mask does not lift an outer one",
     {"a d 755\na/b d 755\na/b/c f 644\n", "a d 755\na/b o\n", "a o\n"},
     "1 a d\n"},
    {"a hard link to a lower file", {"a f 4755 uid=3\n", "b h link=a\n"}, "0 a f\n1 b f\n"},
    {"a hard link outlives its target", {"a f 644\n", "a w\nb h link=a\n"}, "1 b f\n"},
    {"a hard link means the layers under it",
     {"a l link=x\n", "a f 644\n", "b h link=a\n", "a d 755\n"},
     "3 a d\n2 b f\n"},
    {"hard links in a chain over layers",
     {"a l link=q\n", "b h link=a\n", "a w\nc h link=b\n", "b w\nd h link=c\n"},
     "2 c l link=q\n3 d l link=q\n"},
    {"a hard link to nothing stays one", {"a f 644\n", "b h link=x\n"}, "0 a f\n1 b h link=x\n"},
    {"a hard link to a directory stays one", {"a d 755\n", "b h link=a\n"}, "0 a d\n1 b h link=a\n"},
    {"a hard link to what was whited out stays one", {"a f 644\n", "a w\n", "b h link=a\n"}, "2 b h link=a\n"},
    {"two links to one file", {"m f 644\n", "a h link=m\nz h link=m\n"}, "1 a f\n0 m f\n1 z f\n"},
};

static enum err_code print(void *arg, size_t layer, const struct files_entry *entry, struct err *e)
{
	(void)e;
	buf_add_format(arg, "%zu %s %c%s%s%s\n", layer, entry->path, (char)entry->type, entry->link ? " link=" : "",
	               entry->link ? entry->link : "", entry->implied ? " implied" : "");
	return ERR_OK;
}

/* The documents of a case, as sources. */
struct stack {
	struct buf text[LAYERS];
	struct files_memory memory[LAYERS];
	struct merge_layer layers[LAYERS];
	size_t count;
};

static void stack_init(struct stack *s, const char *const *lines)
{
	for (s->count = 0; s->count < LAYERS && lines[s->count]; s->count++) {
		struct buf *b = &s->text[s->count];
		size_t n = 0;

		for (const char *at = lines[s->count]; *at; at++)
			n += *at == '\n';
		buf_init(b, MIB);
		buf_add_format(b, "stowage files 1\n%send %zu\n", lines[s->count], n);
		s->memory[s->count] = (struct files_memory){.bytes = b->bytes, .len = b->len};
		s->layers[s->count].source = files_memory_source(&s->memory[s->count]);
		s->layers[s->count].no_links = !strstr(lines[s->count], " h ");
	}
}

static void stack_release(struct stack *s)
{
	for (size_t i = 0; i < s->count; i++)
		buf_release(&s->text[i]);
}

static void layers_merge_as_unpacking_would(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_release) struct buf shown;
		struct stack s;
		struct err e;

		buf_init(&shown, MIB);
		buf_add_text(&shown, "");
		stack_init(&s, cases[i].layers);
		if (merge_run(s.layers, s.count, print, &shown, &e) != ERR_OK)
			fail_msg("%s: %s", cases[i].name, e.text);
		if (strcmp(shown.bytes, cases[i].shown) != 0)
			fail_msg("%s: shows\n%sinstead of\n%s", cases[i].name, shown.bytes, cases[i].shown);
		stack_release(&s);
	}
}

/* All files and links of a case, as questions. */
static size_t ask_all(const struct merge_case *c, struct merge_question *questions, char (*paths)[64])
{
	size_t count = 0;

	for (size_t l = 0; l < LAYERS && c->layers[l]; l++) {
		char type;

		for (const char *at = c->layers[l]; sscanf(at, "%63s %c", paths[count], &type) == 2;
		     at = strchr(at, '\n') + 1) {
			if (type == 'f' || type == 'l') {
				questions[count] = (struct merge_question){.path = paths[count], .layer = l};
				count++;
			}
		}
	}
	return count;
}

/* The same table answers for merge_visible: each file of each layer is visible exactly if the merge shows it. */
static void a_path_is_visible_where_the_merge_shows_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct merge_question questions[64];
		char paths[64][64], line[128];
		size_t count = ask_all(&cases[i], questions, paths);
		struct stack s;
		struct err e;

		stack_init(&s, cases[i].layers);
		assert_int_equal(merge_visible(s.layers, s.count, 0, questions, count, &e), ERR_OK);
		for (size_t q = 0; q < count; q++) {
			bool shown;

			snprintf(line, sizeof(line), "%zu %s ", questions[q].layer, questions[q].path);
			shown = strstr(cases[i].shown, line) != NULL;
			if ((questions[q].hidden_by == MERGE_VISIBLE) != shown)
				fail_msg("%s: %s of layer %zu", cases[i].name, questions[q].path, questions[q].layer);
		}
		stack_release(&s);
	}
}

/* And the answers of a stack are those of the stacks that it is the upper part of; there, its documents are not read.
 */
static void what_was_asked_of_a_stack_need_not_be_asked_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct merge_question whole[64], upon[64];
		char paths[64][64];
		size_t count = ask_all(&cases[i], whole, paths);
		struct stack s;
		struct err e;

		stack_init(&s, cases[i].layers);
		assert_int_equal(merge_visible(s.layers, s.count, 0, whole, count, &e), ERR_OK);
		for (size_t known = 1; known <= s.count; known++) {
			memcpy(upon, whole, sizeof(upon));
			for (size_t q = 0; q < count; q++) /* as the stack of the lowest layers has it */
				if (upon[q].layer >= known || upon[q].hidden_by >= known)
					upon[q].hidden_by = upon[q].layer < known ? MERGE_VISIBLE : 0;
			s.memory[known - 1] = (struct files_memory){.bytes = "no document\n", .len = 12};
			if (merge_visible(s.layers, s.count, known, upon, count, &e) != ERR_OK)
				fail_msg("%s upon %zu layers: %s", cases[i].name, known, e.text);
			for (size_t q = 0; q < count; q++)
				if (upon[q].hidden_by != whole[q].hidden_by)
					fail_msg("%s upon %zu layers: %s of layer %zu", cases[i].name, known,
					         upon[q].path, upon[q].layer);
		}
		stack_release(&s);
	}
}

static void only_documents_above_the_question_are_read(void **state)
{
	static const char *const lines[LAYERS] = {"not a document", "b f 644\n", "a w\n"};
	struct merge_question questions[] = {{.path = "a", .layer = 0}, {.path = "b", .layer = 1}};
	struct stack s;
	struct err e;

	(void)state;
	stack_init(&s, lines);
	assert_int_equal(merge_visible(s.layers, s.count, 0, questions, 2, &e), ERR_OK);
	assert_int_equal(questions[0].hidden_by, 2);
	assert_int_equal(questions[1].hidden_by, MERGE_VISIBLE);
	assert_int_equal(merge_visible(s.layers, s.count, 0, questions, 0, &e), ERR_OK);
	stack_release(&s);
}

static void a_bad_document_is_named(void **state)
{
	static const char *const lines[LAYERS] = {"a f 644\n", "b f 644\na f 644\n"};
	struct merge_question question = {.path = "z", .layer = 0};
	CLEANUP(buf_release) struct buf shown;
	struct stack s;
	struct err e;

	(void)state;
	buf_init(&shown, MIB);
	stack_init(&s, lines);
	assert_int_equal(merge_run(s.layers, s.count, print, &shown, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "layer 1: files document: line 3 is out of order"));
	s.memory[1].len--;
	assert_int_equal(merge_visible(s.layers, s.count, 0, &question, 1, &e), ERR_CORRUPT);
	assert_non_null(strstr(e.text, "layer 1: files document: cut off"));
	stack_release(&s);
}

static enum err_code stop_at_second(void *arg, size_t layer, const struct files_entry *entry, struct err *e)
{
	(void)layer;
	(void)entry;
	return ++*(int *)arg == 2 ? ERR(e, ERR_CANCELLED, "enough") : ERR_OK;
}

static void an_error_of_the_receiver_ends_the_merge(void **state)
{
	static const char *const lines[LAYERS] = {"a f 644\nb f 644\nc f 644\n"};
	struct stack s;
	struct err e;
	int seen = 0;

	(void)state;
	stack_init(&s, lines);
	assert_int_equal(merge_run(s.layers, s.count, stop_at_second, &seen, &e), ERR_CANCELLED);
	assert_int_equal(seen, 2);
	stack_release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(layers_merge_as_unpacking_would),
	    cmocka_unit_test(a_path_is_visible_where_the_merge_shows_it),
	    cmocka_unit_test(what_was_asked_of_a_stack_need_not_be_asked_again),
	    cmocka_unit_test(only_documents_above_the_question_are_read),
	    cmocka_unit_test(a_bad_document_is_named),
	    cmocka_unit_test(an_error_of_the_receiver_ends_the_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
