#include "common/registry_auth.h"

#include <string.h>
#include <strings.h>

/* Characters of an RFC 9110 token, and of token68. */
static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~/", c));
}

static const char *skip_blank(const char *at)
{
	return at + strspn(at, " \t");
}

static char *read_token(TALLOC_CTX *ctx, const char **at)
{
	const char *start = *at;

	while (is_token_char(**at))
		(*at)++;
	return talloc_strndup(ctx, start, (size_t)(*at - start));
}

/* *at stands on the opening quotation mark. A string that does not end gives NULL. */
static char *read_quoted(TALLOC_CTX *ctx, const char **at)
{
	char *text = talloc_zero_size(ctx, strlen(*at)), *to = text;

	for ((*at)++; **at && **at != '"'; (*at)++) {
		if (**at == '\\' && (*at)[1])
			(*at)++;
		*to++ = **at;
	}
	if (**at != '"')
		return NULL;
	(*at)++;
	return text;
}

/* The value after "name=", up to the comma or blank when it is not quoted. token68 credentials ("Negotiate abc==") come
 * along here too, as a name with a meaningless value. */
static char *read_value(TALLOC_CTX *ctx, const char **at)
{
	const char *start;

	*at = skip_blank(*at);
	if (**at == '"')
		return read_quoted(ctx, at);
	start = *at;
	*at += strcspn(*at, " \t,");
	return talloc_strndup(ctx, start, (size_t)(*at - start));
}

static void set_param(struct challenge *c, const char *name, const char *value)
{
	if (!value)
		return;
	if (strcasecmp(name, "realm") == 0)
		c->realm = value;
	else if (strcasecmp(name, "service") == 0)
		c->service = value;
	else if (strcasecmp(name, "scope") == 0)
		c->scope = value;
}

static struct challenge empty_challenge(const char *scheme)
{
	struct challenge c = {CHALLENGE_NONE, "", "", ""};

	if (strcasecmp(scheme, "basic") == 0)
		c.scheme = CHALLENGE_BASIC;
	else if (strcasecmp(scheme, "bearer") == 0)
		c.scheme = CHALLENGE_BEARER;
	return c;
}

/* A bearer challenge without a realm cannot be answered. */
static void consider(struct challenge *best, const struct challenge *c)
{
	if (c->scheme == CHALLENGE_BEARER && !c->realm[0])
		return;
	if (c->scheme > best->scheme)
		*best = *c;
}

/* One header value may hold several challenges; a word that no "=" follows starts the next one. */
static void parse_value(TALLOC_CTX *ctx, const char *at, struct challenge *best)
{
	struct challenge current = empty_challenge("");

	for (;;) {
		char *word;

		at += strspn(at, " \t,");
		if (!is_token_char(*at))
			break;
		word = read_token(ctx, &at);
		at = skip_blank(at);
		if (*at == '=') {
			at++;
			set_param(&current, word, read_value(ctx, &at));
			continue;
		}
		consider(best, &current);
		current = empty_challenge(word);
	}
	consider(best, &current);
}

void challenge_parse(TALLOC_CTX *ctx, char *const *values, struct challenge *c)
{
	*c = empty_challenge("");
	for (; *values; values++)
		parse_value(ctx, *values, c);
}
