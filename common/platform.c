#include "common/platform.h"

#include <string.h>
#include <sys/utsname.h>

/* What uname says, and the words of image indexes for it. */
static const struct {
	const char *machine, *architecture, *variant;
} machines[] = {
    {"x86_64", "amd64", ""},        {"aarch64", "arm64", ""}, {"armv7l", "arm", "v7"},
    {"armv6l", "arm", "v6"},        {"i686", "386", ""},      {"i386", "386", ""},
    {"ppc64le", "ppc64le", ""},     {"s390x", "s390x", ""},   {"riscv64", "riscv64", ""},
    {"loongarch64", "loong64", ""},
};

/* The variant that an architecture has when none is named. */
static const struct {
	const char *architecture, *variant;
} usual[] = {{"amd64", "v1"}, {"arm64", "v8"}, {"arm", "v7"}};

static bool part_is_valid(const char *text, size_t len)
{
	if (len == 0 || len >= PLATFORM_PART_SIZE)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
		      c == '.' || c == '-'))
			return false;
	}
	return true;
}

enum err_code platform_parse(const char *text, struct platform *p, struct err *e)
{
	char *const parts[] = {p->os, p->architecture, p->variant};
	const char *at = text;
	size_t count = 0;

	*p = (struct platform){0};
	for (;;) {
		size_t len = strcspn(at, "/");

		if (count == ARRAY_SIZE(parts) || !part_is_valid(at, len))
			return ERR(e, ERR_INVALID, "platform '%.100s' is not os/architecture[/variant]", text);
		memcpy(parts[count++], at, len);
		if (at[len] == '\0')
			break;
		at += len + 1;
	}
	if (count < 2)
		return ERR(e, ERR_INVALID, "platform '%.100s' is not os/architecture[/variant]", text);
	return ERR_OK;
}

struct platform platform_default(void)
{
	struct platform p = {.os = "linux"};
	struct utsname name;

	ASSERT(uname(&name) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (strcmp(machines[i].machine, name.machine) != 0)
			continue;
		memcpy(p.architecture, machines[i].architecture, strlen(machines[i].architecture) + 1);
		memcpy(p.variant, machines[i].variant, strlen(machines[i].variant) + 1);
		return p;
	}
	memcpy(p.architecture, name.machine, strnlen(name.machine, PLATFORM_PART_SIZE - 1));
	return p;
}

char *platform_print(TALLOC_CTX *ctx, const struct platform *p)
{
	return talloc_asprintf(ctx, "%s/%s%s%s", p->os, p->architecture, p->variant[0] ? "/" : "", p->variant);
}

static const char *variant_of(const struct platform *p)
{
	if (p->variant[0])
		return p->variant;
	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (strcmp(usual[i].architecture, p->architecture) == 0)
			return usual[i].variant;
	return "";
}

bool platform_matches(const struct platform *have, const struct platform *wish)
{
	if (strcmp(have->os, wish->os) != 0 || strcmp(have->architecture, wish->architecture) != 0)
		return false;
	return !wish->variant[0] || strcmp(variant_of(have), variant_of(wish)) == 0;
}

static bool fits(const char *have, const char *wish)
{
	return !have[0] || !wish[0] || strcmp(have, wish) == 0;
}

enum err_code platform_check(const struct platform *have, const struct platform *wish, struct err *e)
{
	SCRATCH_CTX(ctx);

	if (fits(have->os, wish->os) && fits(have->architecture, wish->architecture) &&
	    fits(have->variant, wish->variant))
		return ERR_OK;
	return ERR(e, ERR_NOT_FOUND, "no image for platform %s: the only one there is for %s",
	           platform_print(ctx, wish), platform_print(ctx, have));
}
