"""The object store beside what else could move the same bytes: dd, aws, curl; and memory, sharing and removal.

    STOWAGE_BIN=build/release/bin tests/run/with-postgres python3 tests/bench/store_bench.py [OPTION...] [PART...]

PART: scale      one object of 1 GiB and the memory that it takes, what equal content costs, removal with db and localfs
      localfs    small and large objects beside dd with fsync, and beside one process that writes and flushes
      s3         small and large objects beside the aws command line and curl, all on one server
      removal    removal with s3 and swift, beside what the server makes of the same from curl

All parts run if none is named. Prints `name value unit` lines, then `ratio name value`. The load is made by
gateway_load_bench, so that Python is never what is measured.

s3 and removal run on two servers. A real OpenStack Swift on this machine takes most of the processor: its figures say
how the clients compare, not how fast they could be. So everything small is measured once more on fast_store, a server
that costs next to nothing (s3_fast_..., swift_fast_...): there the client is what is measured.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

from store_peers import (  # noqa: E402
    LIMIT, Aws, BulkDelete, Curl, FastStore, RealSwift, dd_files, plain_files, require_tools,
)  # fmt: skip
from support.base import BIN, Daemon, new_directory, remove_directory, run  # noqa: E402

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
CHUNK = 4 * MIB
SMALL = 4 * KIB
CLIENTS = (1, 8, 64)
IN_FLIGHT = 4  # chunks of one object that store_io has on their way
NO_FLUSH = "libeatmydata.so"


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
            env={**os.environ, "LD_PRELOAD": NO_FLUSH} if careless else None,
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


def one_large_object(gateway, driver, size):
    name = f"{driver}_{{}}_{size // MIB}MiB"
    for verb, words in (("put", ("write", "large", size)), ("get", ("read", "large"))):
        gateway.restart()  # so that the memory is that of this alone
        got = gateway.load(*words)
        show(name.format(verb), size / MIB / got["seconds"], "MiB/s")
        show(f"{name.format(verb)}_gateway_peak", gateway.peak_mib(), "MiB (goal: 64)")
        show(f"{name.format(verb)}_client_peak", got["peak_kib"] / 1024, "MiB (goal: 64)")
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


def removal(gateway, name, count, careless=False):
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
        one_large_object(gateway, "db", options.large_mib * MIB)
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


def small_localfs(gateway, source, count):
    scratch = gateway.directory
    for clients in CLIENTS:
        name = f"localfs_put_4KiB_{clients}"
        ours = gateway.rate("put", f"small{clients}", count, SMALL, clients)
        show(name, ours, "puts/s")
        theirs = count / timed(dd_files, source, scratch / f"dd{clients}", count, SMALL, clients)
        compare(name, "dd", ours, theirs, "files/s (goal: 0.8)")
        if clients == 1:
            theirs = count / timed(plain_files, source, scratch / "plain", count, SMALL)
            compare(name, "one_process", ours, theirs, "files/s")
            theirs = count / timed(plain_files, source, scratch / "safe", count, SMALL, rename=True)
            compare(name, "one_process_rename", ours, theirs, "files/s, each renamed and its directory flushed, too")


def large_localfs(gateway, source, size):
    scratch, name, count = gateway.directory, f"localfs_put_{size // MIB}MiB", size // CHUNK
    ours = gateway.mib_per_second("write", "large", size, size=size)
    show(name, ours, "MiB/s")
    theirs = size / MIB / timed(dd_files, source, scratch / "dd", count, CHUNK, 1)
    compare(name, "dd", ours, theirs, f"MiB/s, the same {count} files of 4 MiB one after the other (goal: 0.8)")
    theirs = size / MIB / timed(dd_files, source, scratch / "dd-in-flight", count, CHUNK, IN_FLIGHT)
    compare(name, "dd_in_flight", ours, theirs, f"MiB/s, {IN_FLIGHT} at a time")
    show(f"localfs_get_{size // MIB}MiB", gateway.mib_per_second("read", "large", size=size), "MiB/s")


def bench_localfs(options):
    with new_localfs("localfs") as gateway:
        source = random_file(gateway.directory / "source", CHUNK)
        small_localfs(gateway, source, options.small)
        large_localfs(gateway, source, 256 * MIB)
    with new_localfs("localfs-large") as gateway:
        one_large_object(gateway, "localfs", options.large_mib * MIB)


# s3 ----------------------------------------------------------------------------------------------------------------


def new_s3(server, name):
    config = {"access_key": server.user, "secret_key": server.key, "url": server.url, "bucket": server.new_container()}
    return Gateway(name, "s3", config).start()


def files_in(directory, count, size):
    directory.mkdir()
    for number in range(count):
        (directory / str(number)).write_bytes(os.urandom(size))
    return directory


def small_aws(gateway, aws, verb, start, ours, count):
    """ours: rates by the number of clients."""
    one, all_of_them = aws.name("one"), aws.name("all")
    directory = gateway.directory
    put = verb == "put"
    source, target = (directory / "small/0", one) if put else (one, directory / "one")
    theirs = 3 / sum(timed(aws.copy, source, target) for _ in range(3))
    compare(f"{start}_1", "aws", ours[1], theirs, f"{verb}s/s, a command for each (goal: 5)")
    source, target = (directory / "small", all_of_them) if put else (all_of_them, directory / "back")
    theirs = count / timed(aws.copy, source, target, "--recursive")
    compare(f"{start}_8", "aws_recursive", ours[8], theirs, f"{verb}s/s, one command, its 10 threads")


def small_s3(server, gateway, options):
    bucket, count = server.new_container(), options.small_fast if server.label else options.small_remote
    aws, curl = Aws(server, bucket, gateway.directory), Curl(server, bucket, gateway.directory)
    files = files_in(gateway.directory / "small", count, SMALL)
    for verb, method in (("put", "PUT"), ("get", "GET")):
        start, ours = f"s3_{server.label}{verb}_4KiB", {}
        for clients in CLIENTS:
            ours[clients] = gateway.rate(verb, f"small{clients}", count, SMALL, clients)
            show(f"{start}_{clients}", ours[clients], f"{verb}s/s")
            keys = [f"curl{clients}/{number}" for number in range(count)]
            theirs = count / curl.run(method, keys, clients, files / "0")
            compare(f"{start}_{clients}", "curl", ours[clients], theirs, f"{verb}s/s")
        small_aws(gateway, aws, verb, start, ours, count)


def large_s3(server, gateway, size):
    bucket, directory, name = server.new_container(), gateway.directory, f"{size // MIB}MiB"
    aws, curl = Aws(server, bucket, directory), Curl(server, bucket, directory)
    file = random_file(directory / "large", size)
    piece = random_file(directory / "piece", CHUNK)
    pieces = [f"piece/{number}" for number in range(size // CHUNK)]
    for verb, method in (("put", "PUT"), ("get", "GET")):
        words = ("write", "large", size) if verb == "put" else ("read", "large")
        ours = gateway.mib_per_second(*words, size=size)
        show(f"s3_{verb}_{name}", ours, "MiB/s")
        theirs = size / MIB / curl.run(method, pieces, IN_FLIGHT, piece)
        compare(f"s3_{verb}_{name}", "curl", ours, theirs, f"MiB/s, the same chunks, {IN_FLIGHT} at a time")
        there, back = aws.name("large"), directory / "large-back"
        theirs = size / MIB / timed(aws.copy, *((file, there) if verb == "put" else (there, back)))
        compare(f"s3_{verb}_{name}", "aws", ours, theirs, "MiB/s (goal: 1)")


def on(kind, work, *arguments):
    server = kind()
    try:
        work(server, *arguments)
    finally:
        server.close()


def s3_on_swift(server, options):
    with new_s3(server, "s3") as gateway:
        small_s3(server, gateway, options)
        large_s3(server, gateway, options.large_remote_mib * MIB)


def s3_on_fast_store(server, options):
    with new_s3(server, "s3-fast") as gateway:
        small_s3(server, gateway, options)
        one_large_object(gateway, "s3_fast", options.large_mib * MIB)


def bench_s3(options):
    on(RealSwift, s3_on_swift, options)
    on(FastStore, s3_on_fast_store, options)


# removal -----------------------------------------------------------------------------------------------------------


def new_swift_store(server, name):
    config = {"auth": server.auth_url, "user": server.user, "key": server.key, "container": server.new_container()}
    return Gateway(name, "swift", config).start()


def removal_on_swift(server, count):
    """What the server itself can: the same number of objects, removed by curl, in bulk and one by one. A rate below the
    goal with a ratio near one is the server's."""
    for name, new in (("s3", new_s3), ("swift", new_swift_store)):
        with new(server, f"{name}-removal") as gateway:
            ours = removal(gateway, name, count)
            container = server.new_container()
            curl, bulk = (peer(server, container, gateway.directory) for peer in (Curl, BulkDelete))
            doomed = random_file(gateway.directory / "doomed", 512)
            keys = [f"doomed/{number}" for number in range(count)]
            for peer, remove in (("curl", lambda: curl.run("DELETE", keys, 8)), ("curl_bulk", lambda: bulk.run(keys, 8))):
                curl.run("PUT", keys, 8, doomed)
                compare(f"{name}_gc_{count}_chunks", peer, ours, count / remove(), "removed/s: this server's own limit")


