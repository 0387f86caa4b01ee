"""Kill -9 between what belongs together, for what the other files do not do with every driver: a copy from one store to
the other, a chunk that is healed, and an upload that another replica goes on with."""

import contextlib
import os
import re
import signal
import subprocess
import threading

import pytest
from support.base import ROOT, wait_until
from support.postgres import psql
from support.swift import Swift
from test_gateway import CHUNK, STORE, Gateway, Refused, postgres, sha  # noqa: F401
from test_gateway_s3 import Bucket

ARCHIVE = "analysis_archive"
DRIVERS = ["db", "localfs", "s3", "swift"]
HEAL_POINTS = ["heal-after-copy", "rewrite-after-intent", "rewrite-after-backend", "rewrite-after-check", "rewrite-after-replace"]


@pytest.fixture(scope="module")
def swift():
    server = Swift()
    yield server
    server.close()


@pytest.fixture
def new_gateway(postgres, swift):  # noqa: F811
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    made = []

    def make(driver, **settings):
        gateway = Gateway(postgres, driver, scrub_rate=0, **settings)
        gateway.swift = swift
        if driver in ("s3", "swift"):
            gateway.container = swift.new_container()
        if driver == "s3":
            gateway.driver["config"] = Bucket(swift, gateway.container).config(prefix="")
        elif driver == "swift":
            gateway.driver["config"] = {
                "auth": swift.auth_url, "user": swift.user, "key": swift.key, "container": gateway.container,
            }  # fmt: skip
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.close()


def test_every_point_is_one_at_which_a_test_kills():
    """Where the gateway may be killed by name; a word in the tests is where it is."""
    points = set()
    for source in (ROOT / "services/object-store-gateway").rglob("*.c"):
        points |= set(re.findall(r'FAULT_POINT\("([a-z-]+)"\)', source.read_text()))
    tests = "".join(path.read_text() for path in (ROOT / "tests/integration").glob("test_gateway*.py"))
    assert len(points) > 30
    assert not points - set(re.findall(r'"([a-z-]+)[:"]', tests))


def held(gateway):
    """How many chunks the back end has, as others than the gateway see it."""
    driver = gateway.driver["name"]
    if driver == "localfs":
        return len(gateway.bytes_on_disk())
    if driver == "db":
        return int(gateway.sql("SELECT count(DISTINCT chunk) FROM objects.chunk_data"))
    return len(gateway.swift.names(gateway.container))


def nothing_half_there(gateway):
    """No row without bytes, after the sweep no bytes without a row, every digest right, in either store."""

    def swept():
        for store in (STORE, ARCHIVE):
            gateway.sweep(store)
        return gateway.sql("SELECT count(*) FROM objects.chunk WHERE state <> 'live'") == "0"

    wait_until(swept, "the sweep to take abandoned writes", every=0.3)
    for store in (STORE, ARCHIVE):
        assert "damaged" not in gateway("store_verify", store=store)
    assert held(gateway) == sum(gateway.stats(store)["chunks"] for store in (STORE, ARCHIVE))


def killed(gateway, act):
    """act makes the gateway pass the point at which it is killed."""
    with pytest.raises((Refused, subprocess.TimeoutExpired)):
        act()
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    assert gateway.process.process.returncode == -signal.SIGKILL


