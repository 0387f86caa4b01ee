/* license: which stated licences are SPDX licence identifiers or expressions of them, so that a document may say so. */
#ifndef CLI_LICENSE_H
#define CLI_LICENSE_H

#include "common/base.h"

/* The identifier as SPDX writes it ("mit" is MIT), or NULL. Only those that packages use much are known. */
const char *license_id(const char *stated);

/* True for two or more identifiers joined by AND, OR and parentheses. Identifiers count as written by SPDX only. */
bool license_is_expression(const char *stated);

#endif
