"""Space of removed chunks comes back from PostgreSQL's files while the system runs, whatever is killed meanwhile."""

import json
import os
import signal
import subprocess
import threading
import time

import pytest
from support.base import wait_until
from test_gateway import CHUNK, STORE, Refused, new_gateway, nothing_half_there, postgres  # noqa: F401
from test_gateway_migrate import all_there, reconfigure, stowage

POINTS = [
    "compact-opening",
    "compact-after-open",
    "compact-after-drain",
    "compact-moving",
    "compact-after-move",
    "compact-dropping",
    "compact-after-drop",
]
ASKED = {"compact_below": 0}  # nothing happens by itself
MIB = 1 << 20


def tables(gateway):
    return gateway.sql(
        "SELECT string_agg(oid::text, ',') FROM pg_class WHERE oid = 'objects.chunk_data'::regclass"
        " OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'objects.chunk_data'::regclass)"
    )


def files(gateway):
    """Bytes on the disk: of the tables and of what they keep out of line."""
    paths = gateway.postgres.psql(
        f"SELECT pg_relation_filepath(oid) FROM pg_class WHERE oid IN ({tables(gateway)})"
        f" OR oid IN (SELECT reltoastrelid FROM pg_class WHERE oid IN ({tables(gateway)}))"
    )
    data = gateway.sql("SHOW data_directory")
    return sum(os.stat(os.path.join(data, path)).st_size for (path,) in paths)


def fill(gateway, count, size):
    data = {f"doc-{n}": os.urandom(size + n) for n in range(count)}
    for key, content in data.items():
        gateway.put(key, content)
    return data


def thin_out(gateway, data, keep):
    """All but every keep-th object go, with their chunks."""
    kept = {key: content for n, (key, content) in enumerate(data.items()) if n % keep == 0}
    for key in set(data) - set(kept):
        gateway("object_delete", store=STORE, bucket="b", key=key)
    while gateway.sweep().get("more"):
        pass
    return kept


def compact(gateway, seconds=30, **more):
    """As the command does: until nothing is left. The replies added up."""
    total = {"moved_bytes": 0, "dropped": 0}
    deadline = time.monotonic() + seconds
    while True:
        reply = gateway("store_compact", store=STORE, **more)
        for name in total:
            total[name] += reply.get(name, 0)
        if not reply.get("more"):
            return total
        assert time.monotonic() < deadline, reply
        more["since"] = reply["since"]
        if reply.get("waiting"):
            time.sleep(0.2)


def sound(gateway, data):
    all_there(gateway, data)
    nothing_half_there(gateway)
    assert gateway.sql("SELECT count(*) FROM objects.chunk_segment WHERE state = 'draining'") == "0"
    twice = "SELECT count(*) FROM (SELECT 1 FROM objects.chunk_data GROUP BY chunk, seq HAVING count(*) > 1) AS t"
    assert gateway.sql(twice) == "0"


def test_the_command_gives_the_disk_its_space_back(new_gateway):  # noqa: F811
    gateway = new_gateway(**ASKED)
    data = fill(gateway, 20, CHUNK - 100)
    full = files(gateway)
    kept = thin_out(gateway, data, 10)
    assert files(gateway) == full > 79 * MIB
    said = stowage(gateway, "store", "compact", STORE, "--progress")
    live = sum(map(len, kept.values()))
    assert live < files(gateway) < 1.1 * live
    assert "32 rows moved" in said and "8.0 MiB; 1 tables dropped" in said, said
    sound(gateway, kept)
    again = json.loads(stowage(gateway, "store", "compact", STORE, "--json", "--below", "95"))
    assert again["backends"] == 1 and again.get("moved_rows", 0) == 0 and again["held_bytes"] >= files(gateway)


def test_back_ends_without_gaps_have_nothing_to_compact(new_gateway):  # noqa: F811
    gateway = new_gateway("localfs", **ASKED)
    gateway.put("doc", b"content")
    said = stowage(gateway, "store", "compact", STORE)
    assert said.startswith("nothing to do: the back ends of object_store give space back as soon as")
    stowage(gateway, "store", "compact", "nowhere", status=2)
    assert gateway.refuses("store_compact", store=STORE, below=96).code == "invalid"