def removal_on_fast_store(server, count):
    for name, new in (("s3_fast", new_s3), ("swift_fast", new_swift_store)):
        with new(server, f"{name.replace('_', '-')}-removal") as gateway:
            removal(gateway, name, count, careless=True)


def bench_removal(options):
    on(RealSwift, removal_on_swift, options.objects_remote)
    on(FastStore, removal_on_fast_store, options.objects_fast)


PARTS = {"scale": bench_scale, "localfs": bench_localfs, "s3": bench_s3, "removal": bench_removal}


def main():
    parser = argparse.ArgumentParser(description="the object store beside what else could move the same bytes")
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--objects", type=int, default=100000, help="removed with db and with localfs")
    parser.add_argument("--objects-fast", type=int, default=20000, help="removed from fast_store")
    parser.add_argument("--objects-remote", type=int, default=1000, help="removed from Swift")
    parser.add_argument("--small", type=int, default=1000, help="small objects with localfs")
    parser.add_argument("--small-remote", type=int, default=200, help="small objects in Swift")
    parser.add_argument("--small-fast", type=int, default=1000, help="small objects in fast_store")
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--large-remote-mib", type=int, default=128)
    options = parser.parse_args()
    if not os.environ.get("STOWAGE_TEST_DB"):
        parser.error("no STOWAGE_TEST_DB: run it under tests/run/with-postgres")
    require_tools()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {' '.join(sorted(unknown))}")
    for part in options.parts or PARTS:
        PARTS[part](options)


if __name__ == "__main__":
    main()