@contextlib.contextmanager
def nobody_may_write(gateway, table):
    """Whoever writes to the table waits there until the block is left."""
    lock = f"BEGIN; LOCK TABLE objects.{table} IN SHARE MODE; SELECT pg_sleep(60)"
    command = ["psql", "-X", "-q", "-h", gateway.postgres.sockets, "-U", "stowage", "-d", "stowage"]
    with subprocess.Popen(
        [str(word) for word in [*command, "-c", lock]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as holder:
        try:
            held_by = f"SELECT pid FROM pg_locks WHERE relation = 'objects.{table}'::regclass AND mode = 'ShareLock' AND granted"
            pid = wait_until(lambda: gateway.sql(held_by), "the lock")
            yield
            gateway.sql(f"SELECT pg_terminate_backend({pid})")
        finally:
            holder.kill()


@pytest.mark.parametrize("size", [5000, CHUNK - 1])
@pytest.mark.parametrize("table", ["chunk", "chunk_data", "object", "object_chunk"])
def test_kill_9_in_the_middle_of_the_transaction_of_a_put_into_the_database(new_gateway, table, size):
    """With the driver db there are no points between row, bytes and object: it is held up in the database, and killed."""
    gateway = new_gateway("db")
    gateway.start()
    gateway.put("before", b"before")
    data = os.urandom(size)
    with nobody_may_write(gateway, table):
        client = threading.Thread(target=lambda: pytest.raises(Refused, gateway.put, "doc", data, timeout=1))
        client.start()
        waiting = f"SELECT count(*) FROM pg_locks WHERE relation = 'objects.{table}'::regclass AND NOT granted"
        wait_until(lambda: gateway.sql(waiting) == "1", f"the put to come to {table}")
        gateway.process.kill()
        client.join()
    gateway.start()
    nothing_half_there(gateway)
    if gateway.sql("SELECT count(*) FROM objects.object") == "2":  # a statement that was whole when it was sent may be done
        assert gateway.get("doc") == data
    gateway.put("doc", data)
    assert gateway.get("doc") == data and gateway.get("before") == b"before"
    nothing_half_there(gateway)
    assert held(gateway) == 2


def copy(gateway, **more):
    ends = {"from_store": STORE, "from_bucket": "b", "to_store": ARCHIVE, "to_bucket": "b"}
    return gateway("object_copy", **ends, from_key="doc", to_key="doc", **more)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_copy_that_is_killed_after_each_chunk_goes_on_with_the_rest(new_gateway, driver):
    gateway = new_gateway(driver)
    gateway.start()
    data = os.urandom(2 * CHUNK + 777)
    gateway.put_large("doc", data)
    for there in (1, 2, 3):
        gateway.process.stop()
        gateway.start(fault="copy-after-chunk")
        killed(gateway, lambda: copy(gateway, timeout=1))
        chunks = gateway.sql("SELECT count(*) FROM objects.chunk WHERE store = 'analysis_archive' AND state = 'live'")
        assert int(chunks) == there  # each came one further
    gateway.start()
    assert gateway.refuses("object_head", store=ARCHIVE, bucket="b", key="doc").code == "not found"
    assert "moved_bytes" not in copy(gateway)
    nothing_half_there(gateway)
    assert held(gateway) == 6
    assert gateway("object_verify", store=ARCHIVE, bucket="b", key="doc")["sha256"] == sha(data)
    gateway("object_delete", store=STORE, bucket="b", key="doc")
    nothing_half_there(gateway)
    assert held(gateway) == 3


def lose(gateway, content):
    """The bytes of the chunk in object_store go; its row stays."""
    digest = sha(content)[7:]
    number = gateway.sql(f"SELECT id FROM objects.chunk WHERE store = '{STORE}' AND state = 'live' AND sha256 = '\\x{digest}'")
    driver = gateway.driver["name"]
    if driver == "db":
        gateway.sql(f"DELETE FROM objects.chunk_data WHERE chunk = {number}")
    elif driver == "localfs":
        next((gateway.directory / "data" / STORE).rglob(f"{digest}-*")).unlink()
    else:
        name = next(n for n in gateway.swift.names(gateway.container, f"{STORE}/") if digest in n)
        gateway.swift.request("DELETE", f"{gateway.container}/{name}")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_reader_whose_gateway_is_killed_while_it_heals_gets_the_bytes_from_the_next(new_gateway, driver):
    gateway = new_gateway(driver)
    gateway.start()
    data = os.urandom(5000)
    gateway.put("doc", data)
    copy(gateway)
    for point in HEAL_POINTS:
        lose(gateway, data)
        gateway.process.stop()
        gateway.start(fault=point)
        killed(gateway, lambda: gateway.get("doc", timeout=1))
        gateway.start()
        assert gateway.get("doc") == data
        nothing_half_there(gateway)
        assert held(gateway) == 2


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_upload_goes_on_at_another_replica_when_the_first_is_killed(new_gateway, driver):
    first, second = new_gateway(driver), new_gateway(driver)
    second.driver = first.driver
    first.start()
    second.start()
    data = os.urandom(3 * CHUNK + 99)
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    names = [sha(chunk) for chunk in chunks]
    first("chunk_put", payload=chunks[0], store=STORE, sha256=names[0])
    first("chunk_put", payload=chunks[2], store=STORE, sha256=names[2])
    first.process.kill()
    whole = {"store": STORE, "bucket": "b", "key": "doc", "size": len(data), "sha256": sha(data), "chunks": names}
    whole["metadata"] = {"content type": "application/octet-stream", "of": "Zoë"}
    early = second.refuses("object_commit", **whole)
    assert early.code == "precondition failed" and names[1] in early.message
    assert set(second("chunk_need", store=STORE, chunks=names)["missing"]) == {names[1], names[3]}
    for number in (1, 3):
        second("chunk_put", payload=chunks[number], store=STORE, sha256=names[number])
    first.start()
    first("object_commit", **whole)  # a third of it came through each
    for gateway in (first, second):
        pieces = [gateway.get("doc", offset=at, length=CHUNK) for at in range(0, len(data), CHUNK)]
        assert b"".join(pieces) == data
        head = gateway("object_head", store=STORE, bucket="b", key="doc")
        assert (head["size"], head["sha256"], head["metadata"]) == (len(data), sha(data), whole["metadata"])
    nothing_half_there(first)
