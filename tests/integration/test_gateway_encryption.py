"""Encryption at rest: what the back ends hold is of no use without the keys, which change while the system serves."""

import base64
import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import threading

import pytest
import yaml
import zstandard
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from support.base import BIN, run, wait_until
from support.postgres import psql
from test_gateway import CHUNK, STORE, Gateway, Refused, nothing_half_there, postgres, sha  # noqa: F401

KEYS = {name: os.urandom(32) for name in ("k1", "k2", "k3")}
POINTS = ["rewrite-after-intent", "rewrite-after-backend", "rewrite-after-check", "rewrite-after-replace"]
NEEDLE = b"nobody may read this line 4711\n"


def keys(*names):
    """As the configuration wants them."""
    return "\n".join(f"{name}:{base64.b64encode(KEYS[name]).decode()}" for name in names)


class KeyedGateway(Gateway):
    encryption = None  # what stands below object_store.encryption

    def configuration(self):
        path = super().configuration()
        tree = yaml.safe_load(path.read_text())
        if self.encryption is not None:
            tree["object_store"]["encryption"] = self.encryption
        path.write_text(yaml.safe_dump(tree))
        return path

    def restart(self, *names, fault=None):
        """With these keys, in a file; without any, without encryption."""
        if self.process and self.process.alive():
            self.process.stop()
        file = self.directory / "keys"
        file.write_text(keys(*names) + "\n")
        self.encryption = {"keys_file": str(file)} if names else None
        return self.start(fault=fault)

    def log(self):
        return (self.directory / "g.log").read_text()

    def rekey(self, status=0):
        done = run(BIN / "stowage", "--config", self.directory / "g.yaml", "--json", "store", "rekey", STORE, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)

    def cipher_keys(self):
        """How many live chunks name which key."""
        rows = psql(self.postgres.sockets, "SELECT cipher_key, count(*) FROM objects.chunk WHERE state = 'live' GROUP BY 1")
        return {key: int(count) for key, count in rows}

    def dump(self):
        """Everything that the back end holds, file by file or row by row."""
        if self.driver["name"] == "localfs":
            data = self.directory / "data"
            return [(data / name).read_bytes() for name in self.bytes_on_disk()]
        rows = psql(self.postgres.sockets, "SELECT encode(bytes, 'hex') FROM objects.chunk_data")
        return [bytes.fromhex(row[0]) for row in rows]


@pytest.fixture
def new_gateway(postgres):  # noqa: F811
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    made = []

    def make(driver="db", names=("k1",), **settings):
        gateway = KeyedGateway(postgres, driver, **settings)
        made.append(gateway)
        return gateway.restart(*names)

    yield make
    logs = [gateway.log() for gateway in made]
    for gateway in made:
        gateway.close()
    for log, key in itertools.product(logs, KEYS.values()):
        assert base64.b64encode(key).decode()[:43] not in log and key.hex() not in log


def fill(gateway, count):
    data = {f"doc-{n}": NEEDLE * (n + 1) + os.urandom(n) for n in range(count)}
    for key, content in data.items():
        gateway.put(key, content)
    return data


def all_there(gateway, data):
    for key, content in data.items():
        got = b"".join(gateway.get(key, offset=at) for at in range(0, len(content), CHUNK))
        assert got == content, key


def read_independently(gateway, sha256):
    """What README.md says of the stored form, by other libraries."""
    row = psql(
        gateway.postgres.sockets,
        f"SELECT id, codec, cipher_key FROM objects.chunk WHERE state = 'live' AND sha256 = '\\x{sha256.hex()}'",
    )
    number, codec, key_id = row[0]
    if gateway.driver["name"] == "localfs":
        path = next((gateway.directory / "data").rglob(f"{sha256.hex()}-{number}"))
        box = path.read_bytes()
    else:
        rows = psql(
            gateway.postgres.sockets, f"SELECT encode(bytes, 'hex') FROM objects.chunk_data WHERE chunk = {number} ORDER BY seq"
        )
        box = b"".join(bytes.fromhex(r[0]) for r in rows)
    binding = b"".join(text.encode() + b"\0" for text in ("stowage chunk 1", STORE, key_id, codec)) + sha256
    key = HKDF(hashes.SHA256(), 32, None, binding).derive(KEYS[key_id])
    plain = AESGCM(key).decrypt(box[:12], box[12:], binding)
    return zstandard.ZstdDecompressor().decompress(plain, max_output_size=CHUNK) if codec == "zstd" else plain


