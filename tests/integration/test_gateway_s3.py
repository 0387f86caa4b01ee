"""The driver s3 through the object-store-gateway, against a real OpenStack Swift with its S3 API, looked at with s3cmd."""

import hashlib
import http.server
import json
import os
import signal
import subprocess
import threading

import pytest
from support.base import BIN, ROOT, free_port, run, wait_until
from support.postgres import psql
from support.swift import Swift
from test_gateway import CHUNK, GC_POINTS, PUT_POINTS, STORE, Gateway, Refused, postgres, sha  # noqa: F401

PREFIX = "some/where "  # a blank must survive signing


class Bucket:
    """A fresh bucket of the server, seen through s3cmd."""

    def __init__(self, swift, name=None):
        self.swift = swift
        self.name = name or swift.new_container()
        self.s3cfg = swift.directory / "s3cfg"
        self.s3cfg.write_text(
            f"[default]\naccess_key = {swift.user}\nsecret_key = {swift.key}\n"
            f"host_base = 127.0.0.1:{swift.port}\nhost_bucket = 127.0.0.1:{swift.port}\n"
            f"use_https = False\nsignature_v2 = False\nbucket_location = {swift.region}\n"
        )

    def s3cmd(self, *words):
        return run("s3cmd", "-c", self.s3cfg, "--no-progress", *words, timeout=30).stdout

    def keys(self):
        start = f"s3://{self.name}/"
        lines = self.s3cmd("ls", "-r", start).splitlines()
        return sorted(line[line.index(start) + len(start) :] for line in lines)

    def read(self, key):
        into = self.swift.directory / "got"
        self.s3cmd("get", "--force", f"s3://{self.name}/{key}", into)
        return into.read_bytes()

    def config(self, **more):
        return {
            "access_key": self.swift.user, "secret_key": self.swift.key, "url": self.swift.url, "bucket": self.name,
            "prefix": PREFIX, **more,
        }  # fmt: skip


@pytest.fixture(scope="module")
def swift():
    server = Swift()
    yield server
    server.close()


@pytest.fixture
def new_gateway(postgres, swift):  # noqa: F811
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    made = []

    def make(config, start=True, **settings):
        gateway = Gateway(postgres, "s3", **settings)
        gateway.driver = {"name": "s3", "config": config}
        made.append(gateway)
        return gateway.start() if start else gateway

    yield make
    for gateway in made:
        gateway.close()


