"""A private PostgreSQL, started as deploy/local starts its own, for tests that run single services."""

import subprocess

from support.base import ROOT, new_directory, remove_directory, run

SCRIPT = """
set -euo pipefail
program=test-postgres
fail() { die "$2"; }
. "$1/lib.sh"
. "$1/postgres.sh"
set_paths "$2"
mkdir -p "$run" "$dir/log"
set_sockets
find_postgres
choose_postgres_user
$3
"""


class Postgres:
    """`url` is what database.url wants; every Postgres starts with an empty database "stowage"."""

    def __init__(self):
        self.directory = new_directory("pg")
        self.sockets = self.directory / "run/pg"
        self.url = f"host={self.sockets} dbname=stowage user=stowage"
        self._do("init_postgres; start_postgres")

    def _do(self, action):
        script = SCRIPT.replace("$3", action)
        command = ["bash", "-c", script, "postgres", ROOT / "deploy/local", self.directory]
        # Output to a file: a server that stays behind would hold a pipe open.
        with open(self.directory / "do.log", "ab") as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=120, check=False)
        assert done.returncode == 0, (self.directory / "do.log").read_text()

    @property
    def pid(self):
        return int((self.directory / "run/postgres.pid").read_text().split()[0])

    def start(self):
        """Again, after stop or a kill."""
        self._do("start_postgres")

    def stop(self):
        self._do("stop 60 INT postgres")

    def close(self):
        self.stop()
        remove_directory(self.directory)

    def psql(self, sql, database="stowage"):
        return psql(self.sockets, sql, database)


def psql(sockets, sql, database="stowage"):
    """Rows as lists of text; NULL is the empty text."""
    done = run("psql", "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1",
               "-h", sockets, "-U", "stowage", "-d", database, "-c", sql)  # fmt: skip
    return [line.split("\x1f") for line in done.stdout.splitlines() if line]
