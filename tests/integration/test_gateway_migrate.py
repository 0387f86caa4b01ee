"""Back ends change while the system runs: what was stored stays readable, and moves, whatever is killed meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest
from support.base import BIN, wait_until
from test_gateway import CHUNK, STORE, Refused, new_gateway, nothing_half_there, postgres, sha  # noqa: F401

POINTS = [
    "migrate-after-read",
    "rewrite-after-intent",
    "rewrite-after-backend",
    "rewrite-after-check",
    "rewrite-after-replace",
    "migrate-after-batch",
    "migrate-before-done",
]


def reconfigure(gateway, driver, directory=None, fault=None):
    gateway.process.stop()
    gateway.driver = {"name": driver}
    if driver == "localfs":
        gateway.driver["config"] = {"archive_data_dir": str(gateway.directory / directory)}
    gateway.start(fault=fault)


def files(gateway, directory):
    return [p for p in (gateway.directory / directory).rglob("*") if p.is_file()]


def start(gateway, source, target, **more):
    return gateway("store_migrate_start", store=STORE, **{"from": source, "to": target}, **more)["id"]


def newest(gateway):
    return gateway("store_migrate_status", store=STORE)["items"][0]


def wait_for_end(gateway):
    wait_until(lambda: newest(gateway)["state"] != "running", "the migration to end", seconds=60)
    return newest(gateway)


def backends(gateway):
    return {b["name"]: b for b in gateway("store_backends", store=STORE)["items"]}


def fill(gateway, count=10):
    data = {f"doc-{n}": os.urandom(3000 + n) for n in range(count)}
    for key, content in data.items():
        gateway.put(key, content)
    large = os.urandom(2 * CHUNK + 5)
    gateway.put_large("large", large)
    return {**data, "large": large}


def all_there(gateway, data):
    for key, content in data.items():
        got = b"".join(gateway.get(key, offset=at) for at in range(0, len(content), CHUNK))
        assert got == content, key


def stowage(gateway, *words, status=0):
    done = subprocess.run(
        [str(w) for w in [BIN / "stowage", "--config", gateway.directory / "g.yaml", *words]],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


MOVES = [("localfs", "one", "db", None), ("db", None, "localfs", "one"), ("localfs", "one", "localfs", "two")]


@pytest.mark.parametrize("old,old_dir,new,new_dir", MOVES)
def test_everything_moves_while_it_is_read(new_gateway, old, old_dir, new, new_dir):  # noqa: F811
    gateway = new_gateway("mem")
    reconfigure(gateway, old, old_dir)
    data = fill(gateway)
    source = next(b["name"] for b in backends(gateway).values() if b.get("current"))
    reconfigure(gateway, new, new_dir)
    all_there(gateway, data)  # before anything moved
    target = next(b["name"] for b in backends(gateway).values() if b.get("current"))
    start(gateway, source, target)
    all_there(gateway, data)
    gateway.put("new", b"written meanwhile")
    end = wait_for_end(gateway)
    assert (end["state"], end["moved_chunks"], end["left_chunks"], end["failed_chunks"]) == ("done", 13, 0, 0)
    all_there(gateway, {**data, "new": b"written meanwhile"})
    gateway.sweep()
    held = backends(gateway)
    assert held[source]["chunks"] == 0 and held[target]["chunks"] == 14
    if old == "localfs":
        assert not files(gateway, old_dir)
    else:
        assert gateway.sql("SELECT count(*) FROM objects.chunk_data") == "0"
    assert "damaged" not in gateway("store_verify", store=STORE)


def test_the_command_line_says_what_happens(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs")
    data = fill(gateway, 5)
    reconfigure(gateway, "db")
    said = stowage(gateway, "store", "backends")
    assert "localfs" in said and str(gateway.directory / "data") in said
    assert "new chunks" in stowage(gateway, "store", "migrate", "start", "--from", "db", "--to", "localfs", status=1)
    said = stowage(gateway, "store", "migrate", "start", "--from", "localfs", "--to", "nowhere", status=1)
    assert "nowhere" in said and "localfs" in said
    for lacking in (("--from", "localfs"), ("--to", "db"), ()):
        assert "--from and --to" in stowage(gateway, "store", "migrate", "start", *lacking, status=2)
    began = time.monotonic()
    words = ("--from", "localfs", "--to", "db", "--rate", "4", "--keep-source", "--wait")
    assert "done: 8 chunks moved" in stowage(gateway, "store", "migrate", "start", *words)
    assert time.monotonic() - began >= 1  # 8 MiB, of which the last chunks need not end within the time
    assert backends(gateway)["localfs"]["spare_chunks"] == 8
    assert "done" in stowage(gateway, "store", "migrate", "status")
    assert json.loads(stowage(gateway, "--json", "store", "migrate", "status"))["items"][0]["state"] == "done"
    assert "no migration was running" in stowage(gateway, "store", "migrate", "stop")
    all_there(gateway, data)


def test_a_source_that_is_empty_may_be_switched_off(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs", scrub_rate=1 << 30, scrub_interval="1s", gc_interval="200ms")
    data = fill(gateway, 5)
    reconfigure(gateway, "db")
    assert "done" in stowage(gateway, "store", "migrate", "start", "--from", "localfs", "--to", "db", "--wait")
    gateway.sweep()
    assert not files(gateway, "data")
    shutil.rmtree(gateway.directory / "data")
    gateway.process.stop()
    gateway.start()
    gateway("object_delete", store=STORE, bucket="b", key="doc-0")
    gateway.sweep()
    stowage(gateway, "store", "verify", STORE)
    log = (gateway.directory / "g.log").read_text()
    assert "ERROR" not in log and "WARN" not in log, log  # only who asks for it hears of it
    said = stowage(gateway, "store", "audit", STORE)
    assert "localfs: nothing of the store is in it, and it is away" in said
    assert "db: 7 chunks listed, 7 rows, 0 without a row, 0 not there" in said
    items = json.loads(stowage(gateway, "--json", "store", "audit", STORE))["items"]
    assert [(i["backend"], i.get("switched_off", False)) for i in items] == [("localfs", True), ("db", False)]
    assert "which the configuration does not name" in stowage(gateway, "store", "audit", STORE, "--backend", "localfs", status=1)
    del data["doc-0"]
    all_there(gateway, data)


def test_kept_copies_stay_until_a_migration_without_keeping(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs")
    data = fill(gateway, 5)
    gateway("object_delete", store=STORE, bucket="b", key="doc-0")
    reconfigure(gateway, "db")
    start(gateway, "localfs", "db", keep_source=True)
    assert wait_for_end(gateway)["state"] == "done"
    gateway.sweep()
    assert len(files(gateway, "data")) == 7  # all but what nobody names any more
    assert backends(gateway)["localfs"]["spare_chunks"] == 7
    start(gateway, "localfs", "db")
    assert wait_for_end(gateway)["state"] == "done"
    gateway.sweep()
    assert not files(gateway, "data")
    del data["doc-0"]
    all_there(gateway, data)


def test_a_chunk_that_cannot_be_read_fails_the_migration_and_is_named(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs")
    data = fill(gateway, 5)
    victim = next(p for p in files(gateway, "data") if p.name.startswith(sha(data["doc-3"])[7:]))
    good = victim.read_bytes()
    victim.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    reconfigure(gateway, "db")
    start(gateway, "localfs", "db")
    end = wait_for_end(gateway)
    assert (end["state"], end["left_chunks"], end["failed_chunks"]) == ("failed", 1, 1)
    failures = gateway("store_migrate_status", store=STORE)["failures"]
    assert [f["sha256"] for f in failures] == [sha(data["doc-3"])]
    assert "digest" in failures[0]["reason"]
    assert "failed" in stowage(gateway, "store", "migrate", "status", status=1)
    # Mended, it is done when it is started again.
    victim.write_bytes(good)
    start(gateway, "localfs", "db")
    end = wait_for_end(gateway)
    assert (end["state"], end["moved_chunks"]) == ("done", 1)
    all_there(gateway, data)


def test_a_damaged_chunk_is_moved_from_a_good_copy_in_the_archive(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs")
    data = fill(gateway, 5)
    gateway.put("copy", data["doc-3"], store="analysis_archive")
    victim = next(p for p in files(gateway, "data/object_store") if p.name.startswith(sha(data["doc-3"])[7:]))
    victim.write_bytes(b"rotten")
    reconfigure(gateway, "db")
    start(gateway, "localfs", "db")
    end = wait_for_end(gateway)
    assert (end["state"], end["left_chunks"], end["failed_chunks"]) == ("done", 0, 0)
    all_there(gateway, data)


def test_it_stops_and_goes_on_and_keeps_the_rate(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs")
    data = fill(gateway, 20)
    reconfigure(gateway, "db")
    start(gateway, "localfs", "db", rate=20000)
    wait_until(lambda: backends(gateway)["db"]["chunks"] > 0, "the first chunk to move")
    with pytest.raises(Refused) as refused:
        start(gateway, "db", "localfs")
    assert refused.value.code in ("precondition failed", "conflict")
    assert gateway("store_migrate_stop", store=STORE)["stopped"]
    assert newest(gateway)["state"] == "stopped"
    left = newest(gateway)["left_chunks"]
    assert 0 < left < 23
    all_there(gateway, data)
    start(gateway, "localfs", "db")
    assert wait_for_end(gateway)["state"] == "done"
    all_there(gateway, data)


def test_who_waits_hears_that_it_was_stopped(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs")
    fill(gateway, 2)
    reconfigure(gateway, "db")
    command = [BIN / "stowage", "--config", gateway.directory / "g.yaml", "store", "migrate", "start"]
    with subprocess.Popen(
        [str(w) for w in [*command, "--from", "localfs", "--to", "db", "--rate", "1", "--wait"]], stderr=subprocess.PIPE, text=True
    ) as waiting:
        wait_until(lambda: gateway("store_migrate_status", store=STORE).get("items"), "the migration to begin")
        assert gateway("store_migrate_stop", store=STORE)["stopped"]
        assert "was stopped" in waiting.communicate(timeout=60)[1]
    assert waiting.returncode == 1
    said = stowage(gateway, "--timeout", "3s", "store", "migrate", "start", "--from", "localfs", "--to", "db", "--rate", "1", "--wait", status=1)
    assert "goes on without this command" in said


def test_the_target_is_away_for_a_while(new_gateway):  # noqa: F811
    """A directory that becomes a file: every put fails until it is back, and then it goes on by itself."""
    gateway = new_gateway("db")
    data = fill(gateway, 20)
    reconfigure(gateway, "localfs", "one")
    place = gateway.directory / "one" / "object_store"
    shutil.rmtree(place)
    start(gateway, "db", "localfs")
    wait_until(lambda: newest(gateway).get("last_error"), "the migration to say why it waits", seconds=60)
    assert (newest(gateway)["state"], newest(gateway)["moved_chunks"]) == ("running", 0)
    all_there(gateway, data)
    place.mkdir()
    reconfigure(gateway, "localfs", "one")
    end = wait_for_end(gateway)
    assert (end["state"], end["moved_chunks"], end["failed_chunks"]) == ("done", 23, 0)
    all_there(gateway, data)


def test_another_rate_counts_at_once(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs")
    fill(gateway, 5)
    reconfigure(gateway, "db")
    id = start(gateway, "localfs", "db", rate=1000)  # the 8 MiB would take hours
    wait_until(lambda: gateway.sql("SELECT count(*) FROM objects.lease WHERE name LIKE 'migrate%'") == "1", "it to begin")
    assert start(gateway, "localfs", "db") == id
    end = wait_for_end(gateway)
    assert (end["id"], end["state"], end.get("rate", 0)) == (id, "done", 0)


def test_spare_copies_that_may_be_the_only_good_ones_are_not_dropped(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs")
    data = fill(gateway, 5)
    reconfigure(gateway, "db")
    start(gateway, "localfs", "db", keep_source=True)
    assert wait_for_end(gateway)["state"] == "done"
    digest = sha(data["doc-3"])[7:]
    chunk = f"(SELECT id FROM objects.chunk WHERE state = 'live' AND sha256 = decode('{digest}', 'hex'))"
    gateway.sql(f"UPDATE objects.chunk_data SET bytes = 'rotten' WHERE chunk = {chunk}")
    gateway.sql(f"UPDATE objects.chunk SET damaged = true WHERE id = {chunk}")
    start(gateway, "localfs", "db")
    end = wait_for_end(gateway)
    assert end["state"] == "failed" and "spare" in end["last_error"]
    gateway.sweep()
    assert len(files(gateway, "data")) == 1
    all_there(gateway, data)  # healed from it
    start(gateway, "localfs", "db")
    assert wait_for_end(gateway)["state"] == "done"
    gateway.sweep()
    assert not files(gateway, "data")
    all_there(gateway, data)


def test_a_back_end_that_is_away_leaves_the_sweep_to_the_others(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs", gc_batch=2, gc_grace="0s")
    gateway.put("there", b"what will be away")
    reconfigure(gateway, "db")
    for n in range(9):
        gateway.put(f"here-{n}", os.urandom(100))
    for key in ["there", *[f"here-{n}" for n in range(9)]]:
        gateway("object_delete", store=STORE, bucket="b", key=key)
    gateway.process.stop()
    place = gateway.directory / "data"
    place.rename(gateway.directory / "away")
    place.write_text("in the way")
    gateway.start()  # sweeps once

    def here():
        return gateway.sql("SELECT count(*) FROM objects.chunk c JOIN objects.backend b ON b.id = c.backend WHERE driver = 'db'")

    wait_until(lambda: here() == "0", "the sweep of what can be reached")
    assert gateway.sql("SELECT count(*) FROM objects.chunk") == "1"
    place.unlink()
    (gateway.directory / "away").rename(place)
    gateway.process.stop()
    gateway.start()
    wait_until(lambda: gateway.sql("SELECT count(*) FROM objects.chunk") == "0", "the sweep of the rest")
    assert not files(gateway, "data")


def migrate_and_be_killed(gateway, source, target, after_each=lambda: None):
    """One migration; the gateway dies at each point in turn, wherever the migration is by then."""
    for point in POINTS:
        gateway.process.stop()
        try:
            gateway.start(fault=point)
            start(gateway, source, target)
        except (Refused, AssertionError):
            pass  # it went on with what it found, and was dead before it could answer
        wait_until(lambda: not gateway.process.alive(), f"the gateway to be killed {point}")
        assert gateway.process.process.returncode == -signal.SIGKILL
        after_each()
    gateway.start()


def end_of_migration(gateway, source, target, count):
    """It goes on without anybody asking; after the sweep there is nothing half."""
    assert wait_for_end(gateway)["state"] == "done"

    def swept():
        gateway.sweep()
        return gateway.sql("SELECT count(*) FROM objects.chunk WHERE state <> 'live'") == "0"

    wait_until(swept, "the sweep to take what was abandoned", every=0.3)
    held = backends(gateway)
    assert (held[source]["chunks"], held[target]["chunks"]) == (0, count)
    assert "damaged" not in gateway("store_verify", store=STORE)


def live_rows_have_bytes(gateway, directory):
    """Asked of the database and the disk, while no gateway runs."""
    live = "SELECT coalesce(string_agg(c.id::text, ' '), '') FROM objects.chunk c JOIN objects.backend b ON b.id = c.backend"
    live += " WHERE state = 'live' AND driver = "
    in_database = set(gateway.sql("SELECT coalesce(string_agg(DISTINCT chunk::text, ' '), '') FROM objects.chunk_data").split())
    on_disk = {path.name.rsplit("-", 1)[1] for path in files(gateway, directory)}
    assert set(gateway.sql(live + "'db'").split()) <= in_database
    assert set(gateway.sql(live + "'localfs'").split()) <= on_disk


@pytest.mark.parametrize("old,old_dir,new,new_dir", MOVES[:2])
def test_kill_9_at_every_point_of_a_migration(new_gateway, old, old_dir, new, new_dir):  # noqa: F811
    gateway = new_gateway("mem", lease="1s")
    reconfigure(gateway, old, old_dir)
    data = fill(gateway, 5)
    reconfigure(gateway, new, new_dir)
    directory = old_dir or new_dir
    migrate_and_be_killed(gateway, old, new, after_each=lambda: live_rows_have_bytes(gateway, directory))
    all_there(gateway, data)
    end_of_migration(gateway, old, new, 8)
    all_there(gateway, data)
    in_database = int(gateway.sql("SELECT count(DISTINCT chunk) FROM objects.chunk_data"))
    assert (in_database, len(files(gateway, directory))) == ((8, 0) if new == "db" else (0, 8))


def test_writes_and_removals_go_on_meanwhile_with_a_replica_of_the_old_configuration(new_gateway, postgres):  # noqa: F811
    old, new = new_gateway("localfs"), new_gateway("db", start=False)
    data = fill(old, 10)
    new.start()
    over, lost = threading.Event(), []

    def work(gateway, name):
        number = 0
        while not over.is_set():
            key, content = f"{name}-{number}", os.urandom(2000)
            gateway.put(key, content)
            if gateway.get(key) != content:
                lost.append(key)
            if number % 2:
                gateway("object_delete", store=STORE, bucket="b", key=key)
            else:
                data[key] = content
            number += 1

    threads = [threading.Thread(target=work, args=(g, n)) for g, n in ((old, "old"), (new, "new"))]
    for thread in threads:
        thread.start()
    for _ in range(3):
        start(new, "localfs", "db")
        assert wait_for_end(new)["state"] in ("done", "failed")
    over.set()
    for thread in threads:
        thread.join()
    assert not lost
    old.process.stop()
    start(new, "localfs", "db")
    assert wait_for_end(new)["state"] == "done"
    all_there(new, data)
    assert backends(new)["localfs"]["chunks"] == 0