def refusal(gateway):
    """What a gateway that must not start says, and its code."""
    done = subprocess.run(
        [str(BIN / "object-store-gateway"), "--config", str(gateway.configuration())],
        capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


def nothing_half_there(gateway, bucket):
    """No row without bytes, after the sweep no bytes without a row, every digest right; and no probe object left."""

    def swept():
        gateway.sweep()
        return gateway.sql("SELECT count(*) FROM objects.chunk WHERE state <> 'live'") == "0"

    wait_until(swept, "the sweep to take abandoned writes", every=0.3)
    assert "damaged" not in gateway("store_verify", store=STORE)
    rows = psql(gateway.postgres.sockets, "SELECT store, encode(sha256, 'hex'), id FROM objects.chunk")
    assert bucket.keys() == sorted(f"{PREFIX}{store}/{digest}-{number}" for store, digest, number in rows)


def test_what_is_stored_is_read_by_another_client_by_key_and_digest(new_gateway, swift):
    bucket = Bucket(swift)
    gateway = new_gateway(bucket.config())
    small, large = os.urandom(5000), os.urandom(2 * CHUNK + 12345)
    gateway.put("small", small)
    gateway.put("empty", b"")
    gateway.put_large("large", large)
    assert gateway.get("small") == small
    assert gateway.get("empty") == b""
    for offset, length in ((0, 1), (CHUNK - 3, 6), (2 * CHUNK + 12000, 4096), (len(large), 10)):
        assert gateway.get("large", offset=offset, length=length) == large[offset : offset + length]
    assert gateway("object_verify", store=STORE, bucket="b", key="large")["sha256"] == sha(large)
    keys = bucket.keys()
    assert len(keys) == 4
    for key in keys:
        digest = key.removeprefix(f"{PREFIX}{STORE}/").split("-")[0]
        assert hashlib.sha256(bucket.read(key)).hexdigest() == digest
    nothing_half_there(gateway, bucket)
    gateway("object_delete", store=STORE, bucket="b", key="large")
    assert gateway.sweep()["removed"] == 3
    assert len(bucket.keys()) == 1
    assert gateway.get("small") == small


AWS = "/usr/bin/aws"  # Debian's, whatever comes first in PATH


@pytest.mark.skipif(not os.path.exists(AWS), reason="the aws command line is not installed")
def test_amazons_own_client_reads_what_is_stored_and_its_bytes_are_not_taken_for_a_chunk(new_gateway, swift):
    bucket = Bucket(swift)
    gateway = new_gateway(bucket.config())
    content = os.urandom(CHUNK - 5)
    gateway.put("doc", content)
    environment = {
        **os.environ, "AWS_ACCESS_KEY_ID": swift.user, "AWS_SECRET_ACCESS_KEY": swift.key, "AWS_DEFAULT_REGION": swift.region,
        "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip

    def aws(*words):
        return run(AWS, "--endpoint-url", swift.url, *words, env=environment, timeout=60).stdout

    (key,) = bucket.keys()
    assert key.split("/")[-1].split("-")[0] == sha(content)[7:]
    head = json.loads(aws("s3api", "head-object", "--bucket", bucket.name, "--key", key, "--output", "json"))
    assert (head["ContentLength"], head["ETag"].strip('"')) == (len(content), hashlib.md5(content).hexdigest())
    into = gateway.directory / "aws"
    aws("s3", "cp", "--quiet", f"s3://{bucket.name}/{key}", into)
    assert into.read_bytes() == content
    into.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    aws("s3", "cp", "--quiet", into, f"s3://{bucket.name}/{key}")
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="doc").code == "corrupt"


def test_the_conformance_suite_of_drivers(swift):
    suite = BIN.parent / "unit/object-store-gateway/s3_conformance_test"
    if not suite.exists():
        pytest.skip("unit tests are not built")
    bucket = Bucket(swift)
    config = f'url: "{swift.url}", bucket: {bucket.name}, access_key: "{swift.user}", secret_key: {swift.key}'
    done = run(suite, cwd=ROOT, env={**os.environ, "STOWAGE_TEST_S3": config}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_stores_share_a_bucket_and_a_thousand_and_more_go_at_once(new_gateway, swift):
    bucket = Bucket(swift)
    gateway = new_gateway(bucket.config(region=swift.region))
    data = os.urandom(3000)
    gateway.put("kept", data)
    gateway.put("kept", data, store="analysis_archive")
    assert [key.removeprefix(PREFIX).split("/")[0] for key in bucket.keys()] == ["analysis_archive", STORE]
    for number in range(12):
        gateway.put(f"gone/{number}", os.urandom(100))
    gateway("object_delete_prefix", store=STORE, bucket="b", prefix="gone/")
    assert gateway.sweep()["removed"] == 12
    nothing_half_there(gateway, bucket)
    assert len(bucket.keys()) == 2


def test_damage_in_the_bucket_is_never_given_out(new_gateway, swift):
    bucket = Bucket(swift)
    gateway = new_gateway(bucket.config())
    data = os.urandom(5000)
    gateway.put("doc", data)
    name = swift.names(bucket.name)[0]
    swift.request("PUT", f"{bucket.name}/{name}", body=data[:-1] + bytes([data[-1] ^ 1]))
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="doc").code == "corrupt"
    swift.request("PUT", f"{bucket.name}/{name}", body=data + b"more")
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="doc").code == "corrupt"
    swift.request("DELETE", f"{bucket.name}/{name}")
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="doc").code == "corrupt"


def test_a_bucket_is_made_where_that_is_asked_for_and_its_name_may_stand_in_the_host(new_gateway, swift):
    bucket = Bucket(swift, name="made-by-the-gateway")
    assert "not found" in refusal(new_gateway(bucket.config(), start=False))
    gateway = new_gateway(
        bucket.config(url=swift.s3_host_url, path_style=False, create_bucket=True, region="eu-nowhere-1")
    )
    gateway.put("doc", b"content")
    assert gateway.get("doc") == b"content"
    nothing_half_there(gateway, bucket)


def test_the_server_away_and_back(new_gateway, swift):
    bucket = Bucket(swift)
    gateway = new_gateway(bucket.config())
    gateway.put("before", b"before")
    swift.stop()
    try:
        refused = gateway.refuses(
            "object_put", payload=b"during", store=STORE, bucket="b", key="during", sha256=sha(b"during")
        )
        assert refused.code in ("unavailable", "deadline exceeded")
        assert gateway.refuses("object_get", store=STORE, bucket="b", key="before").code in ("unavailable", "deadline exceeded")
    finally:
        swift.start()
    gateway.put("during", b"during")
    assert gateway.get("before") + gateway.get("during") == b"beforeduring"
    nothing_half_there(gateway, bucket)


