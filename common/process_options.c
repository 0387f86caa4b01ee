#include "common/process.h"

#include "common/log.h"
#include "common/process_internal.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AT(member) offsetof(struct process_config, member)
#define FILES_MAX 16
#define SECRET_LEAST 16
#define SECRET_MOST 64

static const char default_file[] = "/etc/stowage/stowage.yaml";

static const struct config_option shared[] = {
    {"cluster_secret", CONFIG_TEXT, AT(cluster_secret), .required = true, .secret = true,
     .help = "Seals all messages between the processes; the same 16 to 64 characters everywhere."},
    {"cluster_secret_previous", CONFIG_TEXT, AT(cluster_secret_previous), .secret = true,
     .help = "Also accepted, while a new cluster_secret is introduced one process after another."},
    {"database.url", CONFIG_TEXT, AT(database_url), "", .secret = true,
     .help = "PostgreSQL, as a libpq URI or connection string: postgresql://user:password@host:5432/name."},
    {"database.connections", CONFIG_NUMBER, AT(database_connections), "10", 1, 1000,
     .help = "Connections that one process opens at most."},
    {"database.statement_timeout", CONFIG_DURATION, AT(database_statement_ms), "60s", 0, 86400000,
     .help = "The longest that one statement may take; 0 is no limit. Migrations are not limited."},
    {"log.level", CONFIG_TEXT, AT(log_level), "info", .help = "debug, info, warn or error."},
    {"log.format", CONFIG_TEXT, AT(log_format), "text", .help = "text for people, json for machines."},
    {"endpoints.catalog", CONFIG_LIST, AT(catalog_endpoints),
     .help = "Where the catalog's replicas listen: tcp://host:port or ipc:///path."},
    {"endpoints.gateway", CONFIG_LIST, AT(gateway_endpoints), .help = "The same for the object store gateway."},
    {"endpoints.archive", CONFIG_LIST, AT(archive_endpoints), .help = "The same for the archive manager."},
};

/* Paths are completed with the service's section. */
static const struct config_option of_section[] = {
    {"database_url", CONFIG_TEXT, AT(database_url), .secret = true,
     .help = "PostgreSQL for this service, instead of database.url."},
    {"listen", CONFIG_LIST, AT(listen),
     .help = "Where requests are taken: tcp://*:port, tcp://address:port or ipc:///path."},
    {"http_listen", CONFIG_TEXT, AT(http_listen), "",
     .help = "host:port for /healthz, /readyz and /metrics; empty: none."},
    {"threads", CONFIG_NUMBER, AT(threads), "8", 1, RPC_SERVER_THREADS_MAX,
     .help = "Requests that are worked on at the same time."},
    {"queue_max", CONFIG_NUMBER, AT(queue_max), "256", 1, 65536,
     .help = "Requests that wait for a thread; beyond, callers are asked to come back later."},
    {"grace", CONFIG_DURATION, AT(grace_ms), "25s", 0, 3600000,
     .help = "From SIGTERM to the end: what runs is finished or handed back by then."},
};

static size_t count_options(const struct config_option *options)
{
	size_t n = 0;

	while (options && options[n].path)
		n++;
	return n;
}

const struct config_option *process_options(TALLOC_CTX *ctx, const char *section, const struct config_option *own)
{
	size_t n = 0, own_count = count_options(own);
	struct config_option *all =
	    talloc_zero_array(ctx, struct config_option, ARRAY_SIZE(shared) + ARRAY_SIZE(of_section) + own_count + 1);

	ASSERT(all);
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		all[n++] = shared[i];
	for (size_t i = 0; section && i < ARRAY_SIZE(of_section); i++) {
		all[n] = of_section[i];
		all[n].path = talloc_asprintf(all, "%s.%s", section, of_section[i].path);
		ASSERT(all[n++].path);
	}
	for (size_t i = 0; i < own_count; i++)
		all[n++] = own[i];
	return all; /* the zeroed last one is CONFIG_END */
}

