"""Kill -9 of every service and of PostgreSQL at random moments, while many images with repeated layers are analysed.

In the end every image is analysed, with the right result, or failed with a reason; none is stuck; every object has its
bytes; after the sweep no chunk lacks an owner. `make test` runs it small, `make chaos` at length. The seed is printed;
STOWAGE_CHAOS_SEED repeats it.
"""

import os
import random
import threading
import time

import pytest
from support.installation import CliError
from tiny import File, image, layer, npm

CONFIG = {
    "catalog": {"lease": "3s", "max_deaths": 50, "max_attempts": 50, "sweep_grace": "2s", "sweep_period": "1s"},
    "object_store_gateway": {"gc_grace": "2s", "gc_interval": "1s"},
    "analyzer_worker": {"jobs": 2},
}
VICTIMS = ["catalog", "object-store-gateway", "archive-manager", "worker-1", "worker-2", "postgres"]


def make_images(registry, unique, count, seed):
    """Images on a few shared layers; returns {reference: packages}."""
    rng = random.Random(seed)
    shared = [
        (f"base{n}", layer({**npm(f"base{n}", "1.0.0"), f"{unique}/b{n}": File(data=rng.randbytes(200_000))}))
        for n in range(4)
    ]
    images = {}
    for n in range(count):
        bases = rng.sample(shared, 2)
        top = layer({**npm(f"top{n}", f"{n}.0.0"), f"{unique}/t{n}": File(data=rng.randbytes(50_000))})
        reference = registry.push(image([*(blob for _, blob in bases), top]), f"{unique}/app{n}:1")
        images[reference] = sorted([name for name, _ in bases] + [f"top{n}"])
    return images


class Killer(threading.Thread):
    """Kills one process at a time, with random rests, and starts it again."""

    def __init__(self, stowage, rng, rest):
        super().__init__()
        self.stowage, self.rng, self.rest = stowage, rng, rest
        self.ended = threading.Event()
        self.killed = []
        self.failure = None

    def run(self):
        try:
            while not self.ended.wait(self.rng.uniform(*self.rest)):
                victim = self.rng.choice(VICTIMS)
                self.killed.append(victim)
                self.stowage.kill(victim)
                self.ended.wait(self.rng.uniform(0, 0.5))
                self.stowage.up()
        except BaseException as failure:  # noqa: BLE001: shown by the test, which waits for this thread
            self.failure = failure
            self.stowage.up()

    def stop(self):
        self.ended.set()
        self.join()
        if self.failure:
            raise self.failure


class Archivist(threading.Thread):
    """Sends one analysed image after another into the archive and fetches it back, whatever is killed meanwhile."""

    def __init__(self, stowage, rng, references):
        super().__init__()
        self.stowage, self.rng, self.references = stowage, rng, references
        self.ended = threading.Event()
        self.moved = 0
        self.failure = None

    def run(self):
        try:
            while not self.ended.wait(0.2):
                reference = self.rng.choice(self.references)
                if detail(self.stowage, reference).get("status") != "analysed":
                    continue
                insist(self.stowage, "archive", "add", "--detach", reference)
                insist(self.stowage, "archive", "restore", reference)
                self.moved += 1
        except BaseException as failure:  # noqa: BLE001: shown by the test, which waits for this thread
            self.failure = failure

    def stop(self):
        self.ended.set()
        self.join()
        if self.failure:
            raise self.failure


def detail(stowage, reference):
    try:
        got = insist(stowage, "image", "get", reference)
    except CliError as error:
        if error.code != "not found":  # nobody has added it yet
            raise
        return {}
    return got.get("image", got)


