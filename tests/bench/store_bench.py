"""The object store beside what else could move the same bytes: dd, aws, curl; and memory, sharing and removal.

    STOWAGE_BIN=build/release/bin tests/run/with-postgres python3 tests/bench/store_bench.py [OPTION...] [PART...]

PART: scale      one object of 1 GiB and the memory that it takes, what equal content costs, removal with db and localfs
      localfs    small and large objects beside dd with fsync, and beside one process that writes and flushes
      s3         small and large objects beside the aws command line and curl, all on one server
      removal    removal with s3 and swift

All parts run if none is named. Prints `name value unit` lines, then `ratio name value`. The load is made by
gateway_load_bench, so that Python is never what is measured. The server of s3 and swift is a real OpenStack Swift on
this machine, which takes most of the processor: its figures say how the clients compare, not how fast they could be.
"""

import argparse
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))

from support.base import BIN, Daemon, new_directory, remove_directory, run  # noqa: E402
from support.swift import Swift  # noqa: E402

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CHUNK = 4 * MIB
SMALL = 4 * KIB
IN_FLIGHT = 3  # chunks of one object that store_io has on their way
AWS = "/usr/bin/aws"  # Debian's, whatever comes first in PATH
NO_FLUSH = "libeatmydata.so"  # package eatmydata; without it, filling takes longer
LIMIT = 900  # seconds, for any one step


def show(name, value, unit):
    print(f"{name} {value:.{0 if value >= 10 else 2}f} {unit}", flush=True)


def compare(name, peer, ours, theirs, unit):
    """Both are rates: the ratio is how many times as fast ours is."""
    show(f"{peer}_{name}", theirs, unit)
    print(f"ratio {name}_to_{peer} {ours / theirs:.2f}", flush=True)


def timed(work, *arguments, **options):
    began = time.monotonic()
    work(*arguments, **options)
    return time.monotonic() - began


