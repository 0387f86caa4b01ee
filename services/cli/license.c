#include "services/cli/license.h"

#include <string.h>
#include <strings.h>

#define IDENTIFIER_MAX 64

static const char *const identifiers[] = {
    "0BSD",
    "AFL-2.1",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-1.0",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "bzip2-1.0.6",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "CDDL-1.1",
    "curl",
    "EPL-1.0",
    "EPL-2.0",
    "GFDL-1.3-only",
    "GFDL-1.3-or-later",
    "GPL-1.0-only",
    "GPL-2.0-only",
    "GPL-1.0-or-later",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "HPND",
    "ISC",
    "GPL-3.0-or-later",
    "LGPL-2.0-only",
    "LGPL-2.0-or-later",
    "JSON",
    "Libpng",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "MIT",
    "MIT-0",
    "LGPL-3.0-or-later",
    "MPL-1.1",
    "MPL-2.0",
    "NCSA",
    "OFL-1.1",
    "OpenSSL",
    "PostgreSQL",
    "PSF-2.0",
    "Python-2.0",
    "Ruby",
    "TCL",
    "Unicode-DFS-2016",
    "Unlicense",
    "Vim",
    "W3C",
    "WTFPL",
    "X11",
    "Zlib",
    "ZPL-2.1",
};

const char *license_id(const char *stated)
{
	for (size_t i = 0; i < ARRAY_SIZE(identifiers); i++)
		if (strcasecmp(identifiers[i], stated) == 0)
			return identifiers[i];
	return NULL;
}

static bool is_identifier(const char *word, size_t len)
{
	char name[IDENTIFIER_MAX];
	const char *found;

	if (len >= sizeof(name))
		return false;
	memcpy(name, word, len);
	name[len] = '\0';
	found = license_id(name);
	return found && strcmp(found, name) == 0;
}

static bool is_word(const char *at, size_t len, const char *word)
{
	return strlen(word) == len && strncmp(at, word, len) == 0;
}

/* A word of an expression: an operand where one is due, an operator otherwise. */
static bool take_word(const char *at, size_t len, bool *operand_due)
{
	bool right = *operand_due ? is_identifier(at, len) : is_word(at, len, "AND") || is_word(at, len, "OR");

	*operand_due = !*operand_due;
	return right;
}

bool license_is_expression(const char *stated)
{
	const char *at = stated;
	bool operand_due = true;
	size_t depth = 0, words = 0;

	while (*at) {
		size_t len = strcspn(at, " ()");

		if (len) {
			if (!take_word(at, len, &operand_due))
				return false;
			words++;
			at += len;
		} else if (*at == '(' && operand_due) {
			depth++;
			at++;
		} else if (*at == ')' && !operand_due && depth) {
			depth--;
			at++;
		} else if (*at == ' ') {
			at++;
		} else {
			return false;
		}
	}
	return words > 1 && depth == 0 && !operand_due;
}
