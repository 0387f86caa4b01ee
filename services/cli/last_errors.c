#include "services/cli/last_errors.h"

#include <string.h>

/* Fields that differ from one request to the next, whatever is wrong. */
static size_t passing_field(const char *at)
{
	static const char *const names[] = {" request=", " trace="};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strncmp(at, names[i], strlen(names[i])) == 0)
			return strlen(names[i]) + strcspn(at + strlen(names[i]), " ");
	return 0;
}

/* Behind the fields that do not count. */
static const char *skip(const char *at)
{
	size_t len;

	while ((len = passing_field(at)) > 0)
		at += len;
	return at;
}

/* A line begins with its time. */
static const char *behind_time(const char *line)
{
	return line + strcspn(line, " ");
}

static bool is_same(const char *a, const char *b)
{
	a = skip(behind_time(a));
	b = skip(behind_time(b));
	while (*a && *a == *b) {
		a = skip(a + 1);
		b = skip(b + 1);
	}
	return *a == *b;
}

size_t last_errors_collapse(const char *const *lines, size_t count, struct last_error *errors, size_t most)
{
	size_t kinds = 0;

	for (size_t i = 0; i < count; i++) {
		size_t k = 0;

		while (k < kinds && !is_same(errors[k].line, lines[i]))
			k++;
		if (k < kinds)
			errors[k].count++;
		else if (kinds < most)
			errors[kinds++] = (struct last_error){lines[i], 1};
	}
	return kinds;
}
