#include "services/object-store-gateway/key_check.h"

#include "common/log.h"

#include <string.h>

#define FINGERPRINT_PURPOSE "stowage key fingerprint 1"
#define MISSING_SHOWN 20

/* A key is remembered when it begins to encrypt, so that one which was only prepared may still be corrected. */
static enum err_code check_key(struct store *s, struct db *db, const char *id, bool encrypts, struct err *e)
{
	SCRATCH_CTX(ctx);
	const struct aead_bytes key = {keyring_find(s->keys, id), AEAD_KEY_BYTES};
	const struct aead_bytes purpose = {FINGERPRINT_PURPOSE, strlen(FINGERPRINT_PURPOSE)};
	uint8_t fingerprint[AEAD_KEY_BYTES];
	struct db_rows *rows;

	TRY(aead_derive(&key, &purpose, fingerprint, e));
	if (encrypts)
		TRY(db_query(db, NULL, NULL, e,
		             "INSERT INTO objects.cipher_key (store, id, fingerprint) VALUES ($1, $2, $3)"
		             " ON CONFLICT (store, id) DO NOTHING",
		             DB_TEXT(s->name), DB_TEXT(id), DB_BYTES(fingerprint, sizeof(fingerprint))));
	TRY(db_query(db, ctx, &rows, e,
	             "SELECT 1 FROM objects.cipher_key WHERE store = $1 AND id = $2 AND fingerprint <> $3",
	             DB_TEXT(s->name), DB_TEXT(id), DB_BYTES(fingerprint, sizeof(fingerprint))));
	if (db_count(rows))
		return ERR(e, ERR_PRECONDITION,
		           "%s.encryption.keys: key %s is not the one that encrypted chunks under this ID;"
		           " a new key needs a new ID",
		           s->name, id);
	return ERR_OK;
}

static enum err_code warn_of_missing(struct store *s, struct db *db, struct err *e)
{
	SCRATCH_CTX(ctx);
	struct db_rows *rows;

	TRY(db_query(db, ctx, &rows, e,
	             "SELECT cipher_key, count(*) FROM objects.chunk WHERE store = $1 AND state = 'live'"
	             " AND cipher_key IS NOT NULL AND cipher_key <> ALL ($2::text[]) GROUP BY cipher_key ORDER BY "
	             "cipher_key LIMIT $3",
	             DB_TEXT(s->name), DB_TEXT(keyring_sql(s->keys)), DB_NUMBER(MISSING_SHOWN)));
	for (size_t i = 0; i < db_count(rows); i++)
		LOG_WARN("chunks cannot be read: their key is not configured", LOG_TEXT("store", s->name),
		         LOG_TEXT("key", db_text(rows, i, 0)), LOG_NUMBER("chunks", db_number(rows, i, 1)));
	return ERR_OK;
}

enum err_code keys_check(struct store *s, struct err *e)
{
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct err why;

	TRY(db_acquire(s->db, DB_WAIT_MS, &db, e));
	for (size_t i = 0; i < keyring_count(s->keys); i++)
		TRY(check_key(s, db, keyring_id(s->keys, i), i == 0 && keyring_current(s->keys), e));
	/* Counting all chunks may take longer than a statement may: no reason not to start. */
	if (warn_of_missing(s, db, &why) != ERR_OK)
		LOG_WARN("the keys that chunks name could not be counted", LOG_TEXT("store", s->name), LOG_ERR(&why));
	return ERR_OK;
}
