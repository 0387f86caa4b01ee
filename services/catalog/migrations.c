#include "services/catalog/migrations.h"

static const char accounts_sql[] = "CREATE FUNCTION catalog.now_ms() RETURNS bigint LANGUAGE sql STABLE AS"
				   " 'SELECT (extract(epoch FROM statement_timestamp()) * 1000)::bigint';"

				   /* The order in which accounts got their last lease: see job_lease.c. */
				   "CREATE SEQUENCE catalog.turn;"
				   "CREATE TABLE catalog.account ("
				   " name text COLLATE \"C\" PRIMARY KEY,"
				   " created_at bigint NOT NULL DEFAULT catalog.now_ms(),"
				   " turn bigint NOT NULL DEFAULT 0"
				   ") WITH (fillfactor = 70);"
				   "INSERT INTO catalog.account (name) VALUES ('default');"

				   "CREATE TABLE catalog.registry ("
				   " account text COLLATE \"C\" NOT NULL REFERENCES catalog.account ON DELETE CASCADE,"
				   " registry text COLLATE \"C\" NOT NULL,"
				   " username text, password bytea," /* sealed: registry_credentials.c */
				   " insecure boolean NOT NULL DEFAULT false,"
				   " PRIMARY KEY (account, registry)"
				   ");"

				   "CREATE TABLE catalog.event ("
				   " id bigserial PRIMARY KEY,"
				   " account text COLLATE \"C\" NOT NULL,"
				   " at bigint NOT NULL DEFAULT catalog.now_ms(),"
				   " kind text NOT NULL, subject text, message text"
				   ");"
				   "CREATE INDEX event_account ON catalog.event (account, id);";

static const char images_sql[] =
    "CREATE TABLE catalog.image ("
    " id bigserial PRIMARY KEY,"
    " account text COLLATE \"C\" NOT NULL REFERENCES catalog.account,"
    " digest bytea NOT NULL CHECK (length(digest) = 32),"
    " state text NOT NULL DEFAULT 'present' CHECK (state IN ('present', 'detaching', 'deleting')),"
    " status text NOT NULL CHECK (status IN ('queued', 'analysing', 'analysed', 'failed')),"
    " residence text NOT NULL DEFAULT 'working' CHECK (residence IN ('working', 'both', 'archived')),"
    " source text NOT NULL, reference text, platform text, parent_digest bytea,"
    " annotations text, dockerfile boolean NOT NULL DEFAULT false,"
    " added_at bigint NOT NULL DEFAULT catalog.now_ms(),"
    " analysed_at bigint,"       /* NULL: never; also tells two analyses of one image apart */
    " archived_analysis bigint," /* analysed_at of the copy in the archive */
    " created_at bigint, size bigint, packages bigint, files bigint,"
    " distribution text, cost text, incomplete text, documents text,"
    " reason text, job bigint,"
    " UNIQUE (account, digest)"
    ") WITH (fillfactor = 80);"
    "CREATE INDEX image_newest ON catalog.image (account, id);"
    "CREATE INDEX image_unfinished ON catalog.image (account, status, id) WHERE status <> 'analysed';"
    "CREATE INDEX image_parent ON catalog.image (account, parent_digest) WHERE parent_digest IS NOT NULL;"
    "CREATE INDEX image_leaving ON catalog.image (id) WHERE state <> 'present';"

    "CREATE TABLE catalog.tag ("
    " account text COLLATE \"C\" NOT NULL,"
    " name text COLLATE \"C\" NOT NULL," /* registry/repository:tag, canonical */
    " registry text COLLATE \"C\" NOT NULL, repository text COLLATE \"C\" NOT NULL, tag text COLLATE \"C\" NOT NULL,"
    " image bigint NOT NULL REFERENCES catalog.image ON DELETE CASCADE,"
    " since bigint NOT NULL DEFAULT catalog.now_ms(),"
    " PRIMARY KEY (account, name)"
    ");"
    "CREATE INDEX tag_image ON catalog.tag (image);"
    "CREATE TABLE catalog.tag_history ("
    " id bigserial PRIMARY KEY,"
    " account text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL,"
    " digest bytea NOT NULL, seen_at bigint NOT NULL DEFAULT catalog.now_ms()"
    ");"
    "CREATE INDEX tag_history_name ON catalog.tag_history (account, name, id);";

