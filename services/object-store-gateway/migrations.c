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

/*
 * transfer          Migrations from one back end to another: transfer.h. One of a store runs at a time.
 * transfer_failure  Chunks that the last pass of a transfer could not move, and why; the first thousand of them.
 */
static const char add_transfers[] =
    "CREATE TABLE objects.transfer ("
    "  id bigserial PRIMARY KEY,"
    "  store text COLLATE \"C\" NOT NULL,"
    "  source bigint NOT NULL REFERENCES objects.backend (id),"
    "  target bigint NOT NULL REFERENCES objects.backend (id),"
    "  rate bigint NOT NULL,"
    "  keep_source boolean NOT NULL,"
    "  state text NOT NULL CHECK (state IN ('running', 'stopped', 'done', 'failed')),"
    "  position bigint NOT NULL DEFAULT 0,"
    "  pass_moved bigint NOT NULL DEFAULT 0,"
    "  chunks bigint NOT NULL,"
    "  bytes bigint NOT NULL,"
    "  moved_chunks bigint NOT NULL DEFAULT 0,"
    "  moved_bytes bigint NOT NULL DEFAULT 0,"
    "  failed_chunks bigint NOT NULL DEFAULT 0,"
    "  last_error text,"
    "  started_at timestamptz NOT NULL DEFAULT now(),"
    "  ended_at timestamptz);"
    "CREATE UNIQUE INDEX transfer_running ON objects.transfer (store) WHERE state = 'running';"
    "CREATE TABLE objects.transfer_failure ("
    "  transfer bigint NOT NULL REFERENCES objects.transfer (id) ON DELETE CASCADE,"
    "  chunk bigint NOT NULL,"
    "  sha256 bytea NOT NULL,"
    "  reason text NOT NULL,"
    "  PRIMARY KEY (transfer, chunk));";

/*
 * scrub         Passes of the background reading-back over a store: scrub.h. The newest is the one under way, up to the
 *               chunk number `until`, unless finished_at says that it is over.
 */
static const char add_scrub[] = "CREATE TABLE objects.scrub ("
				"  store text COLLATE \"C\" NOT NULL,"
				"  pass bigint NOT NULL,"
				"  position bigint NOT NULL DEFAULT 0,"
				"  until bigint NOT NULL,"
				"  started_at timestamptz NOT NULL DEFAULT now(),"
				"  finished_at timestamptz,"
				"  chunks bigint NOT NULL DEFAULT 0,"
				"  bytes bigint NOT NULL DEFAULT 0,"
				"  damaged bigint NOT NULL DEFAULT 0,"
				"  healed bigint NOT NULL DEFAULT 0,"
				"  unreachable bigint NOT NULL DEFAULT 0,"
				"  PRIMARY KEY (store, pass));";

/*
 * cipher_key    What each key was when it began to encrypt chunks of a store: key_check.h.
 */
static const char add_cipher_keys[] = "CREATE TABLE objects.cipher_key ("
				      "  store text COLLATE \"C\" NOT NULL,"
				      "  id text COLLATE \"C\" NOT NULL,"
				      "  fingerprint bytea NOT NULL,"
				      "  first_used_at timestamptz NOT NULL DEFAULT now(),"
				      "  PRIMARY KEY (store, id));";

/*
 * chunk_segment  The tables that the driver `db` keeps its rows in: drivers/db_segments.h. Slot 0 is chunk_data itself,
 *                and was the only one before. A table with slot N is chunk_data_N, which inherits from it.
 */
static const char add_segments[] = "CREATE TABLE objects.chunk_segment ("
				   "  id bigserial PRIMARY KEY,"
				   "  slot integer NOT NULL UNIQUE CHECK (slot BETWEEN 0 AND 63),"
				   "  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'draining')),"
				   "  since timestamptz NOT NULL DEFAULT now(),"
				   "  looked_at timestamptz NOT NULL DEFAULT 'epoch');"
				   "INSERT INTO objects.chunk_segment (slot) VALUES (0);";

/*
 * quota         What an account may keep in a store, and what it keeps: quota.h. NULL: no limit of this kind.
 */
static const char add_quotas[] = "CREATE TABLE objects.quota ("
				 "  store text COLLATE \"C\" NOT NULL,"
				 "  account text COLLATE \"C\" NOT NULL,"
				 "  max_bytes bigint,"
				 "  max_objects bigint,"
				 "  used_bytes bigint NOT NULL,"
				 "  used_objects bigint NOT NULL,"
				 "  PRIMARY KEY (store, account));"
				 "ALTER TABLE objects.quota SET (fillfactor = 50);";

/*
 * What the sweep looks for, apart by what it is: a back end that is away may hold a million rows that are `deleting`,
 * and those of the others are found all the same; a million spare copies are in neither.
 */
static const char split_unfinished[] =
    "DROP INDEX objects.chunk_unfinished;"
    "CREATE INDEX chunk_writing ON objects.chunk (store, touched_at) WHERE state = 'writing';"
    "CREATE INDEX chunk_deleting ON objects.chunk (store, backend, touched_at) WHERE state = 'deleting';";

const struct db_migration gateway_migrations[] = {
    {1, "objects, chunks, and where chunks are kept", create_tables},
    {2, "back ends by name, spare copies, damage", add_backends},
    {3, "migrations between back ends", add_transfers},
    {4, "passes of the scrub", add_scrub},
    {5, "keys of chunks", add_cipher_keys},
    {6, "several tables for the chunks in the database", add_segments},
    {7, "quotas", add_quotas},
    {8, "chunks to be removed, by back end", split_unfinished},
};

const size_t gateway_migration_count = ARRAY_SIZE(gateway_migrations);
