"""The object-store-gateway on a real OpenStack Swift (auth v1), looked at from outside with Swift's own client.

Authentication v3 with a real Keystone is in test_gateway_keystone.py. What no server can be made to do, and v2, which
no server has any more, are proved against a double that checks every field, in
tests/unit/object-store-gateway/swift_auth_test.c.
"""

import hashlib
import os
import signal
import subprocess
import threading

import pytest
from support.base import BIN, free_port, run, wait_until
from support.postgres import Postgres, psql
from support.swift import Swift
from test_gateway import CHUNK, GC_POINTS, PUT_POINTS, STORE, Gateway, Refused, sha


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="module")
def swift():
    server = Swift()
    yield server
    server.close()


class SwiftGateway(Gateway):
    def __init__(self, postgres, swift, container, **settings):
        super().__init__(postgres, "swift", **settings)
        self.swift, self.container = swift, container
        self.driver["config"] = {
            "auth": swift.auth_url,
            "user": swift.user,
            "key": swift.key,
            "container": container,
            "retry_budget": "2s",
        }

    def chunks(self, store=STORE):
        """What Swift's own client sees of a store."""
        prefix = self.driver["config"].get("anchore_key_prefix", "")
        listed = swift_client(self.swift, "list", self.container, "--prefix", f"{prefix}{store}/").decode()
        return listed.splitlines()


def swift_client(swift, *words):
    command = ["swift", "-A", swift.auth_url, "-U", swift.user, "-K", swift.key, *words]
    return subprocess.run(command, capture_output=True, timeout=30, check=True).stdout


@pytest.fixture
def new_gateway(postgres, swift):
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    made = []

    def make(start=True, container=None, config=None, **settings):
        gateway = SwiftGateway(postgres, swift, container or swift.new_container(), **settings)
        gateway.driver["config"].update(config or {})
        made.append(gateway)
        return gateway.start() if start else gateway

    yield make
    for gateway in made:
        gateway.close()


def nothing_half_there(gateway):
    """No row without bytes, after the sweep no bytes without a row, every digest right."""

    def swept():
        gateway.sweep()
        return gateway.sql("SELECT count(*) FROM objects.chunk WHERE state <> 'live'") == "0"

    wait_until(swept, "the sweep to take abandoned writes", every=0.3)
    assert "damaged" not in gateway("store_verify", store=STORE)
    stats = gateway.stats()
    assert stats["unowned_chunks"] == 0
    assert len(gateway.swift.names(gateway.container, STORE)) == stats["chunks"]


def test_what_was_put_is_got_and_another_client_sees_it_by_number_and_digest(new_gateway, swift):
    gateway = new_gateway(config={"anchore_key_prefix": "a key/Ümlaut"})
    gateway.driver["config"]["anchore_key_prefix"] += "/"
    small, large = os.urandom(5000), os.urandom(2 * CHUNK + 12345)
    gateway.put("small", small)
    gateway.put("empty", b"")
    gateway.put_large("large", large)
    assert gateway.get("small") == small and gateway.get("empty") == b""
    for offset, length in ((0, 1), (CHUNK - 3, 6), (CHUNK - 1, CHUNK), (2 * CHUNK + 12000, 4096), (len(large), 10)):
        assert gateway.get("large", offset=offset, length=length) == large[offset : offset + length]
    assert gateway("object_verify", store=STORE, bucket="b", key="large")["sha256"] == sha(large)

    names = gateway.chunks()
    assert len(names) == 4 and names == sorted(names)
    wanted = {sha(small)[7:], *(sha(large[at : at + CHUNK])[7:] for at in range(0, len(large), CHUNK))}
    assert {name.rsplit("-", 1)[1] for name in names} == wanted
    for name in names:
        held = swift_client(swift, "download", gateway.container, name, "-o", "-")
        assert hashlib.sha256(held).hexdigest() == name.rsplit("-", 1)[1]
    assert swift_client(swift, "list", gateway.container, "--prefix", "a key/Ümlaut/probe").strip() == b""

    for key in ("small", "empty", "large"):
        gateway("object_delete", store=STORE, bucket="b", key=key)
    assert gateway.sweep()["removed"] == 4
    assert gateway.chunks() == []


