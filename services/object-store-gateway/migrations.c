#include "services/object-store-gateway/migrations.h"

/*
 * chunk         One row for each time that content was written to a back end. Several rows may have one digest while
 *               they are written or deleted; one of them at most is live. `suspect`: nobody may name the chunk, because
 *               it is new or an object that named it is gone. Only these does the sweep look at.
 * object_chunk  Which chunks an object consists of, in order. The foreign key is what keeps a named chunk.
 * chunk_data    What the driver `db` keeps. It knows nothing of the other tables. PostgreSQL must not compress the
 *               bytes: that was done before. Deletes are frequent, so vacuum comes early.
 *
 * Names are compared byte by byte (COLLATE "C"): lists page by them, and an index must not depend on the system's
 * locales.
 */
static const char create_tables[] =
    "CREATE TABLE objects.chunk ("
    "  id bigserial PRIMARY KEY,"
    "  store text COLLATE \"C\" NOT NULL,"
    "  sha256 bytea NOT NULL CHECK (length(sha256) = 32),"
    "  size integer NOT NULL CHECK (size BETWEEN 1 AND 4194304),"
    "  stored_size integer NOT NULL,"
    "  codec text NOT NULL CHECK (codec IN ('none', 'zstd')),"
    "  driver text NOT NULL,"
    "  state text NOT NULL CHECK (state IN ('writing', 'live', 'deleting')),"
    "  suspect boolean NOT NULL DEFAULT true,"
    "  touched_at timestamptz NOT NULL DEFAULT now());"
    "CREATE UNIQUE INDEX chunk_live ON objects.chunk (store, sha256) WHERE state = 'live';"
    "CREATE INDEX chunk_suspect ON objects.chunk (store, touched_at) WHERE state = 'live' AND suspect;"
    "CREATE INDEX chunk_unfinished ON objects.chunk (store, state, touched_at) WHERE state <> 'live';"
    "CREATE TABLE objects.object ("
    "  id bigserial PRIMARY KEY,"
    "  store text COLLATE \"C\" NOT NULL,"
    "  account text COLLATE \"C\" NOT NULL,"
    "  bucket text COLLATE \"C\" NOT NULL,"
    "  key text COLLATE \"C\" NOT NULL,"
    "  size bigint NOT NULL,"
    "  sha256 bytea NOT NULL CHECK (length(sha256) = 32),"
    "  metadata text NOT NULL DEFAULT '{}',"
    "  created_at timestamptz NOT NULL DEFAULT now(),"
    "  UNIQUE (store, account, bucket, key));"
    "CREATE TABLE objects.object_chunk ("
    "  object bigint NOT NULL REFERENCES objects.object (id) ON DELETE CASCADE,"
    "  seq integer NOT NULL,"
    "  chunk bigint NOT NULL REFERENCES objects.chunk (id),"
    "  PRIMARY KEY (object, seq));"
    "CREATE INDEX object_chunk_chunk ON objects.object_chunk (chunk);"
    "CREATE TABLE objects.chunk_data ("
    "  chunk bigint NOT NULL,"
    "  seq integer NOT NULL,"
    "  sha256 bytea NOT NULL,"
    "  bytes bytea NOT NULL,"
    "  PRIMARY KEY (chunk, seq));"
    "ALTER TABLE objects.chunk_data ALTER COLUMN bytes SET STORAGE EXTERNAL;"
    "ALTER TABLE objects.chunk_data SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200,"
    "  autovacuum_vacuum_cost_delay = 2, toast.autovacuum_vacuum_scale_factor = 0.02,"
    "  toast.autovacuum_vacuum_threshold = 2000, toast.autovacuum_vacuum_cost_delay = 2);"
    "ALTER TABLE objects.chunk SET (autovacuum_vacuum_scale_factor = 0.05);";

/*
 * backend       The back ends that a store ever wrote to: backend.h. Rows written before have no identity yet; the next
 *               start with their driver gives them one. chunk.backend is no foreign key: every put would lock the one
 *               row that all share, and rows of this table are removed only when no chunk is there.
 * chunk         `spare`: a second copy of content that is live elsewhere, kept by a migration for as long as the
 * content lives. `damaged`: the last reading did not give what its digest says. cipher_key names the key that the bytes
 * are encrypted with.
 */
static const char add_backends[] =
    "CREATE TABLE objects.backend ("
    "  id bigserial PRIMARY KEY,"
    "  store text COLLATE \"C\" NOT NULL,"
    "  name text COLLATE \"C\" NOT NULL,"
    "  driver text COLLATE \"C\" NOT NULL,"
    "  identity text COLLATE \"C\" NOT NULL,"
    "  config bytea,"
    "  opened_at timestamptz NOT NULL DEFAULT now(),"
    "  UNIQUE (store, name),"
    "  UNIQUE (store, driver, identity));"
    "INSERT INTO objects.backend (store, name, driver, identity)"
    "  SELECT DISTINCT store, driver, driver, '' FROM objects.chunk;"
    "ALTER TABLE objects.chunk ADD COLUMN backend bigint, ADD COLUMN cipher_key text,"
    "  ADD COLUMN damaged boolean NOT NULL DEFAULT false;"
    "UPDATE objects.chunk c SET backend = b.id FROM objects.backend b"
    "  WHERE b.store = c.store AND b.driver = c.driver;"
    "ALTER TABLE objects.chunk ALTER COLUMN backend SET NOT NULL, DROP COLUMN driver,"
    "  DROP CONSTRAINT chunk_state_check,"
    "  ADD CONSTRAINT chunk_state_check CHECK (state IN ('writing', 'live', 'spare', 'deleting'));"
    "CREATE INDEX chunk_backend ON objects.chunk (backend, id);"
    "CREATE INDEX chunk_spare ON objects.chunk (store, sha256) WHERE state = 'spare';"
    "CREATE INDEX chunk_damaged ON objects.chunk (store, id) WHERE damaged;";

const struct db_migration gateway_migrations[] = {
    {1, "objects, chunks, and where chunks are kept", create_tables},
    {2, "back ends by name, spare copies, damage", add_backends},
};

const size_t gateway_migration_count = ARRAY_SIZE(gateway_migrations);
