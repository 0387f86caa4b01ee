/*
 * key_check: are the keys of the configuration the ones that a store's chunks were encrypted with?
 *
 * The table objects.cipher_key remembers, from the first start at which a key was to encrypt, its ID and a fingerprint:
 * what HKDF makes of it, which says nothing of the key. Another key under a known ID would make of every chunk a
 * damaged one.
 */
#ifndef GATEWAY_KEY_CHECK_H
#define GATEWAY_KEY_CHECK_H

#include "services/object-store-gateway/store.h"

/* At start, for a store whose keys are set. ERR_PRECONDITION names a key that is not what it was. Logs a warning for
 * each key that live chunks name and the store has not, with how many there are. */
enum err_code keys_check(struct store *s, struct err *e) MUST_CHECK;

#endif
