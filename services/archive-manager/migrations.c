#include "services/archive-manager/migrations.h"

static const char images_sql[] =
    /* Not the statement's time: it may have waited for another one's row lock. */
    "CREATE FUNCTION archive.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS"
    " 'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint';"

    "CREATE TABLE archive.image ("
    " account text COLLATE \"C\" NOT NULL,"
    " digest bytea NOT NULL CHECK (length(digest) = 32),"
    " state text NOT NULL CHECK (state IN"
    "  ('copying', 'verifying', 'archived', 'detaching', 'restoring', 'removing', 'failed')),"
    " intent text CHECK (intent IN ('restore', 'remove')), " /* asked for while a transition was under way */
    " detach boolean NOT NULL DEFAULT false,"                /* leave the working set once archived */
    " complete boolean NOT NULL DEFAULT false,"    /* the archive has a verified copy, and the catalog knows */
    " detached boolean NOT NULL DEFAULT false,"    /* the working set did not have it when it was last looked at */
    " tags text NOT NULL DEFAULT '{\"tags\":[]}'," /* those of the copy */
    " tag_count bigint NOT NULL DEFAULT 0,"
    " objects bigint NOT NULL DEFAULT 0,"
    " bytes bigint NOT NULL DEFAULT 0,"
    " moved_bytes bigint NOT NULL DEFAULT 0,"
    " analysed_at bigint NOT NULL DEFAULT 0,"                            /* of the copy */
    " manifest bytea CHECK (manifest IS NULL OR length(manifest) = 32)," /* digest of the manifest object */
    " archived_at bigint,"
    " reason text,"                         /* of the state failed; else of the last attempt that did not succeed */
    " attempts integer NOT NULL DEFAULT 0," /* of the present state that failed */
    " not_before bigint NOT NULL DEFAULT 0,"
    " owner text, lease_until bigint,"
    " token bigint NOT NULL DEFAULT 0," /* grows with each lease */
    " updated_at bigint NOT NULL DEFAULT archive.now_ms(),"
    " PRIMARY KEY (account, digest)"
    ") WITH (fillfactor = 70);"
    "CREATE INDEX image_due ON archive.image (not_before)"
    " WHERE state NOT IN ('archived', 'failed') OR intent IS NOT NULL OR detach;"

    /* Also counts who needs an object that several images share: a row stands here before the object is copied. */
    "CREATE TABLE archive.object ("
    " account text COLLATE \"C\" NOT NULL,"
    " digest bytea NOT NULL,"
    " bucket text COLLATE \"C\" NOT NULL,"
    " key text COLLATE \"C\" NOT NULL,"
    " size bigint NOT NULL DEFAULT 0,"
    " sha256 bytea CHECK (sha256 IS NULL OR length(sha256) = 32)," /* NULL: not copied yet */
    " moved_bytes bigint NOT NULL DEFAULT 0,"
    " done boolean NOT NULL DEFAULT false," /* the present state is through with it */
    " PRIMARY KEY (account, digest, bucket, key),"
    " FOREIGN KEY (account, digest) REFERENCES archive.image ON DELETE CASCADE"
    ") WITH (fillfactor = 70);"
    "CREATE INDEX object_named ON archive.object (account, bucket, key);";

const struct db_migration archive_migrations[ARCHIVE_MIGRATIONS] = {
    {1, "images and objects", images_sql},
};