static enum err_code check_secret(const char *name, const char *secret, struct err *e)
{
	size_t len = secret ? strlen(secret) : 0;

	if (secret && *secret && (len < SECRET_LEAST || len > SECRET_MOST))
		return ERR(e, ERR_INVALID, "%s must have %d to %d characters, not %zu", name, SECRET_LEAST, SECRET_MOST,
		           len);
	return ERR_OK;
}

enum err_code process_check(const struct process_config *c, struct err *e)
{
	enum log_level level;
	enum log_format format;

	TRY(check_secret("cluster_secret", c->cluster_secret, e));
	TRY(check_secret("cluster_secret_previous", c->cluster_secret_previous, e));
	if (!log_level_from_name(c->log_level, &level))
		return ERR(e, ERR_INVALID, "log.level must be debug, info, warn or error, not \"%s\"", c->log_level);
	if (!log_format_from_name(c->log_format, &format))
		return ERR(e, ERR_INVALID, "log.format must be text or json, not \"%s\"", c->log_format);
	return ERR_OK;
}

static void add_default_file(struct process_command *command)
{
	const char *named = getenv("STOWAGE_CONFIG");

	if (named && *named)
		command->files[command->file_count++] = named;
	else if (access(default_file, F_OK) == 0)
		command->files[command->file_count++] = default_file;
}

static bool take_option(const struct service *service, int option, struct process_command *command)
{
	switch (option) {
	case 'c':
		if (command->file_count == FILES_MAX) {
			fprintf(stderr, "%s: more than %d configuration files\n", service->name, FILES_MAX);
			return false;
		}
		command->files[command->file_count++] = optarg;
		return true;
	case 'h':
		command->verb = COMMAND_HELP;
		return true;
	case 'v':
		command->verb = COMMAND_VERSION;
		return true;
	case 'p':
		command->verb = COMMAND_PRINT;
		return true;
	case 'k':
		if (!service->check) {
			fprintf(stderr, "%s: --check: this service has nothing to try out\n", service->name);
			return false;
		}
		command->verb = COMMAND_CHECK;
		return true;
	default: /* getopt has said why */
		fprintf(stderr, "%s: see %s --help\n", service->name, service->name);
		return false;
	}
}

bool process_parse_command(TALLOC_CTX *ctx, const struct service *service, int argc, char **argv,
                           struct process_command *command)
{
	static const struct option options[] = {
	    {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, 'v'},      {"print-config", no_argument, NULL, 'p'},
	    {"check", no_argument, NULL, 'k'},        {NULL, 0, NULL, 0},
	};
	int option;

	*command = (struct process_command){.files = talloc_zero_array(ctx, const char *, FILES_MAX)};
	ASSERT(command->files);
	optind = 1;
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
		if (!take_option(service, option, command))
			return false;
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument %s; see %s --help\n", service->name, argv[optind],
		        service->name);
		return false;
	}
	if (command->file_count == 0)
		add_default_file(command);
	return true;
}

void process_print_help(const struct service *service, const struct config_option *options)
{
	struct buf text;

	buf_init(&text, MIB);
	buf_add_format(&text,
	               "usage: %s [--config FILE]...\n\n"
	               "  --config FILE   read FILE; may be given several times, later ones win. Without it:\n"
	               "                  $STOWAGE_CONFIG, else %s\n"
	               "  --print-config  print the configuration as it is understood, secrets masked\n"
	               "%s"
	               "  --version       print the version\n"
	               "  --help          print this\n\n"
	               "Options of the configuration file. A secret x may be given as x_file, the path of a file.\n\n",
	               service->name, default_file,
	               service->check ? "  --check         try out what the configuration names, and end\n" : "");
	config_describe(options, &text);
	fputs(buf_failed(&text) ? "" : text.bytes, stdout);
	buf_release(&text);
}
