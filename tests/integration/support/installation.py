"""An installation: deploy/local/up on a directory of its own, the command line on it, and ways to hurt it.

    with Installation(workers=2) as stowage:
        added = stowage("image", "add", reference, "--wait")      # the JSON document that --json prints
        stowage.fails("image", "get", "no/such:tag")              # the CliError that is expected
        stowage.kill("catalog"); stowage.up()                     # kill -9, start again what is missing

Leaving it stops everything and looks through all logs for what sanitizers say.
"""

import json
import os
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import yaml

from support.base import BIN, ROOT, new_directory, remove_directory, tail, wait_until
from support.postgres import psql

SERVICES = ("object-store-gateway", "catalog", "archive-manager")
SANITIZER = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|runtime error:|assertion .* failed")


class CliError(AssertionError):
    """A command that failed: exit status, and the error that it printed ({"code": ..., "message": ...})."""

    def __init__(self, arguments, status, error, text):
        super().__init__(f"stowage {' '.join(map(str, arguments))}: exit status {status}: {text}")
        self.status = status
        self.error = error
        self.code = error.get("code")
        self.message = error.get("message", text)


class Installation:
    def __init__(self, workers=1, config=None, name="up"):
        """config: a dict that is merged over the configuration of deploy/local/up."""
        self.directory = new_directory(name)
        self.dir = self.directory / "d"
        self.workers = workers
        self.extra = None
        if config:
            self.extra = self.directory / "extra.yaml"
            self.extra.write_text(yaml.safe_dump(config))
        try:
            self.up()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        said = self.close()
        if kind is None:
            assert not said, said

    # The whole

    def up(self, workers=None):
        """Also on one that is up: starts what is missing."""
        self.workers = self.workers if workers is None else workers
        command = [ROOT / "deploy/local/up", "--dir", self.dir, "--workers", self.workers, "--bin", BIN]
        if self.extra:
            command += ["--config", self.extra]
        self._script(command)

    def down(self):
        self._script([ROOT / "deploy/local/down", "--dir", self.dir])

    def _script(self, command):
        log = self.directory / "script.log"
        with open(log, "ab") as out:
            done = subprocess.run(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=240, check=False
            )
        assert done.returncode == 0, tail(log, 60)

    def close(self):
        """Stops and removes everything; returns what sanitizers and assertions have said, as text."""
        try:
            if (self.dir / ".stowage-local").exists():
                self.down()
            return self.sanitizer_reports()
        finally:
            subprocess.run(
                [str(ROOT / "deploy/local/down"), "--dir", str(self.dir), "--purge"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=240, check=False,
            )  # fmt: skip
            remove_directory(self.directory)

    def sanitizer_reports(self):
        found = []
        for log in sorted(self.dir.glob("log/*.log")):
            lines = log.read_text(errors="replace").splitlines()
            for number, line in enumerate(lines):
                if SANITIZER.search(line):
                    found.append(f"{log.name}:\n" + "\n".join(lines[number : number + 40]))
                    break
        return "\n\n".join(found)

    def logs(self, lines=30):
        return "\n\n".join(f"==> {log.name} <==\n{tail(log, lines)}" for log in sorted(self.dir.glob("log/*.log")))

    # The command line

    @property
    def config(self):
        return self.dir / "stowage.yaml"

    @property
    def configs(self):
        """Arguments for one more process of this installation: every --config, as services get them."""
        return ["--config", self.config] + (["--config", self.extra] if self.extra else [])

    def run(self, *arguments, timeout=120, json_output=True, stdin=None):
        """The finished process, whatever its exit status. Output as bytes."""
        command = [BIN / "stowage", "--config", self.config, *(["--json"] if json_output else []), *arguments]
        options = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        return subprocess.run([str(w) for w in command], capture_output=True, timeout=timeout, check=False, **options)

    def __call__(self, *arguments, timeout=120):
        done = self.run(*arguments, timeout=timeout)
        if done.returncode != 0:
            text = done.stderr.decode(errors="replace").strip()
            raise CliError(arguments, done.returncode, _error_in(text), text)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def text(self, *arguments, timeout=120):
        """What a person sees on stdout."""
        done = self.run(*arguments, timeout=timeout, json_output=False)
        if done.returncode != 0:
            text = done.stderr.decode(errors="replace").strip()
            raise CliError(arguments, done.returncode, {}, text)
        return done.stdout.decode()

    def fails(self, *arguments, timeout=120):
        """The CliError with which the command fails; that it succeeds is a failure."""
        try:
            result = self(*arguments, timeout=timeout)
        except CliError as error:
            return error
        raise AssertionError(f"stowage {' '.join(map(str, arguments))} succeeded: {result}")

    # Its processes

    def pid(self, name):
        """Of "catalog", "object-store-gateway", "archive-manager", "worker-N" or "postgres"."""
        return int((self.dir / f"run/{name}.pid").read_text().split()[0])

    def alive(self, name):
        try:
            state = Path(f"/proc/{self.pid(name)}/stat").read_text().rpartition(") ")[2][0]
            return state not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def signal(self, name, number):
        os.kill(self.pid(name), number)

    def kill(self, name):
        """kill -9, and until it is gone."""
        self.signal(name, signal.SIGKILL)
        wait_until(lambda: not self.alive(name), f"{name} to be gone")

    def terminate(self, name, seconds=60):
        """SIGTERM, and until it has drained."""
        self.signal(name, signal.SIGTERM)
        wait_until(lambda: not self.alive(name), f"{name} to drain", seconds)

    def http(self, name, path):
        """The body of GET path; urllib's HTTPError for other answers than 200."""
        port = (self.dir / f"run/{name}.port").read_text().strip()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return reply.read().decode()

    def log(self, name):
        return (self.dir / f"log/{name}.log").read_text(errors="replace")

    def tmp_dir(self, number=1):
        return self.dir / f"worker-{number}"

    @property
    def postgres_sockets(self):
        url = yaml.safe_load(self.config.read_text())["database"]["url"]
        return re.search(r"host='([^']*)'", url)[1]

    def psql(self, sql):
        return psql(self.postgres_sockets, sql)


def _error_in(text):
    """The JSON error on stderr: the last line that is an object. It may stand under "error"."""
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found.get("error", found) if isinstance(found.get("error", found), dict) else found
    return {}