@pytest.mark.parametrize("driver", ["db", "localfs"])
def test_the_back_end_holds_nothing_that_can_be_read(new_gateway, driver):
    gateway = new_gateway(driver)
    large = os.urandom(CHUNK)  # does not compress: what is stored is larger than a chunk
    gateway.put("short", NEEDLE)
    gateway.put("words", NEEDLE * 500)
    gateway.put("large", large)
    all_there(gateway, {"short": NEEDLE, "words": NEEDLE * 500, "large": large})
    held = gateway.dump()
    assert len(held) >= 3 and sum(len(piece) for piece in held) > CHUNK
    for piece in held:
        assert NEEDLE[:10] not in piece and large[:16] not in piece and b"\x28\xb5\x2f\xfd" not in piece[:40]
    everything = run("pg_dump", "-h", gateway.postgres.sockets, "-U", "stowage", "stowage").stdout
    for plain in (NEEDLE[:10].decode(), NEEDLE[:10].hex(), large[:16].hex()):
        assert plain not in everything
    for content in (NEEDLE, NEEDLE * 500, large):
        assert read_independently(gateway, hashlib.sha256(content).digest()) == content
    assert "damaged" not in gateway("store_verify", store=STORE)
    assert gateway.cipher_keys() == {"k1": 3}
    nothing_half_there(gateway)


def test_keys_come_from_the_environment_and_none_is_none(new_gateway, monkeypatch):
    gateway = new_gateway(names=())
    gateway.encryption = {"keys": "${STOWAGE_TEST_KEYS:-}"}
    gateway.process.stop()
    gateway.start()
    gateway.put("plain", NEEDLE)
    monkeypatch.setenv("STOWAGE_TEST_KEYS", keys("k2").replace("\n", ","))
    gateway.process.stop()
    gateway.start()
    gateway.put("sealed", NEEDLE * 2)
    assert gateway.cipher_keys() == {"": 1, "k2": 1}
    all_there(gateway, {"plain": NEEDLE, "sealed": NEEDLE * 2})


