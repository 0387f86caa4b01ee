"""The object-store-gateway alone, on a real PostgreSQL: what it keeps, what it refuses, and kill -9 at every named point."""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time

import pytest
import yaml
from support.base import BIN, Daemon, free_port, new_directory, remove_directory, wait_until
from support.postgres import Postgres, psql

RPC = BIN.parent / "helpers" / "rpc_call"
STORE = "object_store"
CHUNK = 4 << 20


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Refused(AssertionError):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status
        error = json.loads(text.splitlines()[-1])
        error = error.get("error", error)
        self.code, self.message = error["code"], error["message"]


class Gateway:
    """One replica, or several on one database; with the driver and settings of a test."""

    def __init__(self, postgres, driver="db", **settings):
        self.postgres = postgres
        self.directory = new_directory("gw")
        self.settings = {"gc_grace": "1h", "gc_write_grace": "1s", "gc_interval": "1d", **settings}
        self.driver, self.sections = {"name": driver}, {}
        if driver == "localfs":
            self.driver["config"] = {"archive_data_dir": str(self.directory / "data")}
        self.endpoint = f"ipc://{self.directory}/g.ipc"
        self.process = None

    def configuration(self):
        path = self.directory / "g.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "cluster_secret": "0123456789abcdef0123456789abcdef",
                    "database": {"url": self.postgres.url},
                    "endpoints": {"gateway": [self.endpoint]},
                    "object_store_gateway": {
                        "listen": [self.endpoint],
                        "http_listen": f"127.0.0.1:{free_port()}",
                        **self.settings,
                    },
                    "object_store": {"storage_driver": self.driver},
                    **self.sections,
                }
            )
        )
        return path

    def start(self, fault=None):
        config = self.configuration()
        port = yaml.safe_load(config.read_text())["object_store_gateway"]["http_listen"]
        self.process = Daemon(
            [BIN / "object-store-gateway", "--config", config],
            self.directory / "g.log",
            env={**os.environ, **({"STOWAGE_FAULT": fault} if fault else {})},
        )
        self.process.wait_until(
            lambda: subprocess.run(["curl", "-sf", f"http://{port}/readyz"], capture_output=True, check=False).returncode == 0,
            "the gateway to be ready",
        )
        return self

    def close(self):
        if self.process and self.process.alive():
            self.process.stop()
        remove_directory(self.directory)

    def __call__(self, method, payload=None, account="a", out=False, timeout=20, **body):
        command = [RPC, "--config", self.directory / "g.yaml", "--service", "gateway", "--account", account]
        command += ["--timeout", int(timeout * 1000)]
        if payload is not None:
            sent = self.directory / f"payload-{threading.get_ident()}"
            sent.write_bytes(payload)
            command += ["--payload", sent]
        got = self.directory / f"out-{threading.get_ident()}"
        if out:
            command += ["--out", got]
        done = subprocess.run(
            [str(w) for w in [*command, method]], input=json.dumps(body).encode(), capture_output=True, timeout=60, check=False
        )
        if done.returncode:
            raise Refused(done.returncode, done.stderr.decode())
        return got.read_bytes() if out else json.loads(done.stdout)

    def put(self, key, data, store=STORE, bucket="b", **more):
        return self("object_put", payload=data, store=store, bucket=bucket, key=key, sha256=sha(data), **more)

    def put_large(self, key, data, store=STORE):
        chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        for chunk in chunks:
            self("chunk_put", payload=chunk, store=store, sha256=sha(chunk))
        names = [sha(chunk) for chunk in chunks]
        return self("object_commit", store=store, bucket="b", key=key, size=len(data), sha256=sha(data), chunks=names)

    def get(self, key, store=STORE, bucket="b", **more):
        return self("object_get", out=True, store=store, bucket=bucket, key=key, **more)

    def stats(self, store=STORE):
        return self("store_stats", store=store)

    def sweep(self, store=STORE, **more):
        return self("store_gc", store=store, no_grace=True, **more)

    def sql(self, statement):
        rows = psql(self.postgres.sockets, statement)
        return rows[0][0] if rows else ""

    def bytes_on_disk(self):
        data = self.directory / "data"
        return sorted(str(p.relative_to(data)) for p in data.rglob("*") if p.is_file())

    def refuses(self, method, **body):
        with pytest.raises(Refused) as refused:
            self(method, **body)
        return refused.value


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def new_gateway(postgres):
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    made = []

    def make(driver="db", start=True, **settings):
        gateway = Gateway(postgres, driver, **settings)
        made.append(gateway)
        return gateway.start() if start else gateway

    yield make
    for gateway in made:
        gateway.close()


