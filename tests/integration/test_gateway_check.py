"""`store check` tries a configuration out that is not in use; quotas, as an operator sets them."""

import json
import os
import re
import subprocess

import pytest
import yaml
from support.base import BIN, ROOT, free_port, new_directory, remove_directory
from test_gateway import STORE, Refused, new_gateway, postgres, sha  # noqa: F401

SOURCES = ROOT / "services/object-store-gateway"


def stowage(config, *words, status=0):
    done = subprocess.run(
        [str(w) for w in [BIN / "stowage", "--config", config, *words]], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture
def directory():
    made = new_directory("check")
    yield made
    remove_directory(made)


def write(directory, store, archive=None, database="host=/nowhere dbname=none"):
    path = directory / "check.yaml"
    config = {
        "cluster_secret": "0123456789abcdef0123456789abcdef",
        "database": {"url": database},
        "object_store_gateway": {"listen": [f"ipc://{directory}/g.ipc"]},
        "object_store": store,
    }
    path.write_text(yaml.safe_dump({**config, **({"analysis_archive": archive} if archive else {})}))
    return path


def localfs(directory):
    return {"storage_driver": {"name": "localfs", "config": {"archive_data_dir": str(directory)}}}


def test_a_configuration_that_works_leaves_nothing_behind(directory, postgres):  # noqa: F811
    config = write(directory, localfs(directory / "data"), {"storage_driver": {"name": "db"}}, database=postgres.url)
    items = json.loads(stowage(config, "--json", "store", "check").stdout)["items"]
    assert [(i["store"], i["driver"], i["works"]) for i in items] == [
        ("object_store", "localfs", True),
        ("analysis_archive", "db", True),
    ]
    assert str(directory / "data") in items[0]["identity"]
    assert not [p for p in (directory / "data").rglob("*") if p.is_file()]


def s3(**more):
    config = {"bucket": "b", "access_key": "a", "secret_key": "s", "url": f"http://127.0.0.1:{free_port()}", "region": "r"}
    return {"storage_driver": {"name": "s3", "config": {**config, **more}}}


BAD = {
    "unreachable": (lambda d: s3(), "no connection"),
    "unknown driver": (lambda d: {"storage_driver": {"name": "tape"}}, "tape"),
    "unknown key": (lambda d: s3(colour="red"), "colour"),
    "a file in the way": (lambda d: localfs(d / "check.yaml"), "check.yaml"),
    "bad encryption key": (lambda d: {**localfs(d), "encryption": {"keys": "k1:short"}}, "k1"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_work_is_named_and_the_other_store_is_looked_at_all_the_same(directory, case):
    make, word = BAD[case]
    config = write(directory, make(directory), localfs(directory / "archive"))
    done = stowage(config, "store", "check", status=1)
    assert word in done.stderr
    assert "object_store" in done.stderr
    assert "works" in done.stdout  # the archive


def test_a_database_that_is_away_is_said(directory):
    done = stowage(write(directory, {"storage_driver": {"name": "db"}}), "store", "check", status=1)
    assert "database" in done.stderr


def test_a_file_that_is_no_configuration_is_wrong_usage(directory):
    done = stowage(directory / "nothing.yaml", "store", "check", status=2)
    assert "nothing.yaml" in done.stderr


def test_every_option_is_documented():
    """Of the gateway, of a store's section and of each driver; refused ones explain themselves."""
    documents = (SOURCES / "OPERATING.md", SOURCES / "drivers" / "README.md")
    words = set(re.findall(r"\w+", "\n".join(path.read_text() for path in documents)))
    options = set()
    for source in SOURCES.rglob("*.c"):
        options |= set(re.findall(r'\{"([a-z_.]+)",\s+CONFIG_(?!REFUSED)', source.read_text()))
    assert len(options) > 50
    assert not {option for option in options if option.split(".")[-1] not in words}


SECTIONS_AT_ODDS = {
    "a misspelt section": ({"compresion": {"enabled": True}}, "compresion"),
    "a misspelt option": ({"compression": {"enable": True}}, "compression.enable"),
    "no level of zstd": ({"compression": {"level": 20}}, "20"),
    "no size": ({"compression": {"min_size_kbytes": -1}}, "-1"),
    "no word for yes or no": ({"compression": {"enabled": "perhaps"}}, "perhaps"),
    "another driver's option": ({"storage_driver": {"name": "db", "config": {"bucket": "b"}}}, "bucket"),
}


@pytest.mark.parametrize("case", SECTIONS_AT_ODDS)
def test_an_option_that_is_none_is_named(directory, postgres, case):  # noqa: F811
    section, word = SECTIONS_AT_ODDS[case]
    config = write(directory, section, localfs(directory / "archive"), database=postgres.url)
    done = stowage(config, "store", "check", status=1)
    assert word in done.stderr and "object_store" in done.stderr


def test_quotas_as_an_operator_sets_them(new_gateway):  # noqa: F811
    gateway = new_gateway()
    config = gateway.directory / "g.yaml"
    stowage(config, "store", "quota", "set", "a", "--megabytes", "1", "--objects", "2")
    gateway.put("one", os.urandom(600_000))
    with pytest.raises(Refused) as refused:
        gateway.put("two", os.urandom(600_000))
    assert refused.value.code == "resource exhausted"
    assert "account a" in refused.value.message and "1000000" in refused.value.message
    gateway.put("two", b"small")
    with pytest.raises(Refused):
        gateway.put("three", b"small")
    gateway.put("three", b"small", account="another")
    said = stowage(config, "store", "quota", "ls").stdout
    assert "2 of 2" in said
    quota = json.loads(stowage(config, "--json", "store", "quota", "ls", "a").stdout)["items"][0]
    assert (quota["used_bytes"], quota["used_objects"]) == (600_005, 2)
    gateway("object_delete", store=STORE, bucket="b", key="one")
    gateway.put("three", b"small")
    # Another store, and none at all.
    gateway.put("four", b"small", store="analysis_archive")
    stowage(config, "store", "quota", "rm", "a")
    gateway.put("four", b"small")
    assert "no quotas" in stowage(config, "store", "quota", "ls").stderr
    assert "--megabytes" in stowage(config, "store", "quota", "set", "a", status=2).stderr
    stowage(config, "store", "quota", "set", "a", "--objects", "-1", status=2)
    assert gateway.refuses("quota_set", store=STORE, account="a").code == "invalid"


def test_statistics_say_what_a_bucket_shares(new_gateway):  # noqa: F811
    gateway = new_gateway()
    content = os.urandom(10_000)
    for key in ("one", "two"):
        gateway.put(key, content)
    gateway.put("text", b"a" * 10_000)
    stats = gateway.stats()
    bucket = stats["buckets"][0]
    assert (bucket["objects"], bucket["bytes"], bucket["chunk_bytes"]) == (3, 30_000, 20_000)
    assert 10_000 < bucket["stored_bytes"] < 11_000
    assert stats["accounts"] == [{k: v for k, v in bucket.items() if k != "bucket"}]


def test_statistics_say_what_the_buckets_of_an_account_share(new_gateway):  # noqa: F811
    gateway = new_gateway()
    shared = os.urandom(10_000)
    gateway.put("one", shared, bucket="x")
    gateway.put("one", shared, bucket="y")
    gateway.put("two", os.urandom(500), bucket="y")
    gateway.put("none", b"", bucket="z", account="empty")
    gateway.put("one", shared, bucket="x", account="z")
    stats = gateway.stats()
    figures = ("objects", "bytes", "chunk_bytes", "stored_bytes")
    per_account = {a["account"]: tuple(a.get(f, 0) for f in figures) for a in stats["accounts"]}
    assert per_account == {"a": (3, 20_500, 10_500, 10_500), "empty": (1, 0, 0, 0), "z": (1, 10_000, 10_000, 10_000)}
    per_bucket = {(b["account"], b["bucket"]): tuple(b.get(f, 0) for f in figures) for b in stats["buckets"]}
    assert per_bucket["a", "x"] == (1, 10_000, 10_000, 10_000) and per_bucket["a", "y"] == (2, 10_500, 10_500, 10_500)
    assert (stats["objects"], stats["logical_bytes"], stats["chunk_bytes"]) == (5, 30_500, 10_500)
    shown = stowage(gateway.directory / "g.yaml", "store", "stats", STORE).stdout
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith("a ")] == [["a", "3"], ["a", "x"], ["a", "y"]]


def test_statistics_say_how_many_accounts_and_buckets_they_leave_out(new_gateway):  # noqa: F811
    gateway = new_gateway()
    gateway.sql(
        "INSERT INTO objects.object (store, account, bucket, key, size, sha256) SELECT 'object_store', 'acc-' || n, 'b-' || m,"
        " 'k', 0, sha256('') FROM generate_series(1, 1001) n, generate_series(1, 2) m"
    )
    stats = gateway.stats()
    assert (len(stats["accounts"]), len(stats["buckets"]), stats["objects"]) == (1000, 1000, 2002)
    assert (stats["more_accounts"], stats["more_buckets"]) == (1, 1002)
    shown = stowage(gateway.directory / "g.yaml", "store", "stats", STORE).stdout
    assert "and 1 more" in shown and "and 1002 more" in shown
