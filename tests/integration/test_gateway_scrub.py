"""What is kept is read back, healed and compared: the scrub in the background, `store verify`, `store audit`."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
import yaml
from support.base import BIN, run, wait_until
from test_gateway import STORE, Refused, new_gateway, postgres, sha  # noqa: F401

ARCHIVE = "analysis_archive"
FAST = {"scrub_rate": 1 << 36, "scrub_interval": "1s"}
OFF = {"scrub_rate": 0}


def fill(gateway, count, store=STORE):
    data = {f"doc-{n}": os.urandom(2000 + n) for n in range(count)}
    for key, content in data.items():
        gateway.put(key, content, store=store)
    return data


def copy(gateway, key, source=STORE, target=ARCHIVE):
    return gateway(
        "object_copy", from_store=source, from_bucket="b", from_key=key, to_store=target, to_bucket="b", to_key=key
    )


def file_of(gateway, content, store=STORE):
    found = list((gateway.directory / "data" / store).rglob(f"{sha(content)[7:]}-*"))
    assert len(found) == 1
    return found[0]


def spoil(gateway, content, store=STORE):
    """One bit of what the back end holds."""
    if gateway.driver["name"] == "localfs":
        path = file_of(gateway, content, store)
        path.write_bytes(path.read_bytes()[:-1] + bytes([content[-1] ^ 1]))
    else:
        number = number_of(gateway, content, store)
        gateway.sql(
            "UPDATE objects.chunk_data SET bytes = set_byte(bytes, 7, (get_byte(bytes, 7) + 1) % 256)"
            f" WHERE chunk = {number}"
        )


def lose(gateway, content, store=STORE):
    if gateway.driver["name"] == "localfs":
        file_of(gateway, content, store).unlink()
    else:
        gateway.sql(f"DELETE FROM objects.chunk_data WHERE chunk = {number_of(gateway, content, store)}")


def number_of(gateway, content, store=STORE):
    return gateway.sql(
        f"SELECT id FROM objects.chunk WHERE store = '{store}' AND state = 'live'"
        f" AND sha256 = '\\x{sha(content)[7:]}'"
    )


def add_stray(gateway, content=b"nobody knows this", number=987654):
    if gateway.driver["name"] == "localfs":
        digest = sha(content)[7:]
        folder = gateway.directory / "data" / STORE / digest[:2] / digest[2:4]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{digest}-{number}").write_bytes(content)
    else:
        gateway.sql(
            "INSERT INTO objects.chunk_data (chunk, seq, sha256, bytes)"
            f" VALUES ({number}, 0, '\\x{sha(content)[7:]}', 'x')"
        )


def passes(gateway, store=STORE):
    return gateway("store_scrub", store=store).get("passes", [])


def next_pass(gateway, store=STORE, seconds=30):
    """The first one that begins from now on, when it is over."""
    before = passes(gateway, store)
    number = before[0]["pass"] + 1 if before else 1

    def over():
        return [p for p in passes(gateway, store) if p["pass"] >= number and "finished_at" in p]

    return wait_until(over, f"pass {number} of {store}", seconds=seconds)[-1]


def begin_to_scrub(gateway, **settings):
    """Until here it was off: the first pass finds all that was done."""
    gateway.process.stop()
    gateway.settings.update({**FAST, **settings})
    gateway.start()


def first_pass(gateway, store=STORE):
    def over():
        return [p for p in passes(gateway, store) if p["pass"] == 1 and "finished_at" in p]

    return wait_until(over, f"the first pass of {store}")[0]


def start_and_be_killed(gateway, point):
    """It may die before it has said that it is ready."""
    try:
        gateway.start(fault=point)
    except AssertionError:
        pass
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    assert gateway.process.process.returncode == -signal.SIGKILL


def expire_leases(gateway):
    """What time does when a replica was killed."""
    gateway.sql("UPDATE objects.lease SET until = now() - interval '1 second'")


def stowage(gateway, *words, status=0):
    done = subprocess.run(
        [str(w) for w in [BIN / "stowage", "--config", gateway.directory / "g.yaml", *words]],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def as_json(gateway, *words, status=0):
    done = subprocess.run(
        [str(w) for w in [BIN / "stowage", "--config", gateway.directory / "g.yaml", "--json", *words]],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def log(gateway):
    return (gateway.directory / "g.log").read_text()


def metric(gateway, name):
    port = yaml.safe_load((gateway.directory / "g.yaml").read_text())["object_store_gateway"]["http_listen"]
    found = re.search(rf"^{name} (\d+)$", run("curl", "-sf", f"http://{port}/metrics").stdout, re.M)
    return int(found[1]) if found else 0


# ---- reads ----


@pytest.mark.parametrize("driver", ["db", "localfs"])
@pytest.mark.parametrize("harm", [spoil, lose])
def test_a_reader_never_sees_damage_that_a_copy_can_heal(new_gateway, driver, harm):
    gateway = new_gateway(driver, **OFF)
    data = fill(gateway, 3)
    content = data["doc-1"]
    copy(gateway, "doc-1")
    harm(gateway, content)
    assert gateway.get("doc-1", offset=5, length=100) == content[5:105]
    assert gateway.get("doc-1") == content
    assert "damaged chunk healed from a copy" in log(gateway)
    assert metric(gateway, "stowage_chunk_healed_total") == 1
    # And the archive from the working set; then neither needs the other.
    harm(gateway, content, ARCHIVE)
    assert gateway.get("doc-1", store=ARCHIVE) == content
    for store in (STORE, ARCHIVE):
        gateway.sweep(store=store)
        assert "damaged" not in gateway("store_verify", store=store)
    harm(gateway, data["doc-2"])
    assert gateway.refuses("object_get", store=STORE, bucket="b", key="doc-2").code == "corrupt"


# ---- scrub ----


@pytest.mark.parametrize("driver", ["db", "localfs"])
def test_the_scrub_finds_damage_and_heals_it_from_the_archive(new_gateway, driver):
    gateway = new_gateway(driver, **OFF)
    data = fill(gateway, 14)
    gateway.put("twin", data["doc-7"])
    copy(gateway, "doc-7")
    copy(gateway, "doc-11")
    spoil(gateway, data["doc-7"])
    lose(gateway, data["doc-11"])
    lose(gateway, data["doc-13"])
    begin_to_scrub(gateway)
    done = first_pass(gateway)
    assert (done["chunks"], done["damaged"], done["healed"]) == (14, 3, 2)
    assert gateway.get("twin") == data["doc-7"] and gateway.get("doc-11") == data["doc-11"]
    status = gateway("store_scrub", store=STORE)
    assert [(d["sha256"], d["objects"]) for d in status["damaged"]] == [(sha(data["doc-13"]), ["a/b/doc-13"])]
    said = log(gateway)
    assert re.search(r"scrub found damage and healed it.*objects=\"?a/b/doc-7, a/b/twin", said)
    assert re.search(r"scrub found damage store.*objects=\"?a/b/doc-13", said)
    assert metric(gateway, "stowage_scrub_damaged_total") >= 3
    assert metric(gateway, "stowage_chunk_healed_total") == 2
    shown = stowage(gateway, "store", "scrub", STORE)
    assert "a/b/doc-13" in shown and re.search(r"damaged chunks: +1\b", shown), shown
    # Put again, or read well again, and nothing is marked any more.
    gateway.put("again", data["doc-13"])
    assert "damaged" not in next_pass(gateway)
    assert gateway("store_scrub", store=STORE).get("marked", 0) == 0
    wait_until(lambda: swept(gateway), "the sweep", every=0.3)
    assert "damaged" not in gateway("store_verify", store=STORE)


def test_the_archive_is_scrubbed_too(new_gateway):
    gateway = new_gateway("localfs", **OFF)
    data = fill(gateway, 3)
    copy(gateway, "doc-0")
    spoil(gateway, data["doc-0"], ARCHIVE)
    begin_to_scrub(gateway)
    done = first_pass(gateway, ARCHIVE)
    assert (done["chunks"], done["healed"]) == (1, 1)
    assert gateway.get("doc-0", store=ARCHIVE) == data["doc-0"]


def test_the_rate_is_kept_and_a_drain_is_immediate(new_gateway):
    gateway = new_gateway("localfs", **OFF)
    for n in range(5):
        gateway.put(f"doc-{n}", os.urandom(50_000))
    begin_to_scrub(gateway, scrub_rate=100_000)
    done = first_pass(gateway)
    assert done["bytes"] == 250_000
    # The first one is free: four have to be waited for, at half a second each.
    assert 2000 <= done["finished_at"] - done["started_at"] < 8000
    gateway.process.stop()
    gateway.settings["scrub_rate"] = 10  # an hour and a half for each
    gateway.start()
    wait_until(lambda: "finished_at" not in passes(gateway)[0], "the next pass to begin")
    started = time.monotonic()
    gateway.process.stop()
    assert gateway.process.process.returncode == 0
    assert time.monotonic() - started < 5


SCRUB_POINTS = [
    "scrub-after-chunk:3",
    "scrub-after-batch",
    "scrub-after-pass",
    "heal-after-copy",
    "rewrite-after-intent",
    "rewrite-after-backend",
    "rewrite-after-check",
    "rewrite-after-replace",
]


@pytest.mark.parametrize("point", SCRUB_POINTS)
def test_kill_9_within_a_scrub_and_the_pass_goes_on(new_gateway, point):
    gateway = new_gateway("localfs", **OFF)
    data = fill(gateway, 12)
    copy(gateway, "doc-9")
    copy(gateway, "doc-5")
    spoil(gateway, data["doc-9"])
    lose(gateway, data["doc-5"])
    gateway.process.stop()
    # A pass begins when the last began an hour ago: what goes on after the restart is this one.
    gateway.settings.update(scrub_rate=1 << 36, scrub_interval="1h")
    start_and_be_killed(gateway, point)
    if point == "scrub-after-batch":
        assert int(gateway.sql("SELECT max(position) FROM objects.scrub")) > 0
    expire_leases(gateway)
    gateway.start()

    def finished():
        found = passes(gateway)
        return found and "finished_at" in found[0] and found

    done = wait_until(finished, "the pass to be finished")
    assert [p["pass"] for p in done] == [1]
    # Chunks that were healed before the kill, and not counted yet, have new numbers, beyond the pass.
    assert 10 <= done[0]["chunks"] <= 12
    assert gateway.get("doc-5") == data["doc-5"] and gateway.get("doc-9") == data["doc-9"]
    assert gateway("store_scrub", store=STORE).get("marked", 0) == 0
    wait_until(lambda: swept(gateway), "the sweep to take what was begun", every=0.3)
    assert "damaged" not in gateway("store_verify", store=STORE)
    assert as_json(gateway, "store", "audit", STORE)["items"][0]["listed"] == 12


def swept(gateway):
    gateway.sweep()
    return gateway.sql("SELECT count(*) FROM objects.chunk WHERE state <> 'live'") == "0"


def test_one_replica_scrubs_and_another_goes_on_when_it_is_killed(new_gateway):
    slow = {"scrub_rate": 1 << 14, "scrub_interval": "1h", "lease": "3s"}  # a second for each chunk
    first = new_gateway("localfs", **OFF)
    fill(first, 10)
    second = new_gateway("localfs", start=False, **slow)
    second.driver = first.driver
    first.process.stop()
    first.settings.update(slow)
    first.start()
    wait_until(lambda: passes(first), "the pass to begin")
    second.start()
    wait_until(lambda: passes(first)[0].get("chunks", 0) > 2, "some of it to be saved")
    worker = first("store_scrub", store=STORE)["worker"]
    assert second("store_scrub", store=STORE)["worker"] == worker
    first.process.kill()
    wait_until(
        lambda: second("store_scrub", store=STORE).get("worker", worker) != worker, "the other to go on", seconds=60
    )
    done = wait_until(lambda: [p for p in passes(second) if "finished_at" in p], "the end of the pass", seconds=60)
    assert (done[0]["pass"], done[0]["chunks"]) == (1, 10)


def crowd(gateway, over, wrong):
    """Puts, deletes and sweeps, until it is over."""

    def work(number):
        n = 0
        while not over.is_set():
            data = f"{number} {n}".encode() * 50
            try:
                gateway.put(f"{number}/{n % 3}", data)
                if n % 2:
                    gateway("object_delete", store=STORE, bucket="b", key=f"{number}/{n % 3}")
            except Refused as refused:
                if refused.code not in ("precondition failed", "conflict", "unavailable"):
                    wrong.append(str(refused))
            n += 1

    def sweep():
        while not over.is_set():
            gateway.sweep()

    return [threading.Thread(target=work, args=(n,)) for n in range(3)] + [threading.Thread(target=sweep)]


@pytest.mark.parametrize("driver", ["db", "localfs"])
def test_scrub_and_audit_report_nothing_of_what_comes_and_goes(new_gateway, driver):
    gateway = new_gateway(driver, gc_grace="0s", gc_interval="100ms", **FAST)
    data = fill(gateway, 10)
    over, wrong = threading.Event(), []
    threads = crowd(gateway, over, wrong)
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            audited = as_json(gateway, "store", "audit", STORE, "--remove-orphans", "--mark-missing")["items"][0]
            assert "orphans" not in audited and "missing" not in audited
            assert audited["listed"] >= 10
            assert "damaged" not in next_pass(gateway)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert "chunk damaged" not in log(gateway)
    for key, content in data.items():
        assert gateway.get(key) == content


# ---- verify ----


def test_verify_reports_samples_and_heals(new_gateway):
    gateway = new_gateway("localfs", **OFF)
    data = fill(gateway, 12)
    copy(gateway, "doc-3")
    for key in ("doc-3", "doc-4"):
        spoil(gateway, data[key])
    shown = stowage(gateway, "store", "verify", STORE, "--no-heal", status=1)
    assert "12 chunks checked" in shown and "2 damaged\n" in shown and "a/b/doc-3" in shown and "a/b/doc-4" in shown
    shown = stowage(gateway, "store", "verify", STORE, status=1)
    assert "2 damaged, 1 of them healed" in shown and "healed: " in shown
    assert gateway.get("doc-3") == data["doc-3"]
    copy_of_4 = data["doc-4"]
    gateway.put("elsewhere", copy_of_4, store=ARCHIVE)
    healed = as_json(gateway, "store", "verify", STORE, "--heal")
    assert [(d["sha256"], d["healed"], d["objects"]) for d in healed["damaged"]] == [(sha(copy_of_4), True, ["a/b/doc-4"])]
    assert as_json(gateway, "store", "verify", STORE) == {"checked": 12, "bytes": sum(map(len, data.values()))}
    assert as_json(gateway, "store", "verify", STORE, "--count", "7")["checked"] == 7
    assert as_json(gateway, "store", "verify", STORE, "--count", "700")["checked"] == 12
    assert as_json(gateway, "store", "verify", STORE, "--sample", "100%")["checked"] == 12
    assert as_json(gateway, "store", "verify", STORE, "--sample", "0.0001").get("checked", 0) < 5
    for wrong in (["--sample", "0"], ["--sample", "101"], ["--sample", "x"], ["--count", "0"], ["--count", "1", "--sample", "1"]):
        stowage(gateway, "store", "verify", STORE, *wrong, status=2)


def test_what_is_in_a_back_end_that_is_away_is_no_damage(new_gateway):
    gateway = new_gateway("localfs", **OFF)
    fill(gateway, 5)
    gateway.process.stop()
    (gateway.directory / "data").rename(gateway.directory / "away")
    (gateway.directory / "data").write_text("in the way")
    gateway.driver = {"name": "db"}
    gateway.start()
    new = os.urandom(1000)
    gateway.put("new", new)
    shown = stowage(gateway, "store", "verify", STORE, status=1)
    assert "1 chunks checked" in shown and "0 damaged, 5 more not reached" in shown and "localfs" in shown
    assert gateway.sql("SELECT count(*) FROM objects.chunk WHERE damaged") == "0"
    audited = as_json(gateway, "store", "audit", STORE, status=1)["items"]
    assert {(i["backend"], "error" in i) for i in audited} == {("localfs", True), ("db", False)}
    begin_to_scrub(gateway)
    done = first_pass(gateway)
    assert (done["chunks"], done["unreachable"], done.get("damaged", 0)) == (1, 5, 0)


# ---- audit ----


@pytest.mark.parametrize("driver", ["db", "localfs"])
def test_an_audit_finds_what_is_on_one_side_only_and_puts_it_right(new_gateway, driver):
    gateway = new_gateway(driver, **OFF)
    data = fill(gateway, 12)
    copy(gateway, "doc-2")
    assert as_json(gateway, "store", "audit", STORE)["items"][0]["rows"] == 12
    add_stray(gateway)
    for key in ("doc-2", "doc-9"):
        lose(gateway, data[key])
    found = as_json(gateway, "store", "audit", STORE, "--backend", driver, status=1)["items"][0]
    assert [o["number"] for o in found["orphans"]] == [987654]
    assert {m["sha256"]: m["objects"] for m in found["missing"]} == {
        sha(data["doc-2"]): ["a/b/doc-2"],
        sha(data["doc-9"]): ["a/b/doc-9"],
    }
    shown = stowage(gateway, "store", "audit", STORE, "--mark-missing", "--remove-orphans", status=1)
    assert "1 without a row (1 removed), 2 not there (1 healed)" in shown and "1 chunks are on one side only" in shown
    assert gateway.get("doc-2") == data["doc-2"]
    gateway.put("again", data["doc-9"])
    wait_until(lambda: swept(gateway), "the sweep", every=0.3)
    assert "0 without a row, 0 not there" in stowage(gateway, "store", "audit", STORE)
    assert "no back end" in stowage(gateway, "store", "audit", STORE, "--backend", "tape", status=1)
    for key, content in data.items():
        assert gateway.get(key) == content


@pytest.mark.parametrize("point", ["audit-before-remove", "audit-after-remove", "audit-after-mark", "heal-after-copy"])
def test_kill_9_within_an_audit_and_the_next_one_does_the_rest(new_gateway, point):
    gateway = new_gateway("localfs", **OFF)
    data = fill(gateway, 5)
    copy(gateway, "doc-2")
    add_stray(gateway)
    lose(gateway, data["doc-2"])
    gateway.process.stop()
    gateway.start(fault=point)
    with pytest.raises((Refused, subprocess.TimeoutExpired)):
        gateway("store_audit", store=STORE, backend="localfs", remove_orphans=True, mark_missing=True, timeout=5)
    wait_until(lambda: not gateway.process.alive(), "the gateway to be killed")
    gateway.start()
    stowage(gateway, "store", "audit", STORE, "--remove-orphans", "--mark-missing")
    wait_until(lambda: swept(gateway), "the sweep", every=0.3)
    assert as_json(gateway, "store", "audit", STORE)["items"][0] == {"backend": "localfs", "listed": 5, "rows": 5}
    for key, content in data.items():
        assert gateway.get(key) == content
