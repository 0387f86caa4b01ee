"""The drivers as an operator meets them: sections that come from elsewhere, and what is said of each that cannot work.

What the gateway does with a driver that works is in test_gateway*.py of that driver.
"""

import http.server
import json
import os
import subprocess
import threading

import pytest
import yaml
from support.base import BIN, free_port, new_directory, remove_directory
from support.postgres import psql
from support.swift import Swift
from test_gateway import CHUNK, STORE, Gateway, postgres, sha  # noqa: F401
from test_gateway_check import localfs, stowage, write

ARCHIVE = "analysis_archive"


@pytest.fixture(scope="module")
def swift():
    server = Swift()
    yield server
    server.close()


@pytest.fixture
def directory():
    made = new_directory("drivers")
    yield made
    remove_directory(made)


@pytest.fixture
def new_gateway(postgres):  # noqa: F811
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    made = []

    def make(sections, env=None):
        """sections: the text of object_store and analysis_archive, as it is pasted."""
        gateway = Gateway(postgres)
        made.append(gateway)
        own = gateway.configuration

        def configuration():
            path = own()
            config = yaml.safe_load(path.read_text())
            del config["object_store"]
            path.write_text(yaml.safe_dump(config) + sections.replace("@DIR", str(gateway.directory)))
            return path

        gateway.configuration = configuration
        for name, value in (env or {}).items():
            os.environ[name] = value
        try:
            return gateway.start()
        finally:
            for name in env or {}:
                del os.environ[name]

    yield make
    for gateway in made:
        gateway.close()


# ---- sections as they stand in the files of Anchore Engine, with all that its pages show ----

S3 = """
object_store:
  compression:
    enabled: False
    min_size_kbytes: 100
  storage_driver:
    name: 's3'
    config:
      access_key: 'test:tester'
      secret_key: 'testing'
      {iamauto}
      url: '{url}/'
      region: {region}
      bucket: '{place}'
      create_bucket: True
      prefix: "internaltest"
analysis_archive:
  enabled: true
  compression:
    enabled: true
    min_size_kbytes: 10000
  storage_driver:
    name: db
    config: {{}}
"""

SWIFT = """
object_store:
  verify_content_digests: true
  compression:
    enabled: true
    min_size_kbytes: 100
  storage_driver:
    name: swift
    config:
      user: "test:tester"
      key: "testing"
      auth: "{url}/auth/v1.0"
      container: "{place}"
      create_container: True
analysis_archive: {{}}
"""

LOCALFS = """
object_store:
  compression:
    enabled: False
    min_size_kbytes: 100
  storage_driver:
    name: localfs
    config:
      archive_data_dir: @DIR/archive
analysis_archive:
"""

PASTED = {
    "s3": (S3, {"iamauto": "#iamauto: True", "region": "False"}, "s3", "db"),
    "s3, keys and iamauto": (S3, {"iamauto": "iamauto: True", "region": "null"}, "s3", "db"),
    "s3, iamauto off": (S3, {"iamauto": "iamauto: False", "region": "us-east-1"}, "s3", "db"),
    "swift": (SWIFT, {}, "swift", "swift"),
    "localfs": (LOCALFS, {}, "localfs", "localfs"),
    "nothing": ("", {}, "db", "db"),
    "an archive that is only compressed": (
        "object_store: {{storage_driver: {{name: localfs, config: {{archive_data_dir: @DIR/d}}}}}}\n"
        "analysis_archive: {{compression: {{enabled: True, min_size_kbytes: 0}}}}\n",
        {}, "localfs", "db",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PASTED)
def test_sections_of_anchore_engine_that_are_pasted_work(new_gateway, swift, case):
    text, more, store, archive = PASTED[case]
    place = f"pasted-{list(PASTED).index(case)}"
    gateway = new_gateway(text.format(url=swift.url, place=place, **more))
    small, large = b"a" * 5000, os.urandom(CHUNK)
    for name in (STORE, ARCHIVE):
        gateway.put("small", small, store=name)
        gateway("chunk_put", payload=large, store=name, sha256=sha(large))
        assert gateway.get("small", store=name) == small
    used = {name: gateway.sql(f"SELECT driver FROM objects.backend WHERE store = '{name}'") for name in (STORE, ARCHIVE)}
    assert used == {STORE: store, ARCHIVE: archive}
    if "compression" in text:  # off, or for larger documents only
        codec = gateway.sql(f"SELECT codec FROM objects.chunk WHERE store = '{STORE}' AND sha256 = '\\x{sha(small)[7:]}'")
        assert (codec == "zstd") == (case == "an archive that is only compressed"), codec
    if store == "s3":
        assert all(name.startswith("internaltest") for name in swift.names(place)) and swift.names(place)


def test_keys_of_the_surroundings_open_a_real_server(new_gateway, swift):
    text = S3.replace("      access_key: 'test:tester'\n      secret_key: 'testing'\n", "")
    env = {"AWS_ACCESS_KEY_ID": swift.user, "AWS_SECRET_ACCESS_KEY": swift.key}
    gateway = new_gateway(text.format(url=swift.url, place="surroundings", iamauto="iamauto: True", region="False"), env)
    gateway.put("doc", b"content")
    assert gateway.get("doc") == b"content"
    assert swift.names("surroundings")


def test_keys_of_a_profile_in_a_shared_file_open_a_real_server(new_gateway, swift, directory):
    shared = directory / "credentials"
    shared.write_text(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n"
        f"[stowage]\naws_access_key_id = {swift.user}\naws_secret_access_key = {swift.key}\n"
    )
    text = S3.replace("      access_key: 'test:tester'\n      secret_key: 'testing'\n", "")
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(shared), "AWS_PROFILE": "stowage"}
    gateway = new_gateway(text.format(url=swift.url, place="profile", iamauto="iamauto: True", region="False"), env)
    gateway.put("doc", b"content")
    assert gateway.get("doc") == b"content"


