#include "common/clock.h"
#include "common/http_internal.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define RETRY_AFTER_MAX_S 86400

/* The header line at *at, which moves behind it; NULL after the last. */
static const char *next_line(const char **at, size_t *len)
{
	const char *line = *at;

	if (!line || !*line)
		return NULL;
	*len = strcspn(line, "\n");
	*at = line + *len + (line[*len] == '\n');
	return line;
}

char **http_header_all(TALLOC_CTX *ctx, const struct http_response *response, const char *name)
{
	size_t name_len = strlen(name), len, count = 0;
	char **values = talloc_zero_array(ctx, char *, 1);
	const char *at = response->headers.bytes, *line;

	while ((line = next_line(&at, &len))) {
		if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0)
			continue;
		values = talloc_realloc(ctx, values, char *, count + 2);
		line += name_len + 1;
		len -= name_len + 1;
		while (len > 0 && (*line == ' ' || *line == '\t')) {
			line++;
			len--;
		}
		values[count++] = talloc_strndup(values, line, len);
		values[count] = NULL;
	}
	return values;
}

char *http_header(TALLOC_CTX *ctx, const struct http_response *response, const char *name)
{
	char **values = http_header_all(ctx, response, name);
	char *first = values[0] ? talloc_steal(ctx, values[0]) : NULL;

	talloc_free(values);
	return first;
}

/* Milliseconds that the server asks to wait for, as seconds or as a date; 0: it does not. */
static unsigned retry_after_ms(const struct http_response *response)
{
	SCRATCH_CTX(ctx);
	const char *value = http_header(ctx, response, "retry-after");
	int64_t seconds = 0;
	time_t date;

	if (!value)
		return 0;
	if (value[0] >= '0' && value[0] <= '9') {
		for (const char *c = value; *c >= '0' && *c <= '9' && seconds < RETRY_AFTER_MAX_S; c++)
			seconds = seconds * 10 + (*c - '0');
	} else {
		date = curl_getdate(value, NULL);
		seconds = date < 0 ? 0 : (int64_t)date - clock_wall_ms() / 1000;
	}
	return (unsigned)(MAX(MIN(seconds, RETRY_AFTER_MAX_S), 0) * 1000);
}

static enum err_code code_of_status(int status)
{
	switch (status) {
	case 401:
	case 407:
		return ERR_UNAUTHENTICATED;
	case 403:
		return ERR_FORBIDDEN;
	case 404:
	case 410:
		return ERR_NOT_FOUND;
	case 408:
		return ERR_UNAVAILABLE;
	case 409:
		return ERR_CONFLICT;
	case 412:
		return ERR_PRECONDITION;
	case 413:
		return ERR_TOO_LARGE;
	case 429:
		return ERR_EXHAUSTED;
	case 501:
		return ERR_UNSUPPORTED;
	default:
		return status >= 500 ? ERR_UNAVAILABLE : ERR_INVALID;
	}
}

enum err_code http_status_error(const struct http_response *response, struct err *e, const char *fmt, ...)
{
	enum err_code code = code_of_status(response->status);
	char what[sizeof(e->text)];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	ERR(e, code, "%s: status %d", what, response->status);
	if (e && err_retry(code) == ERR_RETRY_LATER)
		e->retry_ms = retry_after_ms(response);
	return code;
}

char *http_basic(TALLOC_CTX *ctx, const char *user, const char *password)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *plain = talloc_asprintf(ctx, "%s:%s", user, password);
	size_t len = strlen(plain);
	char *text = talloc_zero_size(ctx, 6 + (len + 2) / 3 * 4 + 1), *to = text + 6;

	memcpy(text, "Basic ", 6);
	for (size_t i = 0; i < len; i += 3) {
		uint32_t group = (uint32_t)(uint8_t)plain[i] << 16;

		if (i + 1 < len)
			group |= (uint32_t)(uint8_t)plain[i + 1] << 8;
		if (i + 2 < len)
			group |= (uint8_t)plain[i + 2];
		*to++ = digits[group >> 18];
		*to++ = digits[group >> 12 & 63];
		*to++ = i + 1 < len ? digits[group >> 6 & 63] : '=';
		*to++ = i + 2 < len ? digits[group & 63] : '=';
	}
	talloc_free(plain);
	return text;
}

char *http_escape(TALLOC_CTX *ctx, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";
	char *out = talloc_zero_size(ctx, strlen(text) * 3 + 1), *to = out;

	for (const char *c = text; *c; c++) {
		uint8_t byte = (uint8_t)*c;

		if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
		    strchr("-._~", byte)) {
			*to++ = *c;
			continue;
		}
		*to++ = '%';
		*to++ = hex[byte >> 4];
		*to++ = hex[byte & 15];
	}
	return out;
}

bool http_host_is_on_link(const char *host)
{
	static const uint8_t amazon[] = {0xfd, 0x00, 0x0e, 0xc2};
	bool bracket = host[0] == '[';
	size_t len = bracket ? strcspn(host + 1, "]") : strcspn(host, ":/");
	char text[INET6_ADDRSTRLEN];
	uint8_t address[16];

	if (len >= sizeof(text))
		return false;
	memcpy(text, host + bracket, len);
	text[len] = '\0';
	if (!bracket)
		return inet_pton(AF_INET, text, address) == 1 && address[0] == 169 && address[1] == 254;
	return host[len + 1] == ']' && inet_pton(AF_INET6, text, address) == 1 &&
	       ((address[0] == 0xfe && (address[1] & 0xc0) == 0x80) || memcmp(address, amazon, sizeof(amazon)) == 0);
}

bool http_host_is_loopback(const char *host)
{
	size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
	char text[INET_ADDRSTRLEN];
	struct in_addr address;

	if ((len == 9 && strncasecmp(host, "localhost", 9) == 0) || (len == 5 && strncmp(host, "[::1]", 5) == 0))
		return true;
	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	return inet_pton(AF_INET, text, &address) == 1 && (ntohl(address.s_addr) >> 24) == 127;
}
