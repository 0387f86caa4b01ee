# shellcheck shell=bash
# What the scripts behind `make` share. They run from the top of the checkout.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
export LC_ALL=C.UTF-8

# step WORDS...: what is done now, with the seconds since the script began.
step() {
	printf '%4d s  %s\n' "$SECONDS" "$*" >&2
}

# build ARGUMENTS OF make...: all that the compiler says is shown only when it fails.
build() {
	local log
	log=$(mktemp)
	step "make $*"
	if ! make -j"$(nproc)" "$@" >"$log" 2>&1; then
		grep -v '^mkdir\|^gcc \|^clang \|^ar \|^rm ' "$log" | tail -n 60 >&2
		rm -f "$log"
		echo "make $* failed" >&2
		return 1
	fi
	rm -f "$log"
}

# Every C source and header of the project; every script.
c_files() {
	find common proto services tests \( -name '*.c' -o -name '*.h' \) -not -path '*/support/vendor/*' | sort
}

shell_files() {
	{
		find deploy tests .ci -name '*.sh'
		grep -rlE --exclude-dir=__pycache__ '^#!/bin/(ba)?sh' deploy tests .ci
		find tests/images/recipes -type f
	} | sort -u
}

python_files() {
	find tests deploy -name '*.py' | sort
}

# The environment in which programs with sanitizers run.
use_sanitizers() {
	ulimit -c 0
	export ASAN_OPTIONS=detect_leaks=1:abort_on_error=1:detect_stack_use_after_return=1:handle_abort=1
	export UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1
	export LSAN_OPTIONS=suppressions=$PWD/tests/run/leaks.supp:print_suppressions=0
}
