#include "common/db_internal.h"

#include <string.h>

/* Rows are searched from the top; a state of two letters stands for its class. */
static const struct {
	const char *state;
	enum err_code code;
	bool run_again, broken;
} states[] = {
    {"40001", ERR_CONFLICT, .run_again = true}, /* serialization failure */
    {"40P01", ERR_CONFLICT, .run_again = true}, /* deadlock */
    {"42P01", ERR_INTERNAL, .run_again = true}, /* no such table: dropped a moment ago, perhaps */
    {"23505", ERR_CONFLICT},                    /* unique */
    {"23503", ERR_CONFLICT},                    /* foreign key */
    {"23P01", ERR_CONFLICT},                    /* exclusion */
    {"23514", ERR_INVALID},                     /* check */
    {"23502", ERR_INVALID},                     /* not null */
    {"22021", ERR_INVALID},                     /* not valid in the encoding */
    {"22P05", ERR_INVALID},                     /* no such character in the encoding */
    {"57P01", ERR_UNAVAILABLE, .broken = true}, /* administrator's shutdown */
    {"57P02", ERR_UNAVAILABLE, .broken = true}, /* crash shutdown */
    {"57P03", ERR_UNAVAILABLE, .broken = true}, /* starting up */
    {"57P05", ERR_UNAVAILABLE, .broken = true}, /* idle session timeout */
    {"25P03", ERR_UNAVAILABLE, .broken = true}, /* idle in transaction timeout */
    {"25006", ERR_UNAVAILABLE, .broken = true}, /* read only: a replica after a failover */
    {"08", ERR_UNAVAILABLE, .broken = true},    /* connection */
    {"57014", ERR_DEADLINE},                    /* statement timeout, cancel */
    {"55P03", ERR_DEADLINE},                    /* lock timeout */
    {"53", ERR_EXHAUSTED},                      /* disk, memory, connections */
};

static const char *first_line(const char *text, int *len)
{
	while (*text == '\n' || *text == ' ')
		text++;
	*len = (int)strcspn(text, "\n");
	return text;
}

enum err_code db_fail_connection(struct db *db, struct err *e)
{
	int len;
	const char *text = first_line(PQerrorMessage(db->conn), &len);

	db->broken = true;
	return ERR(e, ERR_UNAVAILABLE, "database: %.*s", len ? len : 15, len ? text : "connection lost");
}

enum err_code db_fail(struct db *db, const PGresult *result, const char *sql, struct err *e)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	enum err_code code = ERR_INTERNAL;

	/* libpq makes results of its own, without a state, when the connection ends under a statement. */
	if (!state || PQstatus(db->conn) == CONNECTION_BAD) {
		db->broken = true;
		code = ERR_UNAVAILABLE;
	}
	for (size_t i = 0; state && i < ARRAY_SIZE(states); i++) {
		if (strncmp(state, states[i].state, strlen(states[i].state)) != 0)
			continue;
		code = states[i].code;
		db->run_again |= states[i].run_again;
		db->broken |= states[i].broken;
		break;
	}
	if (!message) {
		int len;

		message = first_line(PQresultErrorMessage(result), &len);
		return ERR(e, code, "database: %.*s", len, message);
	}
	if (code != ERR_INTERNAL || !sql)
		return ERR(e, code, "database: %s", message);
	return ERR(e, code, "database: %s (%s) in: %.120s", message, state ? state : "no state", sql);
}
