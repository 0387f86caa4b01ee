/*
 * http_internal: what common/http*.c share. A hop is one exchange with one server; http_send makes one or, following
 * redirects, several.
 */
#ifndef COMMON_HTTP_INTERNAL_H
#define COMMON_HTTP_INTERNAL_H

#include "common/http.h"

#include <curl/curl.h>

/* Performs request at url on the handle, which is reset first. authorized says whether request->authorization goes
 * along. response is filled anew. */
enum err_code http_hop(CURL *curl, const struct http_client_options *options, const struct http_request *request,
                       const char *url, bool authorized, struct http_response *response, struct err *e) MUST_CHECK;

void http_response_init(struct http_response *response);

#endif