@pytest.mark.parametrize("driver", ["db", "mem", "localfs"])
def test_what_was_put_is_got_whole_and_in_ranges(new_gateway, driver):
    gateway = new_gateway(driver)
    small, large = b"hello", os.urandom(2 * CHUNK + 12345)
    gateway.put("small", small)
    gateway.put("empty", b"")
    gateway.put_large("large", large)
    assert gateway.get("small") == small
    assert gateway.get("empty") == b""
    assert gateway.get("large") == large[:CHUNK]
    for offset, length in ((0, 1), (CHUNK - 3, 6), (CHUNK - 1, CHUNK), (2 * CHUNK + 12000, 4096), (len(large), 10), (1 << 40, 1)):
        assert gateway.get("large", offset=offset, length=length) == large[offset : offset + length]
    head = gateway("object_head", store=STORE, bucket="b", key="large")
    assert (head["size"], head["sha256"], len(head["chunks"])) == (len(large), sha(large), 3)
    assert gateway("object_verify", store=STORE, bucket="b", key="large")["sha256"] == sha(large)


def test_equal_content_is_stored_once_whatever_its_name(new_gateway):
    gateway = new_gateway()
    data = os.urandom(100_000)
    assert gateway.put("one", data)["stored_bytes"] == 100_000
    assert "stored_bytes" not in gateway.put("two", data)
    gateway("object_put", payload=data, account="other", store=STORE, bucket="b", key="three", sha256=sha(data))
    gateway("object_link", store=STORE, from_bucket="b", from_key="one", bucket="c", key="four")
    stats = gateway.stats()
    assert (stats["objects"], stats["chunks"], stats["logical_bytes"], stats["stored_bytes"]) == (4, 1, 400_000, 100_000)


def test_compression_is_kept_only_where_it_helps(new_gateway):
    gateway = new_gateway()
    gateway.put("words", b"to be or not to be " * 5000)
    gateway.put("noise", os.urandom(50_000))
    by_codec = {b["codec"]: b for b in gateway.stats()["backends"]}
    assert by_codec["zstd"]["stored_bytes"] < 1000 < 95_000 == by_codec["zstd"]["bytes"]
    assert by_codec["none"]["stored_bytes"] == by_codec["none"]["bytes"] == 50_000


def test_each_store_compresses_as_its_section_says(new_gateway):
    gateway = new_gateway(start=False)
    driver = {"storage_driver": gateway.driver}
    gateway.sections = {
        "object_store": {**driver, "compression": {"enabled": True, "min_size_kbytes": 20, "level": 1}},
        "analysis_archive": {**driver, "compression": {"enabled": True, "level": 19}},
    }
    small = " ".join(str(n * n) for n in range(2000)).encode()
    large = " ".join(str(n * n * n) for n in range(20000)).encode()
    assert 10_000 < len(small) < 20 * 1024 < len(large)

    def stored():
        gateway.start()
        sizes = {}
        for store in (STORE, "analysis_archive"):
            for key, data in (("small", small), ("large", large)):
                sizes[store, key] = gateway.put(key, data, store=store)["stored_bytes"]
                assert gateway.get(key, store=store) == data
                gateway("object_delete", store=store, bucket="b", key=key)
            gateway.sweep(store)
        gateway.process.stop()
        return sizes

    sizes = stored()
    assert sizes[STORE, "small"] == len(small)
    assert sizes["analysis_archive", "small"] < len(small) // 2
    assert sizes["analysis_archive", "large"] < sizes[STORE, "large"] * 0.95 < len(large) * 0.6
    gateway.sections["analysis_archive"]["compression"]["enabled"] = False
    assert stored()["analysis_archive", "large"] == len(large)


def test_metadata_comes_back_with_the_object_and_goes_with_its_copies(new_gateway):
    gateway = new_gateway()
    notes = {"content type": "text/plain", "von": "Zoë \U0001f980", "empty": ""}
    gateway.put("doc", b"doc", metadata=notes)
    gateway.put("bare", b"bare")
    gateway("object_link", store=STORE, from_bucket="b", from_key="doc", bucket="c", key="link")
    ends = {"from_store": STORE, "from_bucket": "b", "from_key": "doc", "to_bucket": "b", "to_key": "copy"}
    gateway("object_copy", **ends, to_store="analysis_archive")
    for store, bucket, key in ((STORE, "b", "doc"), (STORE, "c", "link"), ("analysis_archive", "b", "copy")):
        assert gateway("object_head", store=store, bucket=bucket, key=key)["metadata"] == notes
    assert not gateway("object_head", store=STORE, bucket="b", key="bare").get("metadata")
    gateway.put("doc", b"doc")  # is replaced with all that belonged to it
    assert not gateway("object_head", store=STORE, bucket="b", key="doc").get("metadata")


