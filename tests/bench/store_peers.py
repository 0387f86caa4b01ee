"""What the object store is compared with, and the servers that both talk to: curl, aws, dd, Swift, fast_store."""

import hashlib
import hmac
import itertools
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from support.base import BIN, Daemon, accepts, new_directory, remove_directory, run  # noqa: E402
from support.swift import Swift  # noqa: E402

LIMIT = 900  # seconds, for any one step
AWS = "/usr/bin/aws"  # Debian's, whatever comes first in PATH
NEEDED = (AWS, "curl", "dd", "eatmydata", "psql", "xargs")


def require_tools():
    missing = [tool for tool in NEEDED if not shutil.which(tool)]
    if missing:
        sys.exit(f"store_bench: these programs are missing: {' '.join(missing)}; tests/run/deps installs them")


def _environment(**more):
    return {**{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}, **more}


# servers -----------------------------------------------------------------------------------------------------------


class RealSwift(Swift):
    """OpenStack Swift on this machine: most of what is measured with it is its own time."""

    label = ""  # of its figures


class FastStore:
    """tests/helpers/fast_store, which costs next to nothing, so that what is measured is the client."""

    label = "fast_"
    user, key, region = "fast", "fast", "us-east-1"

    def __init__(self):
        self.directory = new_directory("fast-store")
        log = self.directory / "log"
        self.daemon = Daemon([BIN.parent / "helpers/fast_store", self.directory], log)
        said = self.daemon.wait_until(lambda: log.read_text().startswith("port ") and log.read_text(), "fast_store")
        self.port = int(said.split()[1])
        self.daemon.wait_until(lambda: accepts(self.port), "fast_store")
        self.url = f"http://127.0.0.1:{self.port}"
        self.auth_url = f"{self.url}/auth/v1.0"
        self.numbers = itertools.count(1)

    def new_container(self):
        return f"container{next(self.numbers)}"

    def close(self):
        self.daemon.kill()
        remove_directory(self.directory)


# clients -----------------------------------------------------------------------------------------------------------


class Curl:
    """curl with the same requests as the driver's, each signed beforehand: what the bytes take without a client's
    thinking."""

    def __init__(self, server, bucket, directory):
        self.server, self.bucket, self.config = server, bucket, directory / "curl.config"

    def _entry(self, method, key, digest):
        now = time.gmtime()
        day, stamp = time.strftime("%Y%m%d", now), time.strftime("%Y%m%dT%H%M%SZ", now)
        scope = f"{day}/{self.server.region}/s3/aws4_request"
        host, path = f"127.0.0.1:{self.server.port}", f"/{self.bucket}/{key}"
        names = "host;x-amz-content-sha256;x-amz-date"
        headers = f"host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n"
        request = f"{method}\n{path}\n\n{headers}\n{names}\n{digest}"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        secret = f"AWS4{self.server.key}".encode()
        for part in scope.split("/"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        signature = hmac.digest(secret, text.encode(), "sha256").hex()
        credential = f"Credential={self.server.user}/{scope}, SignedHeaders={names}, Signature={signature}"
        return [
            f'url = "http://{host}{path}"', 'header = "Expect:"', f'header = "x-amz-date: {stamp}"',
            f'header = "x-amz-content-sha256: {digest}"', f'header = "Authorization: AWS4-HMAC-SHA256 {credential}"',
            'output = "/dev/null"', 'write-out = "%{http_code}\\n"', "silent",
        ]  # fmt: skip

    def run(self, method, keys, parallel, file=None):
        """Seconds for all of them, in one process that keeps its connections. PUT sends the file each time."""
        body = Path(file).read_bytes() if method == "PUT" else b""
        digest = hashlib.sha256(body).hexdigest()
        more = {"PUT": [f'upload-file = "{file}"'], "GET": [], "DELETE": ["request = DELETE"]}[method]
        self.config.write_text("\nnext\n".join("\n".join(self._entry(method, key, digest) + more) for key in keys))
        command = ["curl", "-q", *(["-Z", "--parallel-max", parallel] if parallel > 1 else []), "-K", self.config]
        began = time.monotonic()
        codes = run(*command, timeout=LIMIT, env=_environment()).stdout.split()
        seconds = time.monotonic() - began
        assert len(codes) == len(keys) and set(codes) <= {"200", "201", "204"}, (len(codes), set(codes))
        return seconds


class BulkDelete:
    """curl with Swift's own bulk delete, everything named at once: the server's limit, without a client's part."""

    def __init__(self, swift, container, directory):
        self.swift, self.container, self.names = swift, container, directory / "bulk.names"

    def run(self, keys, parallel):
        """Seconds; parallel requests at once, each with its share of the keys."""
        token, url = self.swift.token()
        parts = [keys[first::parallel] for first in range(parallel)]
        command = ["curl", "-q", "-sS", "-Z", "--parallel-max", parallel]
        for number, part in enumerate(parts):
            file = self.names.with_suffix(f".{number}")
            file.write_text("".join(f"{self.container}/{key}\n" for key in part))
            command += ["--next"] if number else []
            command += ["-sS", "-H", f"X-Auth-Token: {token}", "-H", "Content-Type: text/plain", "-H", "Expect:"]
            command += ["-H", "Accept: text/plain", "--data-binary", f"@{file}", f"{url}?bulk-delete"]
        began = time.monotonic()
        said = run(*command, timeout=LIMIT, env=_environment()).stdout
        seconds = time.monotonic() - began
        removed = sum(int(line.split(":")[1]) for line in said.splitlines() if line.startswith("Number Deleted:"))
        assert removed == len(keys), said
        return seconds


class Aws:
    """The aws command line."""

    def __init__(self, server, bucket, directory):
        self.server, self.bucket = server, bucket
        config = directory / "aws.config"
        config.write_text("[default]\ns3 =\n  addressing_style = path\n")
        self.environment = _environment(
            AWS_ACCESS_KEY_ID=server.user, AWS_SECRET_ACCESS_KEY=server.key, AWS_DEFAULT_REGION=server.region,
            AWS_CONFIG_FILE=str(config), AWS_EC2_METADATA_DISABLED="true",
        )  # fmt: skip

    def copy(self, source, target, *more):
        run(AWS, "--endpoint-url", self.server.url, "s3", "cp", "--only-show-errors", *more, source, target,
            env=self.environment, timeout=LIMIT)  # fmt: skip

    def name(self, key):
        return f"s3://{self.bucket}/{key}"


# files -------------------------------------------------------------------------------------------------------------


def dd_files(source, into, count, size, parallel):
    """count files of size bytes, each by a dd of its own that flushes it."""
    into.mkdir()
    words = f"if={source} of={into}/{{}} bs={size} count=1 conv=fsync status=none"
    numbers = "\n".join(str(number) for number in range(count))
    subprocess.run(
        ["xargs", "-P", str(parallel), "-I{}", "dd", *words.split()],
        input=numbers, text=True, timeout=LIMIT, check=True,
    )  # fmt: skip


def plain_files(source, into, count, size, rename=False):
    """The same without a process for each file. rename: safely, that is under another name first, and the directory is
    flushed, too."""
    into.mkdir()
    content = source.read_bytes()[:size]
    directory = os.open(into, os.O_RDONLY)
    for number in range(count):
        name = into / str(number)
        first = into / f"{number}.part" if rename else name
        fd = os.open(first, os.O_WRONLY | os.O_CREAT, 0o600)
        assert os.write(fd, content) == size
        os.fsync(fd)
        os.close(fd)
        if rename:
            os.rename(first, name)
            os.fsync(directory)
    os.close(directory)
