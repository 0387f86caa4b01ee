#include "common/json.h"
#include "services/cli/commands.h"
#include "services/cli/output.h"
#include "services/cli/table.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GATEWAY "object-store-gateway"
#define REPORT_MAX (256 * KIB)
#define FILES_MAX 16

/* It stands beside this program, as it is installed. */
static const char *gateway_path(TALLOC_CTX *ctx)
{
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *path;

	if (len <= 0)
		return GATEWAY;
	self[len] = '\0';
	slash = strrchr(self, '/');
	path = talloc_asprintf(ctx, "%.*s/%s", (int)(slash ? slash - self : 0), self, GATEWAY);
	return path && access(path, X_OK) == 0 ? path : GATEWAY;
}

/* The gateway tries its configuration out itself, from here: it need not run. */
static NORETURN void run_gateway(const char *path, const char **files, size_t count, int out)
{
	const char *words[2 * FILES_MAX + 3] = {path, "--check"};
	size_t n = 2;

	for (size_t i = 0; i < count; i++) {
		words[n++] = "--config";
		words[n++] = files[i];
	}
	dup2(out, STDOUT_FILENO);
	execvp(path, (char *const *)(uintptr_t)words);
	fprintf(stderr, "stowage: cannot run %s: %s\n", path, strerror(errno));
	_exit(127);
}

static char *read_report(TALLOC_CTX *ctx, int fd)
{
	char *text = talloc_zero_size(ctx, REPORT_MAX + 1);
	size_t len = 0;
	ssize_t n = 1;

	ASSERT(text);
	while (len < REPORT_MAX && (n = read(fd, text + len, REPORT_MAX - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	return text;
}

static enum err_code collect(struct cli *cli, const char **files, size_t count, char **report, int *status,
                             struct err *e)
{
	const char *path = gateway_path(cli->ctx);
	int ends[2], state = 0;
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return ERR_SYS(e, ERR_INTERNAL, "cannot make a pipe");
	fflush(stdout);
	child = fork();
	if (child < 0) {
		close(ends[0]);
		close(ends[1]);
		return ERR_SYS(e, ERR_EXHAUSTED, "cannot start %s", path);
	}
	if (child == 0)
		run_gateway(path, files, count, ends[1]);
	close(ends[1]);
	*report = read_report(cli->ctx, ends[0]);
	close(ends[0]);
	while (waitpid(child, &state, 0) < 0 && errno == EINTR)
		;
	*status = WIFEXITED(state) ? WEXITSTATUS(state) : 128;
	return ERR_OK;
}

static const char *text_of(const cJSON *item, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, name));

	return text ? text : "";
}

static void show(struct cli *cli, const cJSON *items)
{
	static const struct table_column columns[] = {
	    {"STORE"}, {"DRIVER"}, {"RESULT", .elastic = true}, {"TIME", .right = true}, {"WHERE", .elastic = true},
	    {NULL}};
	struct table *t = table_new(cli->ctx, columns);
	const cJSON *item;

	cJSON_ArrayForEach (item, items) {
		bool works = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "works"));
		double ms = cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(item, "milliseconds"));

		table_row(t, text_of(item, "store"), text_of(item, "driver"), works ? "works" : text_of(item, "code"),
		          show_ms(cli->ctx, (int64_t)ms), text_clean(cli->ctx, text_of(item, "identity")));
	}
	table_print(t, stdout, cli->width);
}

/* The last failure is the command's, and is told as all commands' are; those before it are told here. */
static enum err_code outcome(struct cli *cli, const cJSON *items, struct err *e)
{
	enum err_code code = ERR_OK;
	struct err why = {.text = ""};
	const cJSON *item;

	cJSON_ArrayForEach (item, items) {
		if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "works")))
			continue;
		if (code != ERR_OK && !cli->json)
			fprintf(stderr, "stowage: %s: %s\n", err_name(code), why.text);
		code = ERR(&why, ERR_PRECONDITION, "%s does not work: %s: %s", text_of(item, "store"),
		           text_of(item, "code"), text_clean(cli->ctx, text_of(item, "error")));
	}
	if (code != ERR_OK && e)
		*e = why;
	return code;
}

enum err_code cmd_store_check(struct cli *cli, const struct args *args, struct err *e)
{
	CLEANUP(json_cleanup) cJSON *report = NULL;
	const char **files;
	size_t count = args_texts(args, cli->ctx, "config", &files);
	const cJSON *items;
	char *text;
	int status;

	if (count > FILES_MAX)
		return cli_misuse(cli, e, "%zu files, at most %d are allowed", count, FILES_MAX);
	TRY(collect(cli, files, count, &text, &status, e));
	report = cJSON_Parse(text);
	items = cJSON_GetObjectItemCaseSensitive(report, "items");
	if (!cJSON_IsArray(items)) /* it has said why on stderr */
		return cli_misuse(cli, e, "%s --check ended with status %d", GATEWAY, status);
	if (cli->json)
		fputs(text, stdout);
	else
		show(cli, items);
	return outcome(cli, items, e);
}