class Gateway:
    """A gateway with one driver, on a database of its own."""

    def __init__(self, name, driver, config):
        self.directory = new_directory(name)
        self.database = f"bench_{name.replace('-', '_')}"
        self.driver = {"name": driver, "config": config}
        self.daemon = None
        _psql(f"CREATE DATABASE {self.database}")

    def start(self, careless=False):
        """careless: neither commits nor files are flushed, for work that is not measured."""
        url = os.environ["STOWAGE_TEST_DB"].replace("/postgres?", f"/{self.database}?")
        endpoint = f"ipc://{self.directory}/gateway.ipc"
        self.config = self.directory / "stowage.yaml"
        self.config.write_text(
            yaml.safe_dump(
                {
                    "cluster_secret": "a secret for the bench alone",
                    "log": {"level": "warn"},
                    "database": {"url": url + ("&options=-csynchronous_commit%3Doff" if careless else "")},
                    "endpoints": {"gateway": [endpoint]},
                    "object_store_gateway": {"listen": [endpoint], "gc_interval": "1h"},
                    "object_store": {"storage_driver": self.driver},
                }
            )
        )
        self.daemon = Daemon(
            [BIN / "object-store-gateway", "--config", self.config], self.directory / "gateway.log",
            env={**os.environ, "LD_PRELOAD": NO_FLUSH} if careless and shutil.which("eatmydata") else None,
        )  # fmt: skip
        self.load("remove", "nothing")  # waits until it is up
        return self

    def load(self, *words):
        """What gateway_load_bench prints."""
        done = run(BIN.parent / "bench/gateway_load_bench", "--config", self.config, *words, timeout=LIMIT)
        return {name: float(value) for name, value in (line.split() for line in done.stdout.splitlines())}

    def rate(self, verb, prefix, count, size, clients):
        return count / self.load(verb, prefix, count, size, clients)["seconds"]

    def mib_per_second(self, *words, size):
        return size / MIB / self.load(*words)["seconds"]

    def peak_mib(self):
        for line in Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmHWM")

    def restart(self, **options):
        self.daemon.stop()
        return self.start(**options)

    def close(self):
        if self.daemon and self.daemon.alive():
            self.daemon.kill()
        remove_directory(self.directory)
        _psql(f"DROP DATABASE {self.database} WITH (FORCE)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _psql(sql):
    run("psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", os.environ["STOWAGE_TEST_DB"], "-c", sql)


# scale -------------------------------------------------------------------------------------------------------------


def one_large_object(gateway, size):
    name = f"{size // MIB}MiB"
    for verb, words in (("put", ("write", "large", size)), ("get", ("read", "large"))):
        gateway.restart()  # so that the memory is that of this alone
        got = gateway.load(*words)
        show(f"gateway_{verb}_{name}", size / MIB / got["seconds"], "MiB/s")
        show(f"gateway_{verb}_{name}_gateway_peak", gateway.peak_mib(), "MiB (goal: 64)")
        show(f"gateway_{verb}_{name}_client_peak", got["peak_kib"] / 1024, "MiB (goal: 64)")
    gateway.load("remove", "large")


def shared_content(gateway):
    """Chunks are cut at fixed places and shared whole: what is equal within two chunks that differ is stored twice."""
    cases = (
        ("1000 documents of 64 KiB, 900 of them equal to one of the other 100", 1000, 64 * KIB, 0, 10),
        ("1000 documents of 64 KiB, the first 90 % of the bytes equal in all", 1000, 64 * KIB, 59 * KIB, 1),
        ("40 documents of 40 MiB, the first 9 of 10 chunks equal in all", 40, 40 * MIB, 36 * MIB, 1),
    )
    for text, count, size, shared, copies in cases:
        got = gateway.load("documents", "shared", count, size, shared, copies)
        print(f"sharing: {text}:", flush=True)
        show("  given", got["bytes"] / MIB, "MiB")
        show("  stored", got["stored_bytes"] / MIB, "MiB")
        show("  stored_part", 100 * got["stored_bytes"] / got["bytes"], "%")
        gateway.load("remove", "shared")
        gateway.load("gc")


def removal(gateway, name, count, careless):
    """Objects of 512 bytes, each with a chunk of its own."""
    if careless:
        gateway.restart(careless=True)
    filled = gateway.rate("put", "removal", count, 512, 64)
    if careless:
        gateway.restart()
    deleted = gateway.load("remove", "removal")
    swept = gateway.load("gc")
    assert deleted["removed"] == swept["removed"] == count, (deleted, swept)
    show(f"{name}_filled", filled, f"puts/s, 64 clients{', nothing flushed' if careless else ''}")
    show(f"{name}_delete_{count}_objects", count / deleted["seconds"], "objects/s")
    rate = count / swept["seconds"]
    show(f"{name}_gc_{count}_chunks", rate, "removed/s (goal: 1000)")
    return rate


def bench_scale(options):
    with Gateway("db", "db", {}).start() as gateway:
        one_large_object(gateway, options.large_mib * MIB)
        shared_content(gateway)
        removal(gateway, "db", options.objects, careless=True)
    with new_localfs("localfs-removal") as gateway:
        removal(gateway, "localfs", options.objects, careless=True)


# localfs -----------------------------------------------------------------------------------------------------------


def new_localfs(name):
    gateway = Gateway(name, "localfs", {})
    gateway.driver["config"] = {"archive_data_dir": str(gateway.directory / "data")}
    return gateway.start()


def random_file(path, size):
    with open(path, "wb") as out:
        for _ in range(size // CHUNK or 1):
            out.write(os.urandom(min(size, CHUNK)))
    return path


def dd_files(source, into, count, size, parallel):
    """count files of size bytes, each by a dd of its own that flushes it."""
    into.mkdir()
    words = f"if={source} of={into}/{{}} bs={size} count=1 conv=fsync status=none"
    numbers = "\n".join(str(number) for number in range(count))
    subprocess.run(
        ["xargs", "-P", str(parallel), "-I{}", "dd", *words.split()],
        input=numbers, text=True, timeout=LIMIT, check=True,
    )  # fmt: skip


def plain_files(source, into, count, size):
    """The same without a process for each file."""
    into.mkdir()
    content = source.read_bytes()[:size]
    for number in range(count):
        fd = os.open(into / str(number), os.O_WRONLY | os.O_CREAT, 0o600)
        assert os.write(fd, content) == size
        os.fsync(fd)
        os.close(fd)


def bench_localfs(options):
    count, large = options.small, 256 * MIB
    with new_localfs("localfs") as gateway:
        scratch = gateway.directory
        source = random_file(scratch / "source", CHUNK)
        for clients in (1, 8):
            ours = gateway.rate("put", f"small{clients}", count, SMALL, clients)
            show(f"localfs_put_4KiB_{clients}", ours, "puts/s")
            theirs = count / timed(dd_files, source, scratch / f"dd{clients}", count, SMALL, clients)
            compare(f"localfs_put_4KiB_{clients}", "dd", ours, theirs, "files/s")
            if clients == 1:
                theirs = count / timed(plain_files, source, scratch / "plain", count, SMALL)
                compare("localfs_put_4KiB_1", "one_process", ours, theirs, "files/s")
        ours = gateway.mib_per_second("write", "large", large, size=large)
        show("localfs_put_256MiB", ours, "MiB/s")
        chunks = large // CHUNK
        theirs = large / MIB / timed(dd_files, source, scratch / "dd", chunks, CHUNK, 1)
        compare("localfs_put_256MiB", "dd", ours, theirs, "MiB/s, the same 64 files of 4 MiB one after the other")
        theirs = large / MIB / timed(dd_files, source, scratch / "dd-in-flight", chunks, CHUNK, IN_FLIGHT)
        compare("localfs_put_256MiB", "dd_in_flight", ours, theirs, f"MiB/s, {IN_FLIGHT} at a time")
        show("localfs_get_256MiB", gateway.mib_per_second("read", "large", size=large), "MiB/s")


# s3 ----------------------------------------------------------------------------------------------------------------


class Curl:
    """curl on presigned URLs: the same requests as a driver's, without a client's thinking."""

    def __init__(self, swift, bucket, directory):
        self.swift, self.bucket, self.directory = swift, bucket, directory

    def url(self, method, key):
        now = time.gmtime()
        scope = f"{time.strftime('%Y%m%d', now)}/{self.swift.region}/s3/aws4_request"
        stamp = time.strftime("%Y%m%dT%H%M%SZ", now)
        query = urllib.parse.urlencode(
            {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{self.swift.user}/{scope}",
                "X-Amz-Date": stamp, "X-Amz-Expires": "3600", "X-Amz-SignedHeaders": "host",
            }
        )  # fmt: skip
        path, host = f"/{self.bucket}/{key}", f"127.0.0.1:{self.swift.port}"
        request = f"{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.swift.key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return f"http://{host}{path}?{query}&X-Amz-Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"

    def run(self, method, keys, parallel, file=None):
        """Seconds for all of them, in one process that keeps its connections. PUT sends the file each time."""
        lines = {"PUT": f'upload-file = "{file}"', "GET": 'output = "/dev/null"', "DELETE": 'output = "/dev/null"'}
        config = self.directory / "curl.config"
        config.write_text("".join(f'url = "{self.url(method, key)}"\n{lines[method]}\n' for key in keys))
        command = ["curl", "-sS", "-q", "-H", "Expect:", "-w", "%{http_code}\\n", "--config", str(config)]
        command += ["-Z", "--parallel-max", str(parallel)] if parallel > 1 else []
        command += ["-X", "DELETE"] if method == "DELETE" else []
        began = time.monotonic()
        codes = run(*command, timeout=LIMIT, env=_environment()).stdout.split()
        seconds = time.monotonic() - began
        assert len(codes) == len(keys) and set(codes) <= {"200", "204"}, set(codes)
        return seconds


def _environment(**more):
    return {**{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}, **more}


class Aws:
    def __init__(self, swift, bucket, directory):
        self.swift, self.bucket = swift, bucket
        config = directory / "aws.config"
        config.write_text("[default]\ns3 =\n  addressing_style = path\n")
        self.environment = _environment(
            AWS_ACCESS_KEY_ID=swift.user, AWS_SECRET_ACCESS_KEY=swift.key, AWS_DEFAULT_REGION=swift.region,
            AWS_CONFIG_FILE=str(config), AWS_EC2_METADATA_DISABLED="true",
        )  # fmt: skip

    def copy(self, source, target, *more):
        run(AWS, "--endpoint-url", self.swift.url, "s3", "cp", "--only-show-errors", *more, source, target,
            env=self.environment, timeout=LIMIT)  # fmt: skip

    def name(self, key):
        return f"s3://{self.bucket}/{key}"


def new_s3(swift, name):
    config = {"access_key": swift.user, "secret_key": swift.key, "url": swift.url, "bucket": swift.new_container()}
    return Gateway(name, "s3", config).start()


def files_in(directory, count, size):
    directory.mkdir()
    for number in range(count):
        (directory / str(number)).write_bytes(os.urandom(size))
    return directory


def small_aws(gateway, aws, verb, ours, count):
    """ours: rates by the number of clients."""
    one, all_of_them = aws.name("one"), aws.name("all")
    directory = gateway.directory
    put = verb == "put"
    source, target = (directory / "small", all_of_them) if put else (all_of_them, directory / "back")
    theirs = count / timed(aws.copy, source, target, "--recursive")
    compare(f"s3_{verb}_4KiB_8", "aws_recursive", ours[8], theirs, f"{verb}s/s, one command, its 10 threads")
    source, target = (directory / "small/0", one) if put else (one, directory / "one")
    theirs = 3 / sum(timed(aws.copy, source, target) for _ in range(3))
    compare(f"s3_{verb}_4KiB_1", "aws", ours[1], theirs, f"{verb}s/s, a command for each")


def small_s3(gateway, aws, curl, options):
    count, ours = options.small_remote, {}
    files = files_in(gateway.directory / "small", count, SMALL)
    for verb, method in (("put", "PUT"), ("get", "GET")):
        for clients in (1, 8):
            name = f"s3_{verb}_4KiB_{clients}"
            ours[clients] = gateway.rate(verb, f"small{clients}", count, SMALL, clients)
            show(name, ours[clients], f"{verb}s/s")
            keys = [f"curl{clients}/{number}" for number in range(count)]
            compare(name, "curl", ours[clients], count / curl.run(method, keys, clients, files / "0"), f"{verb}s/s")
        if aws:
            small_aws(gateway, aws, verb, ours, count)


def large_s3(gateway, aws, curl, size):
    directory, name = gateway.directory, f"{size // MIB}MiB"
    file = random_file(directory / "large", size)
    piece = random_file(directory / "piece", CHUNK)
    pieces = [f"piece/{number}" for number in range(size // CHUNK)]
    for verb, method in (("put", "PUT"), ("get", "GET")):
        words = ("write", "large", size) if verb == "put" else ("read", "large")
        ours = gateway.mib_per_second(*words, size=size)
        show(f"s3_{verb}_{name}", ours, "MiB/s")
        compare(f"s3_{verb}_{name}", "curl", ours, size / MIB / curl.run(method, pieces, IN_FLIGHT, piece),
                f"MiB/s, the same chunks, {IN_FLIGHT} at a time")  # fmt: skip
        if aws:
            there, back = aws.name("large"), directory / "large-back"
            theirs = size / MIB / timed(aws.copy, *((file, there) if verb == "put" else (there, back)))
            compare(f"s3_{verb}_{name}", "aws", ours, theirs, "MiB/s")


def bench_s3(options):
    swift = Swift()
    try:
        with new_s3(swift, "s3") as gateway:
            bucket = swift.new_container()
            aws = Aws(swift, bucket, gateway.directory) if shutil.which(AWS) else None
            if not aws:
                print(f"{AWS} is not there (package awscli): nothing is compared with it", flush=True)
            curl = Curl(swift, bucket, gateway.directory)
            small_s3(gateway, aws, curl, options)
            large_s3(gateway, aws, curl, options.large_remote_mib * MIB)
    finally:
        swift.close()


# removal -----------------------------------------------------------------------------------------------------------


def new_swift_store(swift):
    config = {"auth": swift.auth_url, "user": swift.user, "key": swift.key, "container": swift.new_container()}
    return Gateway("swift", "swift", config).start()


def bench_removal(options):
    """curl's figure is what the server makes of single removals, eight at a time."""
    swift = Swift()
    try:
        count = min(options.objects_remote, 1000)
        for name, new in (("s3", lambda: new_s3(swift, "s3-removal")), ("swift", lambda: new_swift_store(swift))):
            with new() as gateway:
                ours = removal(gateway, name, options.objects_remote, careless=False)
                curl = Curl(swift, swift.new_container(), gateway.directory)
                keys = [f"doomed/{number}" for number in range(count)]
                curl.run("PUT", keys, 8, random_file(gateway.directory / "doomed", 512))
                theirs = count / curl.run("DELETE", keys, 8)
                compare(f"{name}_gc_{options.objects_remote}_chunks", "curl", ours, theirs, "removed/s")
    finally:
        swift.close()


PARTS = {"scale": bench_scale, "localfs": bench_localfs, "s3": bench_s3, "removal": bench_removal}


def main():
    parser = argparse.ArgumentParser(description="the object store beside what else could move the same bytes")
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--objects", type=int, default=100000, help="removed with db and with localfs")
    parser.add_argument("--objects-remote", type=int, default=10000, help="removed with s3 and with swift")
    parser.add_argument("--small", type=int, default=1000, help="small objects with localfs")
    parser.add_argument("--small-remote", type=int, default=300, help="small objects with s3")
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--large-remote-mib", type=int, default=128)
    options = parser.parse_args()
    if not os.environ.get("STOWAGE_TEST_DB"):
        parser.error("no STOWAGE_TEST_DB: run it under tests/run/with-postgres")
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {' '.join(sorted(unknown))}")
    for part in options.parts or PARTS:
        PARTS[part](options)


if __name__ == "__main__":
    main()
