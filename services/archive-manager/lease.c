#include "services/archive-manager/lease.h"

#include "common/clock.h"

#include <pthread.h>
#include <string.h>

struct lease {
	struct leases *leases;
	struct lease *next;
	char *account;
	struct digest digest;
	int64_t token, until_ms;
};

struct leases {
	struct lease_options options;
	pthread_mutex_t lock; /* held, and every lease's until_ms */
	struct lease *held;
};

struct leases *leases_new(TALLOC_CTX *ctx, const struct lease_options *options)
{
	struct leases *leases = talloc_zero(ctx, struct leases);

	ASSERT(leases);
	leases->options = *options;
	pthread_mutex_init(&leases->lock, NULL);
	return leases;
}

struct lease *lease_hold(struct leases *leases, const char *account, const struct digest *digest, int64_t token,
                         int64_t since_ms)
{
	/* No parent: talloc contexts belong to one thread, leases are seen by two. */
	struct lease *lease = talloc_zero(NULL, struct lease);

	ASSERT(lease);
	lease->leases = leases;
	lease->account = talloc_strdup(lease, account);
	ASSERT(lease->account);
	lease->digest = *digest;
	lease->token = token;
	lease->until_ms = since_ms + leases->options.lease_ms;
	pthread_mutex_lock(&leases->lock);
	lease->next = leases->held;
	leases->held = lease;
	pthread_mutex_unlock(&leases->lock);
	return lease;
}

void lease_free(struct lease *lease)
{
	struct leases *leases = lease->leases;
	struct lease **at = &leases->held;

	pthread_mutex_lock(&leases->lock);
	while (*at != lease)
		at = &(*at)->next;
	*at = lease->next;
	pthread_mutex_unlock(&leases->lock);
	talloc_free(lease);
}

int64_t lease_left_ms(struct lease *lease)
{
	int64_t left;

	pthread_mutex_lock(&lease->leases->lock);
	left = lease->until_ms - clock_monotonic_ms();
	pthread_mutex_unlock(&lease->leases->lock);
	return MAX(left, 0);
}

/* One held lease, as a copy: the database is asked without the lock. */
struct claim {
	char *account;
	struct digest digest;
	int64_t token;
};

static size_t copy_claims(struct leases *leases, TALLOC_CTX *ctx, struct claim **claims)
{
	size_t count = 0;

	*claims = NULL;
	pthread_mutex_lock(&leases->lock);
	for (struct lease *l = leases->held; l; l = l->next) {
		*claims = talloc_realloc(ctx, *claims, struct claim, count + 1);
		ASSERT(*claims);
		(*claims)[count++] = (struct claim){talloc_strdup(ctx, l->account), l->digest, l->token};
	}
	pthread_mutex_unlock(&leases->lock);
	return count;
}

/* The lease may have been freed meanwhile. */
static void set_until(struct leases *leases, const struct claim *claim, int64_t until_ms)
{
	pthread_mutex_lock(&leases->lock);
	for (struct lease *l = leases->held; l; l = l->next)
		if (l->token == claim->token && digest_equal(&l->digest, &claim->digest) &&
		    strcmp(l->account, claim->account) == 0)
			l->until_ms = until_ms;
	pthread_mutex_unlock(&leases->lock);
}

enum err_code leases_renew(struct leases *leases, struct err *e)
{
	SCRATCH_CTX(scratch);
	CLEANUP(db_cleanup) struct db *db = NULL;
	struct claim *claims;
	size_t count = copy_claims(leases, scratch, &claims);

	if (!count)
		return ERR_OK;
	TRY(db_acquire(leases->options.db, leases->options.lease_ms / 2, &db, e));
	for (size_t i = 0; i < count; i++) {
		int64_t now = clock_monotonic_ms();
		struct db_rows *rows;

		TRY(db_query(db, scratch, &rows, e,
		             "UPDATE archive.image SET lease_until = archive.now_ms() + $5"
		             " WHERE account = $1 AND digest = $2 AND token = $3 AND owner = $4",
		             DB_TEXT(claims[i].account), DB_DIGEST(&claims[i].digest), DB_NUMBER(claims[i].token),
		             DB_TEXT(leases->options.owner), DB_NUMBER(leases->options.lease_ms)));
		set_until(leases, &claims[i], db_affected(rows) ? now + leases->options.lease_ms : 0);
	}
	return ERR_OK;
}