static const char layers_sql[] = "CREATE TABLE catalog.layer ("
				 " id bigserial PRIMARY KEY,"
				 " account text COLLATE \"C\" NOT NULL,"
				 " digest bytea NOT NULL CHECK (length(digest) = 32),"
				 " revision text COLLATE \"C\" NOT NULL,"
				 " state text NOT NULL CHECK (state IN ('pending', 'known', 'deleting')),"
				 " diff_id bytea, size bigint, content_bytes bigint, entries bigint,"
				 " touched_at bigint NOT NULL DEFAULT catalog.now_ms(),"
				 " UNIQUE (account, digest, revision)"
				 ") WITH (fillfactor = 80);"
				 "CREATE INDEX layer_deleting ON catalog.layer (id) WHERE state = 'deleting';"

				 /* A used layer cannot vanish: the foreign key has no cascade. */
				 "CREATE TABLE catalog.layer_use ("
				 " image bigint NOT NULL REFERENCES catalog.image ON DELETE CASCADE,"
				 " layer bigint NOT NULL REFERENCES catalog.layer,"
				 " PRIMARY KEY (image, layer)"
				 ");"
				 "CREATE INDEX layer_use_layer ON catalog.layer_use (layer);"

				 "CREATE TABLE catalog.image_layer ("
				 " image bigint NOT NULL REFERENCES catalog.image ON DELETE CASCADE,"
				 " position integer NOT NULL," /* 0 is the bottom */
				 " digest bytea NOT NULL, diff_id bytea NOT NULL, media_type text,"
				 " size bigint, content_bytes bigint, entries bigint, known boolean NOT NULL,"
				 " revision text COLLATE \"C\" NOT NULL,"
				 " PRIMARY KEY (image, position)"
				 ");";

static const char packages_sql[] =
    "CREATE TABLE catalog.package ("
    " id bigserial PRIMARY KEY,"
    " hash bytea NOT NULL UNIQUE," /* package_digest() */
    " type text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, version text COLLATE \"C\" NOT NULL,"
    " arch text, purl text NOT NULL, source text,"
    " licenses text" /* JSON array; NULL: none */
    ");"
    "CREATE INDEX package_name ON catalog.package (name, version, id);"

    "CREATE TABLE catalog.package_set ("
    " id bigserial PRIMARY KEY,"
    " digest bytea UNIQUE," /* NULL: being removed, so that the same set can be put anew meanwhile */
    " type text COLLATE \"C\" NOT NULL,"
    " state text NOT NULL CHECK (state IN ('partial', 'complete')),"
    " parts integer NOT NULL, packages bigint NOT NULL DEFAULT 0,"
    " touched_at bigint NOT NULL DEFAULT catalog.now_ms()"
    ") WITH (fillfactor = 80);"
    "CREATE INDEX package_set_leaving ON catalog.package_set (id) WHERE digest IS NULL;"
    "CREATE TABLE catalog.set_part ("
    " set_id bigint NOT NULL REFERENCES catalog.package_set ON DELETE CASCADE, part integer NOT NULL,"
    " PRIMARY KEY (set_id, part)"
    ");"
    /* Positions grow in set order (proto/document/package_set.h), so the primary key pages through a set. */
    "CREATE TABLE catalog.set_member ("
    " set_id bigint NOT NULL REFERENCES catalog.package_set, position bigint NOT NULL,"
    " package bigint NOT NULL REFERENCES catalog.package, location text,"
    " PRIMARY KEY (set_id, position)"
    ");"
    "CREATE INDEX set_member_package ON catalog.set_member (package);"
    "CREATE TABLE catalog.image_set ("
    " image bigint NOT NULL REFERENCES catalog.image ON DELETE CASCADE,"
    " set_id bigint NOT NULL REFERENCES catalog.package_set,"
    " PRIMARY KEY (image, set_id)"
    ");"
    "CREATE INDEX image_set_set ON catalog.image_set (set_id);";