class Nonsense(http.server.BaseHTTPRequestHandler):
    """Not S3, and friendly about it."""

    def answer(self):
        body = b"<html><body>It works!</body></html>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *_):
        pass


def test_five_refusals_that_are_told_apart(new_gateway, swift):
    bucket = Bucket(swift)
    other = Bucket(swift, name="nobody-made-this")
    nonsense = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    threading.Thread(target=nonsense.serve_forever, daemon=True).start()
    nowhere = f"http://127.0.0.1:{free_port()}"
    cases = [
        (bucket.config(secret_key="wrong"), "unauthenticated", "SignatureDoesNotMatch"),
        (bucket.config(access_key="test:nobody"), "unauthenticated", "SignatureDoesNotMatch"),
        (other.config(), "not found", "nobody-made-this"),
        (bucket.config(access_key=swift.stranger, secret_key=swift.stranger_key), "forbidden", "AccessDenied"),
        (bucket.config(url=nowhere), "unavailable", nowhere),
        (bucket.config(url=f"http://127.0.0.1:{nonsense.server_port}"), "internal", "is not what comes back"),
    ]
    for config, code, says in cases:
        said = refusal(new_gateway(config, start=False))
        assert f'code="{code}"' in said or f"code={code}" in said, said
        assert says in said, said
        assert config["secret_key"] not in said
    nonsense.shutdown()
    assert bucket.keys() == []


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"bucket": "b", "access_key": "a"}, "go together"),
        ({"bucket": "b"}, "iamauto"),
        ({"access_key": "a", "secret_key": "b"}, "bucket"),
        ({"bucket": "b/c", "access_key": "a", "secret_key": "b"}, "b/c"),
        ({"bucket": "b", "access_key": "a", "secret_key": "b", "url": "ftp://x"}, "ftp://x"),
        ({"bucket": "b", "access_key": "a", "secret_key": "b", "prefix": "../x"}, ".."),
        ({"bucket": "b", "access_key": "a", "secret_key": "b", "path_style": "perhaps"}, "perhaps"),
        ({"bucket": "b", "access_key": "a", "secret_key": "b", "colour": "red"}, "colour"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(new_gateway, config, says):
    assert says in refusal(new_gateway(config, start=False))


def killed(gateway, act):
    """act makes the gateway pass the point at which it is killed."""
    with pytest.raises((Refused, subprocess.TimeoutExpired)):
        act()
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    assert gateway.process.process.returncode == -signal.SIGKILL


def test_kill_9_at_every_point_of_a_put(new_gateway, swift):
    bucket = Bucket(swift)
    gateway = new_gateway(bucket.config(), start=False)
    data = {point: os.urandom(5000) for point in PUT_POINTS}
    for point, content in data.items():
        gateway.start(fault=point)
        killed(gateway, lambda p=point, c=content: gateway.put(p, c, timeout=1))
    gateway.start()
    there = [point for point in PUT_POINTS if gateway.sql(f"SELECT 1 FROM objects.object WHERE key = '{point}'")]
    assert there == ["commit-after"]
    nothing_half_there(gateway, bucket)
    for point, content in data.items():
        gateway.put(point, content)
        assert gateway.get(point) == content
    nothing_half_there(gateway, bucket)


def test_kill_9_at_every_point_of_a_sweep(new_gateway, swift):
    """What one sweep leaves half done is taken up, and left again, by the next."""
    bucket = Bucket(swift)
    gateway = new_gateway(bucket.config())
    kept, gone = os.urandom(5000), [os.urandom(5000) for _ in range(3)]
    gateway.put("kept", kept)
    for number, content in enumerate(gone):
        gateway.put(f"gone/{number}", content)
    gateway("object_delete_prefix", store=STORE, bucket="b", prefix="gone/")
    gateway.process.stop()
    for point in GC_POINTS:
        try:
            gateway.start(fault=point)
            killed(gateway, lambda: gateway("store_gc", store=STORE, no_grace=True, timeout=1))
        except AssertionError:
            # It sweeps when it starts, unless another holds the lease: then it was dead before it was ready.
            assert gateway.process.process.returncode == -signal.SIGKILL
    gateway.start()
    gateway.put("back", gone[0])  # content that was being deleted is written anew
    nothing_half_there(gateway, bucket)
    assert gateway.get("kept") == kept and gateway.get("back") == gone[0]
    assert len(bucket.keys()) == 2