def test_after_a_migration_out_of_the_database_nothing_of_it_stays_there(new_gateway):  # noqa: F811
    gateway = new_gateway("db", **ASKED)
    data = fill(gateway, 6, 2_000_000)
    reconfigure(gateway, "localfs", "data")
    gateway("store_migrate_start", store=STORE, **{"from": "db", "to": "localfs"})
    wait_until(
        lambda: gateway("store_migrate_status", store=STORE)["items"][0]["state"] == "done", "the migration", seconds=60
    )
    gateway.sweep()
    assert files(gateway) > 10 * MIB
    compact(gateway)
    assert files(gateway) < MIB
    all_there(gateway, data)


def test_very_sparse_tables_are_compacted_without_being_told(new_gateway):  # noqa: F811
    gateway = new_gateway(compact_interval="1s")
    kept = thin_out(gateway, fill(gateway, 10, 2_000_000), 10)
    wait_until(lambda: files(gateway) < 3 * MIB, "the space to come back", seconds=30)
    sound(gateway, kept)
    assert "space given back" in (gateway.directory / "g.log").read_text()


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_while_compacting(new_gateway, point):  # noqa: F811
    gateway = new_gateway(**ASKED)
    kept = thin_out(gateway, fill(gateway, 4, 3_000_000), 4)
    gateway.process.stop()
    gateway.start(fault=point)
    with pytest.raises((Refused, subprocess.TimeoutExpired)):
        for _ in range(20):
            gateway("store_compact", store=STORE, timeout=5)
            time.sleep(0.2)
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    assert gateway.process.process.returncode == -signal.SIGKILL
    gateway.start()
    all_there(gateway, kept)
    more = fill(gateway, 3, 1000)  # of other content under the same keys
    kept.update(more)
    compact(gateway)
    assert files(gateway) < 7 * MIB  # what is live, and what a move that was killed had written
    sound(gateway, kept)


def test_a_database_that_is_killed_while_compacting_has_lost_nothing(new_gateway, postgres):  # noqa: F811
    gateway = new_gateway(**ASKED)
    kept = thin_out(gateway, fill(gateway, 8, 3_000_000), 2)
    over = threading.Event()

    def compact_on():
        while not over.is_set():
            try:
                gateway("store_compact", store=STORE, below=95, timeout=5)
            except (Refused, subprocess.TimeoutExpired):
                time.sleep(0.1)

    thread = threading.Thread(target=compact_on)
    thread.start()
    try:
        for pause in (0.15, 0.4, 1.2):
            time.sleep(pause)
            os.kill(postgres.pid, signal.SIGQUIT)  # at once, as in a crash
            wait_until(lambda: not os.path.exists(postgres.sockets / ".s.PGSQL.5432"), "the database to be gone")
            postgres.start()
    finally:
        over.set()
        thread.join()

    def done():
        try:
            return compact(gateway, below=95)
        except Refused:
            return None

    wait_until(done, "the rest to be compacted", seconds=60)
    assert files(gateway) < 1.2 * sum(map(len, kept.values()))
    sound(gateway, kept)


def test_two_gateways_read_and_write_while_both_compact(new_gateway):  # noqa: F811
    """Nobody ever gets anything but whole objects. How long they wait is measured by tests/unit/.../compact_test."""
    first, second = new_gateway(**ASKED), new_gateway(**ASKED)
    data = fill(first, 24, 1_500_000)
    kept = thin_out(first, data, 3)
    over, wrong, rounds, dropped = threading.Event(), [], [], []

    def compact_on(gateway):
        while not over.is_set():
            try:
                dropped.append(gateway("store_compact", store=STORE, below=95).get("dropped", 0))
            except Refused as refused:
                wrong.append(refused)

    def read_and_write(gateway, number):
        mine, n = None, 0
        while not over.is_set():
            try:
                for key, content in list(kept.items())[number::2]:
                    if gateway.get(key) != content:
                        wrong.append(key)
                content, n = os.urandom(700_000), n + 1
                gateway.put(f"own-{number}", content)  # the one before is for the sweep
                mine = content
                gateway.sweep()
            except Refused as refused:
                if refused.code not in ("precondition failed", "conflict"):
                    wrong.append(refused)
            rounds.append(n)
        if mine and gateway.get(f"own-{number}") != mine:
            wrong.append(f"own-{number}")

    work = [(compact_on, first), (compact_on, second), (read_and_write, first, 0), (read_and_write, second, 1)]
    threads = [threading.Thread(target=body, args=arguments) for body, *arguments in work]
    for thread in threads:
        thread.start()
    time.sleep(5)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert len(rounds) >= 2 and sum(dropped) >= 1
    compact(first)
    sound(first, kept)