def refused_at_start(gateway):
    gateway.process.stop()
    done = subprocess.run(
        [str(BIN / "object-store-gateway"), "--config", str(gateway.configuration())],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stdout + done.stderr


def test_keys_that_cannot_be_right_end_the_start_and_are_not_shown(new_gateway):
    gateway = new_gateway()
    secret = base64.b64encode(KEYS["k2"]).decode()
    for text, says in (
        (f"k1:{secret[:-4]}", "object_store.encryption.keys: key k1 (entry 1) is not the base64 of 32 bytes"),
        (secret, "entry 1 is not ID:KEY"),
        (f"k1:{secret},k1:{secret}", "there are two keys k1"),
        (f"k1:{secret}", "key k1 is not the one that encrypted chunks under this ID"),
    ):
        gateway.encryption = {"keys": text}
        said = refused_at_start(gateway)
        assert says in said
        assert secret[:20] not in said
    empty = gateway.directory / "empty"
    empty.write_text("\n")
    gateway.encryption = {"keys_file": str(empty)}
    assert "holds no key" in refused_at_start(gateway)
    gateway.encryption = {"keys_file": "/nowhere/keys"}
    assert "/nowhere/keys" in refused_at_start(gateway)
    gateway.encryption = {"keys": keys("k1"), "colour": "red"}
    said = refused_at_start(gateway)
    assert "encryption.colour" in said and secret[:20] not in said


def test_the_configuration_is_printed_without_keys(new_gateway):
    gateway = new_gateway()
    gateway.encryption = {"keys": keys("k1")}
    config = gateway.configuration()
    said = run(BIN / "object-store-gateway", "--config", config, "--print-config").stdout
    assert "encryption" in said and base64.b64encode(KEYS["k1"]).decode()[:20] not in said


def test_a_key_that_is_not_configured_is_said_and_is_no_damage(new_gateway):
    gateway = new_gateway("localfs")
    data = fill(gateway, 5)
    gateway.restart("k2")
    warning = next(line for line in gateway.log().splitlines() if "their key is not configured" in line)
    assert "key=k1" in warning and "chunks=5" in warning and "WARN" in warning
    refused = gateway.refuses("object_get", store=STORE, bucket="b", key="doc-0")
    assert refused.code == "unavailable" and "key k1, which is not configured" in refused.message
    gateway.put("doc-0", data["doc-0"])  # who has it may put it again
    assert gateway.get("doc-0") == data["doc-0"]
    said = gateway.rekey(status=1)
    assert said["failed"] == 4 and said["left"] == 4
    assert all("key k1" in failure["reason"] for failure in said["failures"])
    gateway.restart("k2", "k1")
    all_there(gateway, data)
    assert gateway.sql("SELECT count(*) FROM objects.chunk WHERE damaged") == "0"
    assert gateway.rekey()["rewritten"] == 4
    gateway.restart("k2")
    all_there(gateway, data)
    assert gateway.log().count("their key is not configured") == 1


def test_damage_of_an_encrypted_chunk_is_corrupt(new_gateway):
    gateway = new_gateway("localfs")
    gateway.put("doc", NEEDLE * 100)
    path = gateway.directory / "data" / gateway.bytes_on_disk()[0]
    for at in (0, 12, -1):
        good = path.read_bytes()
        bad = bytearray(good)
        bad[at] ^= 1
        path.write_bytes(bytes(bad))
        refused = gateway.refuses("object_get", store=STORE, bucket="b", key="doc")
        assert refused.code == "corrupt" and "does not decrypt" in refused.message
        path.write_bytes(good)
    assert gateway.get("doc") == NEEDLE * 100


@pytest.mark.parametrize("driver", ["db", "localfs"])
def test_encryption_is_switched_on_and_off_for_what_is_there(new_gateway, driver):
    gateway = new_gateway(driver, names=())
    data = fill(gateway, 8)
    assert any(NEEDLE in piece for piece in gateway.dump())
    gateway.restart("k1")
    all_there(gateway, data)
    said = gateway.rekey()
    assert (said["key"], said["rewritten"], said.get("failed", 0), said.get("left", 0)) == ("k1", 8, 0, 0)
    gateway.sweep()
    assert not any(NEEDLE[:10] in piece for piece in gateway.dump())
    all_there(gateway, data)
    gateway.restart()
    assert gateway.rekey(status=1)["failed"] == 8  # the key is needed once more
    gateway.process.stop()
    gateway.encryption = {"keys": "none," + keys("k1")}
    gateway.start()
    all_there(gateway, data)
    said = gateway.rekey()
    assert (said["key"], said["rewritten"], said.get("failed", 0), said.get("left", 0)) == ("none", 8, 0, 0)
    gateway.restart()
    all_there(gateway, data)
    nothing_half_there(gateway)
    assert any(NEEDLE in piece for piece in gateway.dump())


def test_the_command_line_tells_keys_apart(new_gateway):
    gateway = new_gateway("localfs")
    fill(gateway, 3)
    gateway.restart("k2", "k1")
    gateway.put("new", NEEDLE * 77)

    def stowage(*words):
        return run(BIN / "stowage", "--config", gateway.directory / "g.yaml", *words).stdout

    assert re.search(r"object_store +localfs +yes +key k2", stowage("store", "ls"))
    assert json.loads(stowage("--json", "store", "ls"))["items"][0]["cipher_key"] == "k2"
    said = stowage("store", "stats", STORE)
    assert re.search(r"in localfs, none, key k1: +3 chunks", said) and re.search(r"in localfs, zstd, key k2: +1 chunk", said)
    used = json.loads(stowage("--json", "store", "stats", STORE))["backends"]
    assert sorted((u["cipher_key"], u["chunks"]) for u in used) == [("k1", 3), ("k2", 1)]
    said = stowage("store", "rekey", STORE)
    assert "3 chunks rewritten" in said and "key: k2" in said
    assert "0 chunks rewritten" in stowage("store", "rekey", STORE)
    gateway.restart()
    assert "cipher_key" not in json.loads(stowage("--json", "store", "ls"))["items"][0]


class Traffic:
    """Puts, reads and deletes through all replicas; what went wrong is kept."""

    def __init__(self, replicas):
        self.replicas, self.over, self.wrong, self.data = replicas, threading.Event(), [], {}
        self.threads = [threading.Thread(target=self._work, args=(n,)) for n in range(2)]
        self.rounds = self.answers = 0

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _try(self, what):
        """One replica at a time is restarted: then the others answer."""
        for _ in range(40):
            try:
                return what(self.replicas[self.answers % len(self.replicas)])
            except Refused as refused:
                if refused.code not in ("unavailable", "deadline exceeded"):
                    raise
                self.answers += 1
        raise AssertionError("no replica answers")

    def _work(self, number):
        try:
            for n in itertools.count():
                if self.over.is_set():
                    return
                key, content = f"traffic-{number}-{n}", NEEDLE * (n % 50 + 1) + f"{number} {n}".encode()
                self._try(lambda g: g.put(key, content, timeout=3))
                if self._try(lambda g: g.get(key, timeout=3)) != content:
                    self.wrong.append(key)
                if n % 3 == 0:
                    self._try(lambda g: g("object_delete", store=STORE, bucket="b", key=key, timeout=3))
                else:
                    self.data[key] = content
                self.rounds += 1
        except Exception as error:  # noqa: BLE001 - shown by the test
            self.wrong.append(repr(error))

    def goes_on(self, rounds=4):
        before = self.rounds
        wait_until(lambda: self.wrong or self.rounds >= before + rounds, "the traffic to go on", seconds=60)
        assert not self.wrong, self.wrong


def test_keys_rotate_without_an_interruption(new_gateway, postgres):  # noqa: F811
    """The recipe of README.md with two replicas on one directory."""
    first = new_gateway("localfs")
    second = KeyedGateway(postgres, "localfs")
    second.driver = first.driver
    try:
        second.restart("k1")
        data = fill(first, 8)
        with Traffic([first, second]) as traffic:
            traffic.goes_on()
            for names in (("k1", "k2"), ("k2", "k1")):  # first everywhere known, then used
                for replica in (first, second):
                    replica.restart(*names)
                    traffic.answers += 1  # both are asked
                    traffic.goes_on()
                all_there(first, {**data, **traffic.data})
                all_there(second, data)
            assert set(first.cipher_keys()) == {"k1", "k2"}
            refused = second.refuses("store_rekey", store=STORE, key="k1")
            assert refused.code == "precondition failed" and "k2" in refused.message
            said = first.rekey()
            assert said["rewritten"] >= 8 and said.get("failed", 0) == 0
            first.sweep()
            for replica in (first, second):
                replica.restart("k2")
                traffic.goes_on()
        assert not traffic.wrong
        assert traffic.rounds > 20
        for replica in (first, second):
            all_there(replica, {**data, **traffic.data})
        assert set(first.cipher_keys()) == {"k2"}
        nothing_half_there(first)
        assert not any(NEEDLE[:10] in piece for piece in first.dump())
    finally:
        second.close()


@pytest.mark.parametrize("driver", ["db", "localfs"])
@pytest.mark.parametrize("point", POINTS)
def test_kill_9_within_rekeying(new_gateway, driver, point):
    gateway = new_gateway(driver)
    data = fill(gateway, 7)
    gateway.restart("k2", "k1", fault=f"{point}:4")
    with pytest.raises((Refused, subprocess.TimeoutExpired)):
        gateway("store_rekey", store=STORE, timeout=1)
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    assert gateway.process.process.returncode == -signal.SIGKILL
    gateway.restart("k2", "k1")
    all_there(gateway, data)
    gateway.rekey()
    assert gateway.cipher_keys() == {"k2": 7}
    nothing_half_there(gateway)
    gateway.restart("k2")
    all_there(gateway, data)


def test_kill_9_again_and_again_while_rekeying_under_traffic(new_gateway):
    """The same store goes to and fro between two keys; in the end all of it is under one, and nothing is lost."""
    gateway = new_gateway("localfs")
    data = fill(gateway, 30)
    with Traffic([gateway]) as traffic:
        for names in (("k2", "k1"), ("k1", "k2"), ("k2", "k1")):
            gateway.restart(*names)
            asked = threading.Thread(
                target=run,
                args=(BIN / "stowage", "--config", gateway.directory / "g.yaml", "--timeout", "2s", "store", "rekey", STORE),
                kwargs={"check": False},
            )
            asked.start()
            wait_until(lambda current=names[0]: gateway.cipher_keys().get(current, 0) > 5, "chunks to be rewritten")
            os.kill(gateway.process.pid, signal.SIGKILL)
            gateway.process.process.wait(10)
            asked.join()
        gateway.restart("k2", "k1")
        traffic.goes_on()
        gateway.rekey()
    assert not traffic.wrong, traffic.wrong
    all_there(gateway, {**data, **traffic.data})
    assert set(gateway.cipher_keys()) == {"k2"}
    nothing_half_there(gateway)