DRIVER = "object_store: {storage_driver: {name: %s, config: {%s}}}"
V1 = "container: c, auth: 'http://127.0.0.1:1', user: u, key: k"

MEANINGLESS = [
    ("services: {catalog: {object_store: {storage_driver: {name: db}}}}", "services.catalog"),
    ("archive: {storage_driver: {name: db}}", "the section is called object_store"),
    ("archive_driver: db", "object_store.storage_driver.name"),
    ("archive_data_dir: /tmp", "object_store.storage_driver.config"),
    ("use_db: True", "name: db"),
    ("object_store: {migrate_from_storage_driver: {name: db, config: {}}}", "stowage store migrate start"),
    ("object_store: {verify_content_digests: false}", "every read is verified"),
    ("analysis_archive: {enabled: false}", "shares the back end of object_store"),
    (DRIVER % ("swift", V1 + ", os_options: {region_name: x}"), "each name with os_ in front"),
    (DRIVER % ("swift", V1 + ", insecure: True"), "os_cacert"),
    (DRIVER % ("swift", V1 + ", auth_version: '2'"), "os_auth_url, os_username and os_password"),
    (DRIVER % ("swift", V1 + ", os_auth_token: x"), "os_username and os_password"),
    (DRIVER % ("swift", V1 + ", retries: 5"), "retry_budget"),
    (DRIVER % ("swift", V1 + ", timeout: 30"), "a duration such as"),
    (DRIVER % ("s3", "bucket: b, access_key: a"), "secret_key"),
    (DRIVER % ("s3", "bucket: b"), "iamauto"),
    (DRIVER % ("localfs", ""), "archive_data_dir"),
    (DRIVER % ("postgres", ""), "known are db,"),
]


