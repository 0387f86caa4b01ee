# shellcheck shell=bash
# shellcheck disable=SC2154 # dir, run and sockets come from lib.sh
#
# The private PostgreSQL: data below DIR, reachable through a unix socket only, running as an unprivileged user.
#
# It refuses to run as root, so root starts it as `postgres` or, where that user does not exist, as `nobody`. That user
# may be unable to walk into DIR (below a home directory, say); it then keeps the one capability that lets it.

find_postgres() {
	local candidate
	pg_bin=
	for candidate in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
		[ ! -x "$candidate/initdb" ] || pg_bin=$candidate
	done
	if [ -z "$pg_bin" ]; then
		pg_bin=$(dirname "$(command -v initdb)") || die "PostgreSQL's initdb was not found: run make deps"
	fi
}

# Sets as_pg, the words before a command that PostgreSQL's user shall run.
choose_postgres_user() {
	as_pg=()
	[ "$(id -u)" = 0 ] || return 0
	pg_user=nobody
	! id postgres >/dev/null 2>&1 || pg_user=postgres
	as_pg=(setpriv "--reuid=$pg_user" "--regid=$(id -g "$pg_user")" --clear-groups)
	if ! "${as_pg[@]}" test -x "$dir" || ! "${as_pg[@]}" test -x "$sockets"; then
		as_pg+=(--inh-caps=+dac_override --ambient-caps=+dac_override)
	fi
	as_pg+=(--)
}

own_by_postgres() {
	[ "$(id -u)" != 0 ] || chown "$pg_user:" "$@"
}

# A data directory appears complete or not at all.
init_postgres() {
	[ ! -d "$dir/pg" ] || return 0
	rm -rf "$dir/pg.new"
	mkdir -m 700 "$dir/pg.new"
	own_by_postgres "$dir/pg.new"
	(cd / && "${as_pg[@]}" "$pg_bin/initdb" -D "$dir/pg.new" -U stowage -A trust -E UTF8 --no-locale) \
	    >"$dir/log/initdb.log" 2>&1 || {
		tail -n 20 "$dir/log/initdb.log" >&2
		die "initdb failed"
	}
	mv "$dir/pg.new" "$dir/pg"
}

# Whether a process has its working directory in the data directory, as every process of that PostgreSQL does.
postgres_remains() {
	local link
	for link in /proc/[0-9]*/cwd; do
		if [ "$(readlink "$link" 2>/dev/null)" = "$dir/pg" ]; then
			return 0
		fi
	done
	return 1
}

# After a kill -9 of the server its other processes need a moment to notice, and its lock files stay. PostgreSQL would
# take a lock file seriously whose number another process of the same user has got in the meantime.
clear_stale_postgres() {
	local deadline=$((SECONDS + 20))
	while postgres_remains; do
		[ "$SECONDS" -lt "$deadline" ] || die "processes of a PostgreSQL that was killed still use $dir/pg"
		sleep 0.1
	done
	rm -f "$dir/pg/postmaster.pid" "$sockets"/pg/.s.PGSQL.*
}

pg_query() {
	"$pg_bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$sockets/pg" -U stowage -d postgres -c "$1"
}

wait_for_postgres() {
	local deadline=$((SECONDS + 60))
	until "$pg_bin/pg_isready" -q -h "$sockets/pg" -U stowage; do
		running postgres >/dev/null || return 1
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.05
	done
}

start_postgres() {
	! running postgres >/dev/null || return 0
	clear_stale_postgres
	mkdir -p "$sockets/pg"
	chmod 700 "$sockets/pg"
	own_by_postgres "$sockets/pg"
	(cd / && start postgres "${as_pg[@]}" "$pg_bin/postgres" -D "$dir/pg" -c listen_addresses= \
	    -c "unix_socket_directories=$sockets/pg" -c max_connections=200)
	wait_for_postgres || fail postgres "PostgreSQL did not start"
	if [ -z "$(pg_query "select 1 from pg_database where datname = 'stowage'")" ]; then
		pg_query "create database stowage"
	fi
}