static const char jobs_sql[] =
    "CREATE TABLE catalog.upload ("
    " id text COLLATE \"C\" PRIMARY KEY,"
    " account text COLLATE \"C\" NOT NULL,"
    " state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'used', 'done')),"
    " created_at bigint NOT NULL DEFAULT catalog.now_ms()"
    ");"

    /* The hot row: a worker's renewals change nothing that an index has. What is long stands in job_detail. */
    "CREATE TABLE catalog.job ("
    " id bigserial PRIMARY KEY,"
    " image bigint NOT NULL REFERENCES catalog.image ON DELETE CASCADE,"
    " account text COLLATE \"C\" NOT NULL,"
    " state text NOT NULL CHECK (state IN ('queued', 'leased', 'done', 'failed', 'quarantined', 'cancelled')),"
    " priority smallint NOT NULL DEFAULT 0,"
    " force boolean NOT NULL DEFAULT false,"
    " token bigint NOT NULL DEFAULT 0," /* grows with each lease */
    " attempts integer NOT NULL DEFAULT 0, deaths integer NOT NULL DEFAULT 0,"
    " queued_at bigint NOT NULL DEFAULT catalog.now_ms(),"
    " not_before bigint NOT NULL DEFAULT catalog.now_ms(),"
    " leased_at bigint, lease_until bigint, ended_at bigint,"
    " worker text, request text" /* id of the request that made the newest lease */
    ") WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 100);"
    "CREATE UNIQUE INDEX job_one_live ON catalog.job (image) WHERE state IN ('queued', 'leased');"
    "CREATE INDEX job_image ON catalog.job (image);"
    "CREATE INDEX job_queued ON catalog.job (account, priority DESC, id) WHERE state = 'queued';"
    "CREATE INDEX job_leased ON catalog.job (account) WHERE state = 'leased';"
    "CREATE INDEX job_account ON catalog.job (account, id);"
    "CREATE UNIQUE INDEX job_request ON catalog.job (request) WHERE request IS NOT NULL;"

    "CREATE TABLE catalog.job_detail ("
    " job bigint PRIMARY KEY REFERENCES catalog.job ON DELETE CASCADE,"
    " source text NOT NULL, reference text, upload text REFERENCES catalog.upload ON DELETE SET NULL,"
    " stage text, layers_done integer, layers_total integer, bytes_done bigint, bytes_total bigint,"
    " last_error text"
    ") WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 100);"
    "CREATE INDEX job_detail_upload ON catalog.job_detail (upload) WHERE upload IS NOT NULL;"

    "CREATE TABLE catalog.worker (name text PRIMARY KEY, seen_at bigint NOT NULL) WITH (fillfactor = 50);"

    /* Where the audit of the object store has got to, an account and bucket a row: audit.c. */
    "CREATE TABLE catalog.audit ("
    " account text COLLATE \"C\" NOT NULL, bucket text NOT NULL, after text, PRIMARY KEY (account, bucket)"
    ");";

/* Whether an analysis was asked for by force is nothing that its job needs to know. */
static const char force_sql[] = "ALTER TABLE catalog.job DROP COLUMN force;";

static const char leave_sql[] = "ALTER TABLE catalog.worker ADD COLUMN left_at bigint;";

const struct db_migration catalog_migrations[] = {
    {1, "accounts, registries, events", accounts_sql},
    {2, "images and tags", images_sql},
    {3, "layers", layers_sql},
    {4, "packages and sets", packages_sql},
    {5, "jobs and uploads", jobs_sql},
    {6, "jobs without force", force_sql},
    {7, "workers that leave", leave_sql},
};

const size_t catalog_migration_count = ARRAY_SIZE(catalog_migrations);