@pytest.mark.parametrize(("section", "says"), MEANINGLESS)
def test_what_means_nothing_here_is_refused_with_what_to_write_instead(directory, section, says):
    config = write(directory, {})
    text = config.read_text()
    config.write_text(text.replace("object_store: {}\n", "") + section + "\n")
    checked = subprocess.run(
        [BIN / "stowage", "--config", config, "store", "check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode in (1, 2) and says in checked.stderr, checked.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("object_store: {storage_driver: {name: db\n", "check.yaml:"),
        ("object_store: [a, b]\n", "section of its own"),
        ("object_store: {storage_driver: s3}\n", "storage_driver must be a section"),
        ("object_store: {storage_driver: {name: [s3]}}\n", "storage_driver.name must be a single value"),
        ("object_store: {storage_driver: {name: s3, config: [x]}}\n", "section of its own"),
        ("object_store: {compression: {enabled: perhaps}}\n", "compression.enabled must be true or false"),
        ("\tobject_store: {}\n", "check.yaml:"),
        ("object_store: {storage_driver: {name: s3, config: {bucket: '${NOT_SET_AT_ALL}'}}}\n", "NOT_SET_AT_ALL"),
    ],
)
def test_a_file_that_cannot_be_read_is_said_with_its_place(directory, text, says):
    config = write(directory, {})
    config.write_text(config.read_text().replace("object_store: {}\n", text))
    done = subprocess.run(
        [BIN / "stowage", "--config", config, "store", "check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (1, 2), done.stdout
    assert says in done.stderr and "check.yaml" in done.stderr, done.stderr


# ---- store check: what cannot work, told apart, on real servers ----


class Nonsense(http.server.BaseHTTPRequestHandler):
    """Neither S3 nor Swift, and friendly about it."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = b"<html><body>It works!</body></html>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Auth-Token", "token")
        self.send_header("X-Storage-Url", f"http://127.0.0.1:{self.server.server_port}/v1/AUTH_test")
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def nonsense():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def s3_section(swift, **more):
    config = {"url": swift.url, "access_key": swift.user, "secret_key": swift.key, "timeout": "5s", **more}
    return {"storage_driver": {"name": "s3", "config": config}}


def swift_section(swift, **more):
    config = {"auth": swift.auth_url, "user": swift.user, "key": swift.key, "retry_budget": "1s", **more}
    return {"storage_driver": {"name": "swift", "config": config}}


REFUSALS = {
    "s3": (
        s3_section,
        {
            "unauthenticated": lambda s, n: {"secret_key": "wr0ng"},
            "not found": lambda s, n: {"bucket": "nobody-made-this"},
            "forbidden": lambda s, n: {"access_key": s.stranger, "secret_key": s.stranger_key},
            "unavailable": lambda s, n: {"url": f"http://127.0.0.1:{free_port()}"},
            "internal": lambda s, n: {"url": n},
        },
    ),
    "swift": (
        swift_section,
        {
            "unauthenticated": lambda s, n: {"key": "wr0ng"},
            "not found": lambda s, n: {"container": "nobody-made-this"},
            "forbidden": lambda s, n: {"user": s.stranger, "key": s.stranger_key},
            "unavailable": lambda s, n: {"auth": f"http://127.0.0.1:{free_port()}/auth/v1.0"},
            "internal": lambda s, n: {"auth": f"{n}/auth/v1.0"},
        },
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_store_check_tells_five_refusals_apart_and_leaves_nothing(directory, swift, nonsense, name):
    section, cases = REFUSALS[name]
    place = {"s3": "bucket", "swift": "container"}[name]
    container = swift.new_container()
    said = []
    for code, change in cases.items():
        config = write(directory, section(swift, **{place: container, **change(swift, nonsense)}), localfs(directory / "archive"))
        items = json.loads(stowage(config, "--json", "store", "check", status=1).stdout)["items"]
        assert [(i["store"], i["driver"], i["works"]) for i in items] == [(STORE, name, False), (ARCHIVE, "localfs", True)]
        assert items[0]["code"] == code, items[0]
        assert "wr0ng" not in items[0]["error"]
        said.append(items[0]["error"])
    assert len(set(said)) == 5
    assert "not understood" in said[4] or "not what comes back" in said[4]
    assert swift.names(container) == []
    config = write(directory, section(swift, **{place: container}))
    assert "works" in stowage(config, "store", "check").stdout
    assert swift.names(container) == []


def test_store_check_says_of_each_store_what_is_wrong_with_it(directory, swift):
    config = write(directory, s3_section(swift, bucket="nobody-made-this"), swift_section(swift, container="c", key="wr0ng"))
    done = stowage(config, "store", "check", status=1)
    assert "object_store does not work: not found" in done.stderr and "nobody-made-this" in done.stderr
    assert "analysis_archive does not work: unauthenticated" in done.stderr
    items = json.loads(stowage(config, "--json", "store", "check", status=1).stdout)["items"]
    assert [i["code"] for i in items] == ["not found", "unauthenticated"]


def test_store_check_reads_several_files_as_the_gateway_does(directory):
    base = write(directory, localfs(directory / "first"))
    over = directory / "over.yaml"
    over.write_text(yaml.safe_dump({"object_store": {"storage_driver": {"config": {"archive_data_dir": f"{directory}/second"}}}}))
    items = json.loads(stowage(base, "--config", over, "--json", "store", "check").stdout)["items"]
    assert [i["identity"] for i in items] == [f"{directory}/second/{store}" for store in (STORE, ARCHIVE)]


def test_store_check_of_directories(directory):
    (directory / "file").write_text("")
    cases = {
        str(directory / "file"): ("invalid", "not found", "internal"),
        "/proc/nowhere": ("not found", "forbidden", "unavailable"),
    }
    for path, codes in cases.items():
        items = json.loads(stowage(write(directory, localfs(path)), "--json", "store", "check", status=1).stdout)["items"]
        assert items[0]["code"] in codes and path in items[0]["error"], items[0]


def mounted(directory, *options):
    place = directory / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(place)], check=True)
    return place


def test_a_directory_that_cannot_be_written_to_and_a_full_disk_are_told_apart(directory):
    place = mounted(directory, "-o", "size=64k")
    try:
        config = write(directory, localfs(place))
        stowage(config, "store", "check")
        with open(place / "filler", "wb") as filler:
            try:
                filler.write(bytes(1 << 20))
                filler.flush()
            except OSError:
                pass
        items = json.loads(stowage(config, "--json", "store", "check", status=1).stdout)["items"]
        assert items[0]["code"] == "resource exhausted" and "space" in items[0]["error"], items[0]
        assert [p.name for p in place.rglob("*") if p.is_file()] == ["filler"]
        (place / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        items = json.loads(stowage(config, "--json", "store", "check", status=1).stdout)["items"]
        assert items[0]["code"] == "forbidden" and str(place) in items[0]["error"], items[0]
    finally:
        subprocess.run(["umount", str(place)], check=True)


def database(postgres, **more):  # noqa: F811
    parts = {"host": str(postgres.sockets), "dbname": "stowage", "user": "stowage", **more}
    return " ".join(f"{name}={value}" for name, value in parts.items())


def test_store_check_of_databases(directory, postgres, nonsense):  # noqa: F811
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    for name in ("poor", "reader"):
        if not psql(postgres.sockets, f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'"):
            psql(postgres.sockets, f"CREATE ROLE {name} LOGIN")
    psql(postgres.sockets, "ALTER ROLE reader SET default_transaction_read_only = on")
    section = {"storage_driver": {"name": "db", "config": {}}}
    cases = [
        ({"user": "nobody_of_this_name"}, "nobody_of_this_name"),
        ({"dbname": "no_such_database"}, "no_such_database"),
        ({"user": "poor"}, "poor may not keep chunks"),
        ({"user": "reader"}, "can only be read"),
        ({"host": str(directory)}, str(directory)),
        ({"host": "127.0.0.1", "port": nonsense.rsplit(":", 1)[1]}, "database"),
    ]
    said = []
    for change, says in cases:
        config = write(directory, section, database=database(postgres, **change))
        item = json.loads(stowage(config, "--json", "store", "check", status=1).stdout)["items"][0]
        assert says in item["error"], item
        said.append((item["code"], item["error"]))
    assert len(set(said)) == len(cases)
    config = write(directory, section, database=postgres.url)
    stowage(config, "store", "check")
    # It leaves no tables behind; and where they are, it looks at those.
    assert psql(postgres.sockets, "SELECT to_regnamespace('objects')") == []
    gateway = Gateway(postgres)
    try:
        gateway.start()
        stowage(config, "store", "check")
        poor = write(directory, section, database=database(postgres, user="poor"))
        assert "forbidden" in stowage(poor, "store", "check", status=1).stderr
    finally:
        gateway.close()


# ---- db ----


def test_rows_of_256_kib_that_are_stored_as_they_come(new_gateway):
    gateway = new_gateway("object_store: {compression: {enabled: false}}\n")
    data = os.urandom(CHUNK)
    gateway("chunk_put", payload=data, store=STORE, sha256=sha(data))
    assert gateway.sql("SELECT count(*) || ' ' || min(octet_length(bytes)) || ' ' || max(octet_length(bytes))"
                       " FROM objects.chunk_data") == f"16 {1 << 18} {1 << 18}"  # fmt: skip
    tables = "(SELECT inhrelid FROM pg_inherits WHERE inhparent = 'objects.chunk_data'::regclass)"
    attribute = f"SELECT count(*) FROM pg_attribute WHERE attname = 'bytes' AND attrelid IN {tables} AND attstorage <> 'e'"
    assert gateway.sql(attribute) == "0"
    # Vacuum is told to come early, where rows are and where their bytes are.
    options = gateway.sql(
        "SELECT string_agg(array_to_string(coalesce(c.reloptions, '{}') || coalesce(t.reloptions, '{}'), ' '), ' ')"
        " FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = 'objects.chunk_data'::regclass"
    )
    assert options.count("autovacuum_vacuum_scale_factor") >= 2, options


def peak_kib(gateway):
    for line in open(f"/proc/{gateway.process.process.pid}/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no VmHWM")


def test_memory_does_not_grow_with_the_object(new_gateway):
    # A sanitizer keeps what was freed for a while; it may not, here.
    options = os.environ.get("ASAN_OPTIONS", "")
    gateway = new_gateway("object_store: {compression: {enabled: false}}\n", {"ASAN_OPTIONS": f"{options}:quarantine_size_mb=1"})

    def put_and_get(key, chunks):
        pieces = [os.urandom(1 << 20) * 4 for _ in range(chunks)]
        for piece in pieces:
            gateway("chunk_put", payload=piece, store=STORE, sha256=sha(piece))
        names, size = [sha(piece) for piece in pieces], sum(map(len, pieces))
        gateway("object_commit", store=STORE, bucket="b", key=key, size=size, sha256=sha(b"".join(pieces)), chunks=names)
        for at in range(0, size, CHUNK):
            assert gateway.get(key, offset=at, length=CHUNK) == pieces[at // CHUNK]
        assert gateway("object_verify", store=STORE, bucket="b", key=key)["sha256"] == sha(b"".join(pieces))

    put_and_get("small", 2)
    before = peak_kib(gateway)
    put_and_get("large", 20)
    assert peak_kib(gateway) - before < 48 * 1024