def test_listing_pages_by_key(new_gateway):
    gateway = new_gateway()
    keys = [f"p/{n:03}" for n in range(25)] + ["q", "p%", "p_x"]
    for key in keys:
        gateway.put(key, key.encode())
    found, after = [], ""
    while True:
        page = gateway("object_list", store=STORE, bucket="b", prefix="p/", after=after, limit=10)
        found += [item["key"] for item in page["items"]]
        if not page.get("more"):
            break
        after = found[-1]
    assert found == keys[:25]
    assert gateway("object_delete_prefix", store=STORE, bucket="b", prefix="p%")["deleted"] == 1
    assert gateway("object_delete", store=STORE, bucket="b", key="nothing here") == {}


def test_what_it_refuses_names_the_thing(new_gateway):
    gateway = new_gateway()
    data = b"content"
    wrong = gateway.refuses("object_put", payload=data, store=STORE, bucket="b", key="k", sha256=sha(b"other"))
    assert wrong.code == "invalid" and sha(data) in wrong.message
    absent = gateway.refuses(
        "object_commit", store=STORE, bucket="b", key="k", size=7, sha256=sha(data), chunks=[sha(data)]
    )
    assert absent.code == "precondition failed" and sha(data) in absent.message
    gateway("chunk_put", payload=data, store=STORE, sha256=sha(data))
    assert gateway.refuses(
        "object_commit", store=STORE, bucket="b", key="k", size=8, sha256=sha(data), chunks=[sha(data)]
    ).code == "invalid"  # fmt: skip
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="no such").code == "not found"
    assert gateway.refuses("object_get", store="nowhere", bucket="b", key="k").code == "not found"
    assert gateway.refuses("object_get", store=STORE, bucket="../b", key="k").code == "invalid"
    assert gateway.refuses("object_get", account="", store=STORE, bucket="b", key="k").code == "invalid"
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="k", offset=-1).code == "invalid"
    assert gateway.stats()["objects"] == 0


def test_stores_and_accounts_are_kept_apart_and_a_copy_survives_its_source(new_gateway):
    gateway = new_gateway()
    data = os.urandom(CHUNK + 77)
    gateway.put_large("doc", data)
    copied = gateway(
        "object_copy", from_store=STORE, from_bucket="b", from_key="doc", to_store="analysis_archive", to_bucket="b", to_key="doc"
    )
    assert copied["moved_bytes"] == len(data)
    assert gateway.refuses("object_get", account="other", store=STORE, bucket="b", key="doc").code == "not found"
    gateway("object_delete", store=STORE, bucket="b", key="doc")
    assert gateway.sweep()["removed"] == 2
    assert gateway.stats()["chunks"] == 0
    assert gateway("object_verify", store="analysis_archive", bucket="b", key="doc")["sha256"] == sha(data)
    again = gateway(
        "object_copy", from_store="analysis_archive", from_bucket="b", from_key="doc", to_store="analysis_archive",
        to_bucket="b", to_key="second",
    )  # fmt: skip
    assert "moved_bytes" not in again


@pytest.mark.parametrize("driver", ["db", "localfs"])
def test_damage_is_never_given_out(new_gateway, driver):
    gateway = new_gateway(driver)
    data = os.urandom(10_000)
    gateway.put("doc", data)
    gateway.put("twin", data)
    if driver == "db":
        gateway.sql("UPDATE objects.chunk_data SET bytes = set_byte(bytes, 5000, (get_byte(bytes, 5000) + 1) % 256)")
    else:
        path = gateway.directory / "data" / gateway.bytes_on_disk()[0]
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    refused = gateway.refuses("object_get", store=STORE, bucket="b", key="doc", offset=1, length=1)
    assert refused.code == "corrupt"
    assert "b/doc" in refused.message and sha(data) in refused.message
    damaged = gateway("store_verify", store=STORE)["damaged"]
    assert [(d["sha256"], d["objects"]) for d in damaged] == [(sha(data), ["a/b/doc", "a/b/twin"])]
    if driver == "db":
        gateway.sql("DELETE FROM objects.chunk_data")
    else:
        path.unlink()
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="doc").code == "corrupt"
    assert "chunk damaged" in (gateway.directory / "g.log").read_text()


