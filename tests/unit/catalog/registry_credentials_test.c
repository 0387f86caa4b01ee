#include "tests/unit/catalog/fixture.h"

#include "services/catalog/job_read.h"
#include "services/catalog/registry_credentials.h"

static void put(struct fixture *f, const char *account, const char *registry, const char *user, const char *password)
{
	struct registry_add_request request = {.registry = registry, .user = user, .password = password};

	assert_ok(registry_credentials_put(f->db, f->c.vault, account, &request, &f->e));
}

static struct registry_access find(struct fixture *f, const char *account, const char *registry)
{
	struct registry_access access;

	assert_ok(registry_credentials_find(f->db, f->ctx, f->c.vault, account, registry, &access, &f->e));
	return access;
}

static void credentials_belong_to_an_account_and_a_registry(void **state)
{
	struct fixture *f = *state;

	put(f, "default", "R.Example:5000", "me", "first");
	put(f, "default", "r.example:5000", "me", "päss:wörd");
	assert_string_equal(find(f, "default", "r.example:5000").password, "päss:wörd");
	assert_string_equal(find(f, "default", "r.example:5000").user, "me");
	assert_string_equal(find(f, "other", "r.example:5000").user, "");
	assert_string_equal(find(f, "default", "r.example").password, "");
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.registry"), 1);
}

static void passwords_are_never_readable_in_the_database(void **state)
{
	struct fixture *f = *state;
	struct registry_list_reply list = {0};

	put(f, "default", "r.example", "me", "very secret");
	assert_int_equal(number_of(f, "SELECT position('very secret'::bytea IN password) FROM catalog.registry"), 0);
	assert_ok(registry_credentials_read_all(f->db, f->ctx, "default", &list, &f->e));
	assert_int_equal(list.items_count, 1);
	assert_string_equal(list.items[0].user, "me");
	/* A row that was copied to another account does not open there. */
	run_sql(f, "INSERT INTO catalog.registry SELECT 'other', registry, username, password, insecure"
	           " FROM catalog.registry");
	assert_int_equal(registry_credentials_find(f->db, f->ctx, f->c.vault, "other", "r.example",
	                                           &(struct registry_access){0}, &f->e),
	                 ERR_CORRUPT);
	run_sql(f, "UPDATE catalog.registry SET password = set_byte(password, 20, get_byte(password, 20) # 1)");
	assert_int_equal(registry_credentials_find(f->db, f->ctx, f->c.vault, "default", "r.example",
	                                           &(struct registry_access){0}, &f->e),
	                 ERR_CORRUPT);
}

static void what_is_no_registry_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"", "a/b", "https://r.example", "r example", "r:port", "ä.example"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct registry_add_request request = {.registry = names[i]};

		assert_int_equal(registry_credentials_put(f->db, f->c.vault, "default", &request, &f->e), ERR_INVALID);
	}
	assert_int_equal(registry_credentials_remove(f->db, "default", "r.example", &f->e), ERR_NOT_FOUND);
	put(f, "default", "r.example", NULL, NULL);
	assert_ok(registry_credentials_remove(f->db, "default", "r.example", &f->e));
}

static void a_worker_gets_them_with_its_job(void **state)
{
	struct fixture *f = *state;
	struct job_lease_reply reply = {0};
	struct job job;

	put(f, "default", "registry.example", "me", "secret");
	given_order(f, "default", "a");
	job = given_lease(f);
	assert_ok(job_read_grant(f->db, f->ctx, f->c.vault, &f->settings, &job, &reply, &f->e));
	assert_string_equal(reply.registry_user, "me");
	assert_string_equal(reply.registry_password, "secret");
	assert_string_equal(reply.reference, "registry.example/app:1");
	assert_int_equal(reply.token, 1);
	assert_int_equal(reply.lease_ms, 30000);
	assert_string_equal(reply.account, "default");
}

static void a_vault_opens_with_the_current_and_the_previous_secret(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct rpc_secret secret;
		bool opens;
	} cases[] = {{{"secret number one", NULL}, true},
	             {{"secret number two", "secret number one"}, true},
	             {{"secret number two", NULL}, false},
	             {{"secret number two", ""}, false}};
	struct vault *one, *v;
	void *sealed;
	size_t len;
	char *text;

	assert_ok(vault_new(f->ctx, VAULT_PURPOSE, &cases[0].secret, &one, &f->e));
	assert_ok(vault_seal(one, f->ctx, "context", "text", &sealed, &len, &f->e));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_ok(vault_new(f->ctx, VAULT_PURPOSE, &cases[i].secret, &v, &f->e));
		if (cases[i].opens) {
			assert_ok(vault_open(v, f->ctx, "context", sealed, len, &text, &f->e));
			assert_string_equal(text, "text");
		} else {
			assert_int_equal(vault_open(v, f->ctx, "context", sealed, len, &text, &f->e), ERR_CORRUPT);
		}
		assert_int_equal(vault_open(v, f->ctx, "another", sealed, len, &text, &f->e), ERR_CORRUPT);
		for (size_t cut = 1; cut <= len; cut++)
			assert_int_equal(vault_open(v, f->ctx, "context", sealed, len - cut, &text, &f->e),
			                 ERR_CORRUPT);
	}
	assert_int_equal(vault_new(f->ctx, VAULT_PURPOSE, &(struct rpc_secret){.current = ""}, &v, &f->e), ERR_INVALID);
}

/* A cluster secret is rotated in three steps: the new one is accepted, is used, is the only one. */
static void passwords_outlive_the_secret_that_sealed_them(void **state)
{
	struct fixture *f = *state;
	const struct rpc_secret both = {"a new secret of the tests", "a secret of the tests"},
				alone = {"a new secret of the tests", NULL};
	struct vault *old = f->c.vault;

	put(f, "default", "r.example", "me", "first");
	put(f, "default", "s.example", "me", NULL);
	put(f, "default", "t.example", "me", "third");
	run_sql(f, "UPDATE catalog.registry SET password = 'garbage' WHERE registry = 't.example'");
	assert_ok(vault_new(f->ctx, VAULT_PURPOSE, &both, &f->c.vault, &f->e));
	for (int i = 0; i < 2; i++) {
		assert_ok(registry_credentials_renew(f->db, f->c.vault, &f->e));
		assert_string_equal(find(f, "default", "r.example").password, "first");
	}
	assert_ok(vault_new(f->ctx, VAULT_PURPOSE, &alone, &f->c.vault, &f->e));
	assert_string_equal(find(f, "default", "r.example").password, "first");
	assert_string_equal(find(f, "default", "s.example").password, "");
	assert_int_equal(number_of(f, "SELECT count(*) FROM catalog.registry WHERE password = 'garbage'"), 1);
	/* What is sealed by a secret that is gone stays as it is. */
	assert_ok(registry_credentials_renew(f->db, old, &f->e));
	assert_string_equal(find(f, "default", "r.example").password, "first");
}

FIXTURE_MAIN(FIXTURE_TEST(credentials_belong_to_an_account_and_a_registry),
             FIXTURE_TEST(passwords_are_never_readable_in_the_database), FIXTURE_TEST(what_is_no_registry_is_refused),
             FIXTURE_TEST(a_worker_gets_them_with_its_job),
             FIXTURE_TEST(a_vault_opens_with_the_current_and_the_previous_secret),
             FIXTURE_TEST(passwords_outlive_the_secret_that_sealed_them))