def test_both_stores_share_a_container_and_nothing_else(new_gateway):
    gateway = new_gateway()
    data = os.urandom(10_000)
    gateway.put("doc", data)
    gateway(
        "object_copy", from_store=STORE, from_bucket="b", from_key="doc", to_store="analysis_archive", to_bucket="b", to_key="doc"
    )
    assert (len(gateway.chunks()), len(gateway.chunks("analysis_archive"))) == (1, 1)
    gateway("object_delete", store=STORE, bucket="b", key="doc")
    gateway.sweep()
    assert (len(gateway.chunks()), len(gateway.chunks("analysis_archive"))) == (0, 1)
    assert gateway("object_verify", store="analysis_archive", bucket="b", key="doc")["sha256"] == sha(data)


def test_a_sweep_takes_many_at_once(new_gateway, swift):
    gateway = new_gateway()
    for number in range(40):
        gateway("chunk_put", payload=b"%d" % number, store=STORE, sha256=sha(b"%d" % number))
    assert len(gateway.chunks()) == 40
    assert gateway.sweep()["removed"] == 40
    assert gateway.chunks() == []
    nothing_half_there(gateway)


def test_damage_is_never_given_out(new_gateway, swift):
    gateway = new_gateway()
    data = os.urandom(10_000)
    gateway.put("doc", data)
    (name,) = gateway.chunks()
    held = gateway.directory / "held"
    held.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    swift_client(swift, "upload", gateway.container, str(held), "--object-name", name)
    refused = gateway.refuses("object_get", store=STORE, bucket="b", key="doc", offset=1, length=1)
    assert refused.code == "corrupt" and sha(data) in refused.message
    held.write_bytes(data + b"more")
    swift_client(swift, "upload", gateway.container, str(held), "--object-name", name)
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="doc").code == "corrupt"
    swift_client(swift, "delete", gateway.container, name)
    refused = gateway.refuses("object_get", store=STORE, bucket="b", key="doc")
    assert refused.code == "corrupt" and "is not there" in refused.message


