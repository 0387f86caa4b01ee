/*
 * protocol: writes PROTOCOL.md, from the same tables as everything else, to stdout.
 */
#include "proto/messages.h"

#include <stdio.h>
#include <string.h>

static void print_range(const struct proto_field *f)
{
	switch (f->type) {
	case PROTO_text:
		printf("%lld to %lld bytes", (long long)f->least, (long long)f->most);
		break;
	case PROTO_number:
		if (f->most == PROTO_MAX_NUMBER)
			printf("%s", f->least < 0 ? "any" : f->least > 0 ? "from 1" : "from 0");
		else
			printf("%lld to %lld", (long long)f->least, (long long)f->most);
		break;
	case PROTO_map:
	case PROTO_texts:
	case PROTO_digests:
	case PROTO_list:
		printf("at most %lld", (long long)f->most);
		break;
	case PROTO_choice:
		for (const struct proto_choice *c = f->choices; c->text; c++)
			printf("%s%s", c == f->choices ? "" : ", ", c->text);
		break;
	case PROTO_flag:
	case PROTO_digest:
	case PROTO_record:
		break;
	}
}

static void print_fields(const struct proto_record *r)
{
	static const char *const kinds[] = {
	    [PROTO_text] = "text",     [PROTO_flag] = "flag", [PROTO_number] = "number", [PROTO_digest] = "digest",
	    [PROTO_choice] = "choice", [PROTO_map] = "map",   [PROTO_texts] = "texts",   [PROTO_digests] = "digests",
	    [PROTO_record] = "record", [PROTO_list] = "list",
	};

	if (!r->count) {
		printf("none\n\n");
		return;
	}
	printf("\n| field | type | | allowed |\n|---|---|---|---|\n");
	for (size_t i = 0; i < r->count; i++) {
		const struct proto_field *f = &r->fields[i];

		printf("| `%s` | %s", f->name, kinds[f->type]);
		if (f->type == PROTO_record || f->type == PROTO_list)
			printf(" of [%s](#%s)", f->type_name, f->type_name);
		printf(" | %s | ", f->required ? "required" : "");
		print_range(f);
		printf(" |\n");
	}
	printf("\n");
}

static void print_message(const struct proto_message *m)
{
	printf("### %s\n\nRepeated: %s. Deadline %lld s.", m->name, m->repeat, (long long)m->deadline_ms / 1000);
	if (m->request_payload)
		printf(" Request payload up to %zu MiB.", m->request_payload / (size_t)MIB);
	if (m->reply_payload)
		printf(" Reply payload up to %zu MiB.", m->reply_payload / (size_t)MIB);
	printf("\n\nRequest: ");
	print_fields(m->request());
	printf("Reply: ");
	print_fields(m->reply());
}

static void print_record(const char *name, const struct proto_record *r)
{
	printf("### %s\n", name);
	print_fields(r);
}

static const char introduction[] =
    "# Protocol\n\n"
    "Written from the tables in `proto/*.def` by `make fmt`; `make lint` checks that the two agree.\n\n"
    "Every message is one sealed frame over a nanomsg REQ/REP socket (`common/frame.h`): a JSON header and a raw "
    "payload of "
    "at most 4 MiB. The header of a request holds its id, the method, account, principal, deadline and the body shown "
    "here; "
    "that of a reply holds the body, or an error.\n\n"
    "Types: *text* is UTF-8 without NUL; *number* a whole number below 2^53; *digest* `sha256:` and 64 lower-case "
    "hexadecimal digits; *map* an object of texts; *texts*, *digests* and *list* are arrays. A field without "
    "*required* "
    "may be absent: it is then 0, false or empty. Unknown fields are refused in requests and ignored in replies.\n\n"
    "## Errors\n\n| number | code | ask again | HTTP |\n|---|---|---|---|\n";

int main(void)
{
	static const char *const retries[] = {"no", "later", "after looking again"};

	fputs(introduction, stdout);
#define ERROR(name, wire, text, retry, http, exit)                                                                     \
	printf("| %d | %s | %s | %d |\n", wire, text, retries[ERR_RETRY_##retry], http);
#include "common/errors.def"
#undef ERROR

#define RECORD(name) print_record(#name, record_##name());
#define END_RECORD(name)
#define MESSAGE(name, repeat, deadline, request_payload, reply_payload) print_message(&message_##name);
#define REQUEST(name)
#define REPLY(name)
#define END(name)
#define FIELD(...)
	printf("\n## Every service\n\n");
#include "proto/service.def"
	printf("## object-store-gateway\n\n");
#include "proto/gateway.def"
	printf("## catalog\n\n");
#include "proto/catalog.def"
	printf("## archive-manager\n\n");
#include "proto/archive.def"
	return 0;
}
