#include "services/object-store-gateway/drivers/s3_xml.h"

#include "common/buf.h"

#include <expat.h>
#include <string.h>

#define DEPTH_MAX 16
#define PATH_MAX_BYTES KIB
#define TEXT_MAX (4 * KIB)

struct reader {
	XML_Parser parser;
	s3_xml_visit visit;
	void *arg;
	unsigned depth;
	size_t path_len[DEPTH_MAX]; /* before the element at each level was added */
	struct buf path, text[DEPTH_MAX];
	enum err_code code;
	struct err fault;
};

static void stop(struct reader *r, enum err_code code)
{
	r->code = code;
	XML_StopParser(r->parser, XML_FALSE);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct reader *r = arg;
	const char *local = strrchr(name, ':');

	(void)attributes;
	if (r->code != ERR_OK)
		return;
	if (r->depth == DEPTH_MAX) {
		stop(r, ERR(&r->fault, ERR_CORRUPT, "XML of more than %d levels", DEPTH_MAX));
		return;
	}
	r->path_len[r->depth] = r->path.len;
	if (r->depth > 0)
		buf_add_char(&r->path, '/');
	buf_add_text(&r->path, local ? local + 1 : name);
	buf_reset(&r->text[r->depth++]);
	if (buf_failed(&r->path))
		stop(r, ERR(&r->fault, ERR_CORRUPT, "XML with names of more than %zu bytes", r->path.max));
}

static void on_text(void *arg, const XML_Char *text, int len)
{
	struct reader *r = arg;
	struct buf *into;

	if (r->code != ERR_OK || r->depth == 0)
		return;
	into = &r->text[r->depth - 1];
	buf_add(into, text, (size_t)len);
	if (buf_failed(into))
		stop(r, ERR(&r->fault, ERR_CORRUPT, "XML with a text of more than %zu bytes", into->max));
}

static void on_end(void *arg, const XML_Char *name)
{
	struct reader *r = arg;
	const struct buf *text;
	enum err_code code;

	(void)name;
	if (r->code != ERR_OK)
		return;
	text = &r->text[--r->depth];
	code = r->visit(r->arg, r->path.bytes, text->len ? text->bytes : "", &r->fault);
	if (code != ERR_OK)
		stop(r, code);
	r->path.len = r->path_len[r->depth];
	r->path.bytes[r->path.len] = '\0';
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal)
{
	struct reader *r = arg;

	(void)name, (void)system, (void)public, (void)internal;
	stop(r, ERR(&r->fault, ERR_CORRUPT, "XML with a document type"));
}

static enum err_code parse(struct reader *r, const char *xml, size_t len, struct err *e)
{
	enum XML_Status status;

	XML_SetUserData(r->parser, r);
	XML_SetElementHandler(r->parser, on_start, on_end);
	XML_SetCharacterDataHandler(r->parser, on_text);
	XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
	status = XML_Parse(r->parser, xml, (int)len, XML_TRUE);
	if (r->code != ERR_OK) {
		if (e)
			*e = r->fault;
		return r->code;
	}
	if (status != XML_STATUS_OK)
		return ERR(e, ERR_CORRUPT, "XML: %s at byte %ld", XML_ErrorString(XML_GetErrorCode(r->parser)),
		           (long)XML_GetCurrentByteIndex(r->parser));
	return ERR_OK;
}

enum err_code s3_xml_read(const char *xml, size_t len, s3_xml_visit visit, void *arg, struct err *e)
{
	struct reader r = {.visit = visit, .arg = arg};
	enum err_code code;

	if (len == 0 || len > INT32_MAX)
		return ERR(e, ERR_CORRUPT, "XML of %zu bytes", len);
	r.parser = XML_ParserCreate(NULL);
	ASSERT(r.parser);
	buf_init(&r.path, PATH_MAX_BYTES);
	for (size_t i = 0; i < DEPTH_MAX; i++)
		buf_init(&r.text[i], TEXT_MAX);
	code = parse(&r, xml, len, e);
	for (size_t i = 0; i < DEPTH_MAX; i++)
		buf_release(&r.text[i]);
	buf_release(&r.path);
	XML_ParserFree(r.parser);
	return code;
}

struct lookup {
	TALLOC_CTX *ctx;
	const char *path;
	char *found;
};

static enum err_code look(void *arg, const char *path, const char *text, struct err *e)
{
	struct lookup *l = arg;

	(void)e;
	if (!l->found && strcmp(path, l->path) == 0)
		l->found = talloc_strdup(l->ctx, text);
	return ERR_OK;
}

char *s3_xml_text(TALLOC_CTX *ctx, const char *xml, size_t len, const char *path)
{
	struct lookup l = {.ctx = ctx, .path = path};

	if (s3_xml_read(xml, len, look, &l, NULL) == ERR_OK)
		return l.found;
	talloc_free(l.found);
	return NULL;
}