def test_two_replicas_at_once(new_gateway, swift):
    first = new_gateway()
    second = new_gateway(container=first.container)
    failed = []

    def work(gateway, number):
        for n in range(10):
            data = f"{n} {number}".encode() * 1000
            gateway.put(f"{number}-{n}", data)
            if gateway.get(f"{number}-{n}") != data:
                failed.append((number, n))

    threads = [threading.Thread(target=work, args=(gateway, n % 2)) for n, gateway in enumerate((first, second) * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    nothing_half_there(first)
    assert first.stats()["chunks"] == 20


def dies(gateway, method, **body):
    with pytest.raises((Refused, subprocess.TimeoutExpired)):
        gateway(method, timeout=0.3, **body)  # it goes on when nobody waits any more
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    assert gateway.process.process.returncode == -signal.SIGKILL


def live_rows_have_bytes(gateway):
    live = gateway.sql("SELECT coalesce(string_agg(id::text, ' '), '') FROM objects.chunk WHERE state = 'live'").split()
    held = {int(name.split("/")[1].split("-")[0]) for name in gateway.swift.names(gateway.container, STORE)}
    assert held >= {int(number) for number in live}


def test_kill_9_at_every_point_within_a_put(new_gateway):
    """One gateway after the other; each finds what the one before left, and is killed at the next point."""
    gateway = new_gateway(start=False)
    for point in PUT_POINTS:
        gateway.start(fault=point)
        data = point.encode() * 500
        dies(gateway, "object_put", payload=data, store=STORE, bucket="b", key=point, sha256=sha(data))
        live_rows_have_bytes(gateway)
        there = gateway.sql(f"SELECT count(*) FROM objects.object WHERE key = '{point}'") == "1"
        assert there == (point == "commit-after"), point
    gateway.start()
    nothing_half_there(gateway)
    for point in PUT_POINTS:
        gateway.put(point, point.encode() * 500)
    nothing_half_there(gateway)
    assert [gateway.get(point) for point in PUT_POINTS] == [point.encode() * 500 for point in PUT_POINTS]


def test_kill_9_at_every_point_within_a_sweep(new_gateway):
    """The same chunks are being removed when each of four gateways is killed, and content that goes is put anew."""
    gateway = new_gateway(start=False)
    kept, gone = os.urandom(5000), os.urandom(5000)
    for point in GC_POINTS:
        gateway.start()  # and sweeps at once what the one before left
        gateway.put("kept", kept)
        gateway.put("gone", gone)
        gateway("object_delete", store=STORE, bucket="b", key="gone")
        gateway.process.kill()
        gateway.start(fault=point)
        dies(gateway, "store_gc", store=STORE, no_grace=True)
        live_rows_have_bytes(gateway)
    gateway.start()
    gateway.put("back", gone)
    nothing_half_there(gateway)
    assert gateway.get("kept") == kept and gateway.get("back") == gone


def test_swift_goes_away_and_comes_back_without_its_tokens(new_gateway, swift):
    gateway = new_gateway()
    gateway.put("before", b"before" * 1000)
    swift.stop()
    try:
        refused = gateway.refuses("object_get", store=STORE, bucket="b", key="before")
        assert refused.code == "unavailable" and gateway.container in refused.message
        refused = gateway.refuses(
            "object_put", payload=b"during", store=STORE, bucket="b", key="during", sha256=sha(b"during")
        )
        assert refused.code == "unavailable"
    finally:
        swift.start()  # memcached forgot all tokens
    assert gateway.get("before") == b"before" * 1000
    gateway.put("during", b"during")
    nothing_half_there(gateway)


def refused_at_start(gateway):
    done = subprocess.run(
        [str(BIN / "object-store-gateway"), "--config", str(gateway.configuration())], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 1, done.stderr.decode()
    return done.stderr.decode()


def test_five_reasons_not_to_start_are_told_apart(new_gateway, swift):
    not_there = f"none-{os.getpid()}"
    cases = {
        "unauthenticated": {"key": "wrong"},
        "not found": {"container": not_there},
        "forbidden": {"user": swift.stranger, "key": swift.stranger_key},
        "unavailable": {"auth": f"http://127.0.0.1:{free_port()}/auth/v1.0"},
        "internal": {"auth": f"{swift.url}/healthcheck"},
    }
    container = swift.new_container()
    said = {}
    for code, config in cases.items():
        said[code] = refused_at_start(new_gateway(start=False, container=container, config=config)).splitlines()[-1]
        assert code in said[code], said[code]
    assert swift.user in said["unauthenticated"] and "wrong" not in said["unauthenticated"]
    assert not_there in said["not found"] and "create_container" in said["not found"]
    assert container in said["forbidden"]
    assert "connection" in said["unavailable"]
    assert "not understood" in said["internal"]
    assert "container" in refused_at_start(new_gateway(start=False, config={"container": "a/b"}))
    assert "shape" in refused_at_start(new_gateway(start=False, config={"shape": "round"}))


def test_the_conformance_suite_passes_on_it(swift):
    program = BIN.parent / "unit/object-store-gateway/swift_conformance_test"
    if not program.exists():
        pytest.skip("the unit tests are not built")
    config = f"container: {swift.new_container()}, auth: '{swift.auth_url}', user: '{swift.user}', key: {swift.key}"
    done = subprocess.run(
        [str(program)], env={**os.environ, "STOWAGE_TEST_SWIFT": config}, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()[-3000:]


def test_create_container_makes_it(new_gateway, swift):
    container = f"made-{os.getpid()}"
    gateway = new_gateway(container=container, config={"create_container": True})
    gateway.put("doc", b"content" * 100)
    assert container in swift_client(swift, "list").decode().splitlines()
    assert len(gateway.chunks()) == 1


def test_a_user_who_may_only_read_is_refused_at_start(new_gateway, swift):
    container = swift.new_container()
    swift.request("POST", container, **{"X-Container-Read": swift.stranger})
    said = refused_at_start(
        new_gateway(start=False, container=container, config={"user": swift.stranger, "key": swift.stranger_key})
    )
    assert "forbidden" in said.splitlines()[-1] and container in said
    assert run("swift", "-A", swift.auth_url, "-U", swift.user, "-K", swift.key, "list", container).stdout == ""
