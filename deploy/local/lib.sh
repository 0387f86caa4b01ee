# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # names shared with the scripts that source this
#
# What up and down share: where things lie below DIR, and how processes are started, watched and ended.
#
#   DIR/stowage.yaml    for the command line, and the first configuration file of every service (cluster secret: 0600)
#   DIR/extra.yaml      a copy of EXTRA.yaml, the last configuration file of every service
#   DIR/pg              PostgreSQL's data directory
#   DIR/worker-N        tmp_dir of the Nth worker
#   DIR/log/NAME.log    what each process printed
#   DIR/run             NAME.pid ("PID START", so that a reused number is noticed), NAME.port, the sockets
#
# A path for a unix socket has at most 107 bytes. When DIR is too long for that, the sockets lie in a directory below
# /tmp whose name DIR/run/sockets holds.

say() {
	echo "$program: $*" >&2
}

die() {
	say "$*"
	exit 1
}

# Absolute, without links, and of characters that mean nothing in YAML, in a connection string or to a shell.
set_paths() {
	[ -n "$1" ] || usage
	dir=$(realpath -m -- "$1")
	case $dir in
	*[\'\"\\\$\`,]* | *$'\n'*) die "--dir $dir: quotes, backslashes, commas and dollar signs are not possible in the path" ;;
	esac
	run=$dir/run
	marker=$dir/.stowage-local
}

# Keeps a second up or down of the same DIR out until this one ends. Children are started with 9>&-.
take_lock() {
	exec 9>"$marker"
	flock -w 120 9 || die "another up or down of $dir is running"
}

# A directory of this user's own that PostgreSQL, started by root as another user, must get through.
make_passable() {
	mkdir -p "$1"
	chmod "$([ "$(id -u)" = 0 ] && echo 711 || echo 700)" "$1"
}

set_sockets() {
	sockets=$run
	if [ "${#run}" -gt 80 ]; then
		sockets=$(cat "$run/sockets" 2>/dev/null) || sockets=
		if [ ! -O "$sockets" ]; then
			sockets=$(mktemp -d /tmp/stowage-XXXXXX)
			echo "$sockets" >"$run/sockets"
		fi
		make_passable "$sockets"
	fi
}

# Processes -------------------------------------------------------------------------------------------------------

# When a process was started, in ticks after boot. The command name may hold spaces and parentheses, so it is cut off.
start_time() {
	local stat fields
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	read -r -a fields <<<"${stat##*) }"
	[ "${fields[0]}" != Z ] || return 1
	echo "${fields[19]}"
}

# Prints the PID of NAME if it runs.
running() {
	local pid start
	{ read -r pid start <"$run/$1.pid"; } 2>/dev/null || return 1
	[ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ] || return 1
	echo "$pid"
}

# start NAME COMMAND...: in a session of its own, so that no signal from a terminal reaches it.
start() {
	local name=$1 pid
	shift
	setsid -- "$@" </dev/null >>"$dir/log/$name.log" 2>&1 9>&- &
	pid=$!
	echo "$pid $(start_time "$pid")" >"$run/$name.pid"
}

# stop SECONDS SIGNAL NAME...: asks all of them to end and waits; kills those that do not.
stop() {
	local seconds=$1 signal=$2 name pid
	shift 2
	for name in "$@"; do
		if pid=$(running "$name"); then
			kill "-$signal" "$pid" 2>/dev/null || true
		fi
	done
	local deadline=$((SECONDS + seconds))
	for name in "$@"; do
		while pid=$(running "$name"); do
			if [ "$SECONDS" -ge "$deadline" ]; then
				say "$name (pid $pid) did not end within $seconds s of SIG$signal: killed"
				kill -KILL "$pid" 2>/dev/null || true
				deadline=$((SECONDS + 5))
			fi
			sleep 0.05
		done
		rm -f "$run/$name.pid"
	done
}

worker_names() {
	local file
	for file in "$run"/worker-*.pid; do
		[ ! -e "$file" ] || basename "$file" .pid
	done
}

# Workers hand their jobs back to the catalog, so they end first; the database is needed by all, so it ends last.
stop_all() {
	local workers
	mapfile -t workers < <(worker_names)
	stop 40 TERM "${workers[@]}"
	stop 40 TERM archive-manager
	stop 40 TERM catalog object-store-gateway
	stop 60 INT postgres
}