def test_the_sweep_takes_only_what_nobody_names_and_nobody_touched(new_gateway):
    gateway = new_gateway()
    gateway.put("kept", b"kept")
    gateway("chunk_put", payload=b"loose", store=STORE, sha256=sha(b"loose"))
    assert gateway("store_gc", store=STORE) == {}  # within the grace period
    gateway.put("replaced", b"old")
    assert gateway.put("replaced", b"new")["replaced"]
    removed = gateway.sweep()
    assert removed["removed"] == 2
    assert gateway.get("kept") == b"kept" and gateway.get("replaced") == b"new"
    assert gateway.stats()["unowned_chunks"] == 0
    assert gateway("chunk_need", store=STORE, chunks=[sha(b"kept"), sha(b"loose")])["missing"] == [sha(b"loose")]


def test_a_sweep_without_pause_never_takes_a_chunk_from_under_a_commit(new_gateway):
    gateway = new_gateway(gc_grace="0s", gc_interval="100ms")
    lost = []

    def work(number):
        for n in range(12):
            data = f"{number % 2} {n}".encode() * 100
            for attempt in range(20):
                try:
                    gateway.put(f"{number}", data)
                    break
                except Refused as refused:  # the sweep was faster: said, and put again
                    assert refused.code in ("precondition failed", "conflict"), refused
            if gateway.get(f"{number}") != data:
                lost.append((number, n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost
    assert "damaged" not in gateway("store_verify", store=STORE)


PUT_POINTS = ["put-after-intent", "put-after-backend", "put-after-live", "commit-before", "commit-after"]
GC_POINTS = ["gc-after-condemned", "gc-before-remove", "gc-after-remove", "gc-after-rows"]


def nothing_half_there(gateway):
    """No row without bytes, after the sweep no bytes without a row, every digest right."""
    def swept():
        gateway.sweep()
        return gateway.sql("SELECT count(*) FROM objects.chunk WHERE state <> 'live'") == "0"

    wait_until(swept, "the sweep to take abandoned writes", every=0.3)
    verified = gateway("store_verify", store=STORE)
    assert "damaged" not in verified
    stats = gateway.stats()
    assert stats["unowned_chunks"] == 0
    if gateway.driver["name"] == "localfs":
        assert len(gateway.bytes_on_disk()) == stats["chunks"]
    else:
        assert int(gateway.sql("SELECT count(DISTINCT chunk) FROM objects.chunk_data")) == stats["chunks"]


# With the driver db, row and bytes of a chunk are one transaction: there are no points between them.
PUTS = [("localfs", point) for point in PUT_POINTS] + [("db", point) for point in PUT_POINTS if point.startswith("commit-")]


@pytest.mark.parametrize(("driver", "point"), PUTS)
def test_kill_9_within_a_put(new_gateway, driver, point):
    gateway = new_gateway(driver, start=False)
    gateway.start(fault=point)
    data = os.urandom(5000)
    with pytest.raises((Refused, subprocess.TimeoutExpired)):
        gateway.put("doc", data, timeout=2)
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    assert gateway.process.process.returncode == -signal.SIGKILL
    gateway.start()
    there = gateway.sql("SELECT count(*) FROM objects.object") == "1"
    assert there == (point == "commit-after")
    nothing_half_there(gateway)
    gateway.put("doc", data)
    assert gateway.get("doc") == data
    nothing_half_there(gateway)


@pytest.mark.parametrize("driver", ["db", "localfs"])
@pytest.mark.parametrize("point", GC_POINTS)
def test_kill_9_within_a_sweep(new_gateway, driver, point):
    gateway = new_gateway(driver, start=False)
    gateway.start()
    kept, gone = os.urandom(5000), os.urandom(5000)
    gateway.put("kept", kept)
    gateway.put("gone", gone)
    gateway("object_delete", store=STORE, bucket="b", key="gone")
    gateway.process.stop()
    gateway.start(fault=point)
    with pytest.raises((Refused, subprocess.TimeoutExpired)):
        gateway("store_gc", store=STORE, no_grace=True, timeout=2)
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    gateway.start()
    gateway.put("back", gone)  # content that is being deleted is written anew
    nothing_half_there(gateway)
    assert gateway.get("kept") == kept and gateway.get("back") == gone


def test_two_replicas_commit_one_key_at_once_and_one_of_them_is_whole(new_gateway, postgres):
    first, second = new_gateway("localfs"), new_gateway("localfs", start=False)
    second.driver = first.driver
    second.start()
    data = {gateway: os.urandom(CHUNK + 1000) for gateway in (first, second)}

    def work(gateway):
        for _ in range(5):
            gateway.put_large("contended", data[gateway])

    threads = [threading.Thread(target=work, args=(gateway,)) for gateway in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = first.get("contended") + first.get("contended", offset=CHUNK)
    assert whole in data.values()
    first.sweep()
    assert first.stats()["chunks"] == 2
    assert len(first.bytes_on_disk()) == 2


def test_64_mib_come_back_and_are_stored_once(new_gateway):
    gateway = new_gateway()
    data = os.urandom(16 * CHUNK)
    gateway.put_large("first", data)
    gateway.put_large("second", data)
    assert gateway("object_verify", store=STORE, bucket="b", key="second")["sha256"] == sha(data)
    pieces = [gateway.get("first", offset=at) for at in range(0, len(data), CHUNK)]
    assert b"".join(pieces) == data
    stats = gateway.stats()
    assert (stats["chunks"], stats["stored_bytes"], stats["logical_bytes"]) == (16, len(data), 2 * len(data))


@pytest.mark.parametrize("driver", ["db", "localfs"])
def test_replicas_and_database_killed_in_turn_lose_nothing_that_was_acknowledged(new_gateway, postgres, driver):
    """Two replicas behind one client; whatever was answered with success is there in the end, whole."""
    replicas = [new_gateway(driver), new_gateway(driver, start=False)]
    replicas[1].driver = replicas[0].driver
    replicas[1].start()
    acknowledged, over = {}, threading.Event()

    def work(number):
        for n in itertools.count():
            if over.is_set():
                return
            data = os.urandom(1000) + b"some words " * (n % 7) * 500
            try:
                replicas[(number + n) % 2].put(f"{number}/{n}", data, timeout=5)
                acknowledged[f"{number}/{n}"] = data
            except (Refused, subprocess.TimeoutExpired):
                pass  # it may be there or not

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for round_number in range(4):
            time.sleep(0.7)
            replicas[round_number % 2].process.kill()
            replicas[round_number % 2].start()
        os.kill(postgres.pid, signal.SIGKILL)
        postgres.start()
        before = len(acknowledged)
        wait_until(lambda: len(acknowledged) > before + 5, "puts to succeed again")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(acknowledged) > 20
    for key, data in acknowledged.items():
        assert replicas[0].get(key) == data
    nothing_half_there(replicas[0])


def test_postgresql_killed_and_back(new_gateway, postgres):
    gateway = new_gateway()
    gateway.put("before", b"before")
    os.kill(postgres.pid, signal.SIGKILL)
    with pytest.raises(Refused) as refused:
        gateway.put("during", b"during", timeout=3)
    assert refused.value.code in ("unavailable", "deadline exceeded")
    postgres.start()
    wait_until(lambda: _works(gateway), "the gateway to work again")
    assert gateway.get("before") == b"before"
    nothing_half_there(gateway)


def _works(gateway):
    try:
        return gateway.put("after", b"after", timeout=3) is not None
    except Refused:
        return False


def test_a_full_disk_is_said_and_leaves_nothing(new_gateway):
    gateway = new_gateway("localfs", start=False)
    data = gateway.directory / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(data)], check=True)
    try:
        gateway.start()
        gateway.put("fits", os.urandom(300_000))
        refused = gateway.refuses(
            "object_put", payload=(big := os.urandom(2_000_000)), store=STORE, bucket="b", key="big", sha256=sha(big)
        )
        assert refused.code == "resource exhausted"
        nothing_half_there(gateway)
        gateway.put("still fits", os.urandom(300_000))
        gateway.process.stop()
    finally:
        subprocess.run(["umount", str(data)], check=True)


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        ({"name": "tape"}, "tape"),
        ({"name": "localfs"}, "archive_data_dir"),
        ({"name": "localfs", "config": {"archive_data_dir": "/proc/nowhere"}}, "/proc/nowhere"),
        ({"name": "db", "config": {"colour": "red"}}, "colour"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_start(new_gateway, driver, says):
    gateway = new_gateway(start=False)
    gateway.driver = driver
    done = subprocess.run(
        [str(BIN / "object-store-gateway"), "--config", str(gateway.configuration())], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert says in done.stderr.decode()
