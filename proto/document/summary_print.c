#include "proto/document/files.h"
#include "proto/document/summary.h"

#include <string.h>

/* How many packages or paths stand in one line: so many that lines are few, so few that one is parsed in no time. */
#define LINE_ITEMS 500

/* The length of the UTF-8 character at text, 0 if there is none. */
static size_t utf8_length(const unsigned char *text)
{
	static const struct {
		unsigned char least, most, second_least, second_most;
		size_t len;
	} forms[] = {
	    {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	if (text[0] < 0x80)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		if (text[0] < forms[i].least || text[0] > forms[i].most)
			continue;
		if (text[1] < forms[i].second_least || text[1] > forms[i].second_most)
			return 0;
		for (size_t k = 2; k < forms[i].len; k++)
			if ((text[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

static void print_text(struct buf *out, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	buf_add_char(out, '"');
	while (*at) {
		size_t len = utf8_length(at);

		if (len == 0) {
			buf_add_text(out, "\xef\xbf\xbd");
			at++;
			continue;
		}
		if (*at == '"' || *at == '\\')
			buf_add_char(out, '\\');
		if (*at < 0x20 || *at == 0x7f)
			buf_add_format(out, "\\u%04x", *at);
		else
			buf_add(out, at, len);
		at += len;
	}
	buf_add_char(out, '"');
}

static void print_path(struct buf *out, const char *path)
{
	CLEANUP(buf_release) struct buf escaped;

	buf_init(&escaped, 4 * FILES_PATH_MAX);
	files_escape(&escaped, path, strlen(path));
	if (buf_failed(&escaped) || !escaped.bytes)
		out->failed = true;
	else
		print_text(out, escaped.bytes);
}

/* `,"key":"text"`, or nothing for no text. */
static void print_member(struct buf *out, const char *key, const char *text)
{
	if (!text)
		return;
	buf_add_format(out, ",\"%s\":", key);
	print_text(out, text);
}

static void print_path_member(struct buf *out, const char *key, const char *path)
{
	if (!path)
		return;
	buf_add_format(out, ",\"%s\":", key);
	print_path(out, path);
}

void summary_print_head(struct buf *out, const char *analyzer)
{
	buf_add_format(out, "{\"summary\":%d", SUMMARY_FORMAT);
	print_member(out, "analyzer", analyzer);
	buf_add_text(out, "}\n");
}

static void print_package(struct buf *out, const struct summary_package *package)
{
	buf_add_text(out, "{\"name\":");
	print_text(out, package->name);
	print_member(out, "version", package->version);
	print_member(out, "arch", package->arch);
	print_member(out, "source", package->source);
	print_member(out, "source_version", package->source_version);
	print_member(out, "license", package->license);
	print_member(out, "origin", package->origin);
	buf_add_char(out, '}');
}

void summary_print_group(struct buf *out, const struct summary_group *group)
{
	for (size_t i = 0; i < group->count; i++) {
		bool first = i % LINE_ITEMS == 0;
		bool last = i % LINE_ITEMS == LINE_ITEMS - 1 || i + 1 == group->count;

		buf_add_text(out, first ? "{\"packages\":[" : ",");
		print_package(out, &group->packages[i]);
		if (!last)
			continue;
		buf_add_char(out, ']');
		print_member(out, "cataloger", group->cataloger);
		print_member(out, "type", group->type);
		print_path_member(out, "evidence", group->evidence);
		buf_add_text(out, "}\n");
	}
}

void summary_print_claim(struct buf *out, const struct summary_claim *claim)
{
	for (size_t i = 0; i < claim->count; i++) {
		bool first = i % LINE_ITEMS == 0;
		bool last = i % LINE_ITEMS == LINE_ITEMS - 1 || i + 1 == claim->count;

		buf_add_text(out, first ? "{\"claims\":[" : ",");
		print_path(out, claim->paths[i]);
		if (!last)
			continue;
		buf_add_char(out, ']');
		print_path_member(out, "evidence", claim->evidence);
		buf_add_text(out, "}\n");
	}
}

void summary_print_unparsed(struct buf *out, const struct summary_unparsed *unparsed)
{
	buf_add_text(out, "{\"unparsed\":");
	print_text(out, unparsed->reason);
	print_member(out, "cataloger", unparsed->cataloger);
	print_path_member(out, "evidence", unparsed->evidence);
	buf_add_text(out, unparsed->fatal ? ",\"fatal\":true}\n" : "}\n");
}

void summary_print_distribution(struct buf *out, const struct summary_distribution *distribution)
{
	buf_add_text(out, "{\"distribution\":{\"format\":\"os-release\"");
	print_member(out, "id", distribution->id);
	print_member(out, "version_id", distribution->version_id);
	print_member(out, "version_codename", distribution->version_codename);
	print_member(out, "name", distribution->name);
	print_member(out, "pretty_name", distribution->pretty_name);
	print_member(out, "id_like", distribution->id_like);
	print_path_member(out, "link", distribution->link);
	buf_add_char(out, '}');
	print_path_member(out, "evidence", distribution->evidence);
	buf_add_text(out, "}\n");
}

void summary_print_end(struct buf *out, const struct digest *diff_id, uint64_t unpacked,
                       const struct summary_counts *counts)
{
	buf_add_format(out,
	               "{\"end\":{\"diff_id\":\"%s\",\"unpacked\":%llu,\"entries\":%llu,\"bytes\":%llu,"
	               "\"whiteouts\":%llu,\"opaques\":%llu,\"lower_links\":%llu}}\n",
	               digest_text(diff_id).text, (unsigned long long)unpacked, (unsigned long long)counts->entries,
	               (unsigned long long)counts->bytes, (unsigned long long)counts->whiteouts,
	               (unsigned long long)counts->opaques, (unsigned long long)counts->lower_links);
}

void summary_encode(struct buf *out, const struct summary *s)
{
	summary_print_head(out, s->analyzer);
	for (size_t i = 0; i < s->group_count; i++)
		summary_print_group(out, &s->groups[i]);
	for (size_t i = 0; i < s->claim_count; i++)
		summary_print_claim(out, &s->claims[i]);
	for (size_t i = 0; i < s->unparsed_count; i++)
		summary_print_unparsed(out, &s->unparsed[i]);
	for (size_t i = 0; i < s->distribution_count; i++)
		summary_print_distribution(out, &s->distributions[i]);
	summary_print_end(out, &s->diff_id, s->unpacked, &s->counts);
}
