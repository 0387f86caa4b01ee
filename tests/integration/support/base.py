"""Places, free ports, waiting, and processes that end with the test."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(os.environ.get("STOWAGE_BIN") or ROOT / "build/release/bin").resolve()


def wait_until(condition, what, seconds=30, every=0.05):
    """Calls condition until it returns something true, and returns that. what completes "waited 30 s for ..."."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(every)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def new_directory(name):
    """Short, for the sake of unix sockets, and open to the user that PostgreSQL runs as. The caller removes it."""
    path = Path(tempfile.mkdtemp(prefix=f"stw-{name}-", dir="/tmp"))
    path.chmod(0o755)
    return path


def remove_directory(path):
    shutil.rmtree(path, ignore_errors=True)


def tail(path, lines=40):
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no such file)"


def run(*command, timeout=120, check=True, **options):
    """Output as text; a failure shows what the program said."""
    done = subprocess.run(
        [str(word) for word in command], text=True, capture_output=True, timeout=timeout, check=False, **options
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{command[0]} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


class Daemon:
    """A program in the background with its output in a log file."""

    def __init__(self, command, log, **options):
        self.log = Path(log)
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options
            )

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def wait_until(self, condition, what, seconds=30):
        def either():
            if not self.alive():
                raise AssertionError(f"{what}: exited with {self.process.returncode}\n{tail(self.log)}")
            return condition()

        return wait_until(either, what, seconds)

    def stop(self, seconds=10):
        """SIGTERM; returns the exit status. A process that does not end is killed, and that is an error."""
        if self.alive():
            self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.process.args[0]} did not end on SIGTERM\n{tail(self.log)}") from None

    def kill(self):
        self.process.kill()
        self.process.wait(10)
