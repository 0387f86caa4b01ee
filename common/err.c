#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct row {
	enum err_code code;
	const char *name;
	enum err_retry retry;
	int http;
	int exit;
};

static const struct row rows[] = {
#define ERROR(name, wire, text, retry, http, exit) {name, text, ERR_RETRY_##retry, http, exit},
#include "common/errors.def"
#undef ERROR
};

static const struct row *row_of(enum err_code code)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].code == code)
			return &rows[i];
	return NULL;
}

enum err_code err_set(struct err *e, enum err_code code, int sys, const char *file, int line, const char *fmt, ...)
{
	va_list args;
	size_t used;

	ASSERT(code != ERR_OK);
	if (!e)
		return code;
	*e = (struct err){.code = code, .sys = sys, .file = file, .line = line};
	va_start(args, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	used = strlen(e->text);
	if (sys)
		snprintf(e->text + used, sizeof(e->text) - used, ": %s", strerror(sys));
	return code;
}

enum err_code err_wrap(struct err *e, const char *fmt, ...)
{
	char inner[sizeof(e->text)];
	size_t used;
	va_list args;

	if (!e)
		return ERR_INTERNAL;
	memcpy(inner, e->text, sizeof(inner));
	va_start(args, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, args);
	va_end(args);
	used = strlen(e->text);
	snprintf(e->text + used, sizeof(e->text) - used, ": %s", inner);
	return e->code;
}

enum err_code err_from_errno(int sys)
{
	switch (sys) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EMFILE:
	case ENFILE:
		return ERR_EXHAUSTED;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERR_FORBIDDEN;
	default:
		return ERR_INTERNAL;
	}
}

const char *err_name(enum err_code code)
{
	const struct row *row = row_of(code);

	if (code == ERR_OK)
		return "ok";
	return row ? row->name : "unknown";
}

enum err_retry err_retry(enum err_code code)
{
	const struct row *row = row_of(code);

	return row ? row->retry : ERR_RETRY_NEVER;
}

int err_http(enum err_code code)
{
	const struct row *row = row_of(code);

	return row ? row->http : 500;
}

int err_exit(enum err_code code)
{
	const struct row *row = row_of(code);

	return row ? row->exit : 1;
}

bool err_from_wire(int64_t number, enum err_code *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if ((int64_t)rows[i].code == number) {
			*code = rows[i].code;
			return true;
		}
	}
	return false;
}

bool err_from_name(const char *name, enum err_code *code)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].name, name) == 0) {
			*code = rows[i].code;
			return true;
		}
	}
	return false;
}