def insist(stowage, *arguments, seconds=90):
    """Repeats a command until services are there to answer it: every request may be repeated."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return stowage(*arguments)
        except CliError as error:
            if error.code not in ("unavailable", "deadline exceeded", "internal", "resource exhausted", "conflict"):
                raise
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def settled(stowage, reference, seconds):
    deadline = time.monotonic() + seconds
    while True:
        got = insist(stowage, "image", "get", reference)
        got = got.get("image", got)
        if got["status"] in ("analysed", "failed"):
            return got
        assert time.monotonic() < deadline, f"stuck: {got}"
        time.sleep(0.3)


def check_nothing_half_there(stowage, images, seconds):
    for reference, wanted in images.items():
        got = settled(stowage, reference, seconds)
        assert got["status"] == "analysed", (reference, got.get("reason"))
        found = stowage("image", "content", reference, "packages")["items"]
        assert sorted(p["name"] for p in found) == wanted
        assert len(stowage("image", "content", reference, "files")["items"]) >= 6
    assert int(stowage.psql("SELECT count(*) FROM catalog.image WHERE status = 'analysed'")[0][0]) == len(images)
    assert stowage.psql("SELECT count(*) FROM catalog.job WHERE state IN ('queued', 'leased')")[0][0] == "0"
    for often in (
        "SELECT image, count(*) FROM catalog.job GROUP BY image HAVING count(*) > 1",
        "SELECT subject, count(*) FROM catalog.event WHERE kind = 'image.analysed' GROUP BY subject HAVING count(*) <> 1",
    ):
        assert not stowage.psql(often), often  # each was analysed once
    check_stores(stowage)


def check_stores(stowage, seconds=60):
    """Every object has its bytes, and soon no chunk lacks an owner."""
    deadline = time.monotonic() + seconds
    for store in ("object_store", "analysis_archive"):
        verified = stowage("store", "verify", store)
        assert not verified.get("damaged"), verified
        while stowage("store", "stats", store)["unowned_chunks"]:
            assert time.monotonic() < deadline, stowage("store", "stats", store)
            time.sleep(0.5)


def run_chaos(stowage, registry, unique, count, rest, seconds, archiving=False):
    seed = int(os.environ.get("STOWAGE_CHAOS_SEED") or time.time_ns() % 1_000_000)
    print(f"STOWAGE_CHAOS_SEED={seed}")
    images = make_images(registry, unique, count, seed)
    killer = Killer(stowage, random.Random(seed), rest)
    archivist = Archivist(stowage, random.Random(seed), list(images)) if archiving else None
    killer.start()
    if archivist:
        archivist.start()
    try:
        for reference in images:
            insist(stowage, "image", "add", reference)
        deadline = time.monotonic() + seconds
        for reference in images:
            settled(stowage, reference, max(deadline - time.monotonic(), 30))
    finally:
        killer.stop()
        stowage.up()
        if archivist:
            archivist.stop()
            print("moved", archivist.moved)
    print("killed", killer.killed)
    check_nothing_half_there(stowage, images, 60)
    return killer.killed


def test_kill_9_at_random_moments_loses_nothing(new_stowage, registry, unique):
    stowage = new_stowage(workers=2, config=CONFIG)
    assert run_chaos(stowage, registry, unique, count=10, rest=(0.2, 1.2), seconds=150)


@pytest.mark.chaos_long
@pytest.mark.parametrize("round_", range(int(os.environ.get("STOWAGE_CHAOS_ROUNDS") or 10)))
def test_kill_9_at_length(new_stowage, registry, unique, round_):
    stowage = new_stowage(workers=2, config=CONFIG)
    run_chaos(stowage, registry, unique, count=60, rest=(0.1, 1.5), seconds=600, archiving=True)


@pytest.mark.parametrize("victim", VICTIMS)
def test_each_process_killed_once_in_the_middle_of_a_job(new_stowage, fake_registry, unique, victim):
    from support.base import wait_until
    from support.fake_registry import Answer

    stowage = new_stowage(workers=2, config=CONFIG)
    slow = layer({"slow": File(data=random.Random(unique).randbytes(1_500_000)), **npm("slow", "1.0.0")}, "none")
    fake_registry.add(image([layer({"u": unique}), slow]), f"{unique}/mid:1")
    fake_registry.on(f"/v2/{unique}/mid/blobs/{slow.digest}", Answer(200, slow.data, pace=0.1), times=1)
    reference = f"{fake_registry.host}/{unique}/mid:1"
    stowage("image", "add", reference)
    wait_until(lambda: fake_registry.asked(slow.digest), "the slow layer to be asked for")
    stowage.kill(victim)
    time.sleep(0.5)
    stowage.up()
    got = settled(stowage, reference, 60)
    assert got["status"] == "analysed", got
    assert got["packages"] == 1
    check_stores(stowage)
