"""The worker's disk and its life: scratch space, layer cache, kill -9, SIGTERM."""

import os
import random
import signal
import subprocess
import threading
import time
from dataclasses import replace

import tiny
from support.base import BIN, wait_until
from support.fake_registry import Answer
from tiny import File, image, layer, npm

FAST_LEASE = {"catalog": {"lease": "3s"}}


def noise(size, seed):
    return random.Random(seed).randbytes(size)


def detail(stowage, name, account="default"):
    got = stowage("--account", account, "image", "get", name)
    return got.get("image", got)


def slow_image(fake_registry, name, unique):
    """An image whose second layer comes so slowly that there is time to do something to the worker."""
    big = layer({"big": File(data=noise(3_000_000, unique))}, "none")
    what = image([layer({"small": unique, **npm("small", "1.0.0")}), big])
    fake_registry.add(what, name)
    fake_registry.on(f"/v2/{name.partition(':')[0]}/blobs/{big.digest}", Answer(200, big.data, pace=0.2), times=1)
    return what


def start_slow_job(stowage, fake_registry, unique):
    what = slow_image(fake_registry, f"{unique}/slow:1", unique)
    reference = f"{fake_registry.host}/{unique}/slow:1"
    stowage("image", "add", reference)
    wait_until(
        lambda: any(r.path.endswith(what.layers[1].digest) for r in fake_registry.requests), "the slow layer to be asked for"
    )
    return reference


def scratch_entries(stowage, number=1):
    return [name for name in os.listdir(stowage.tmp_dir(number) / "scratch") if not name.startswith(".")]


def test_a_second_worker_on_the_same_scratch_space_refuses_to_start(stowage):
    second = subprocess.run(
        [str(w) for w in [BIN / "analyzer-worker", *stowage.configs, *worker_config(stowage, 1)]],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    said = second.stderr.decode()
    assert second.returncode == 1, said
    assert str(stowage.tmp_dir(1)) in said
    assert f"/{stowage.pid('worker-1')}" in said or str(stowage.pid("worker-1")) in said


def worker_config(stowage, number):
    """The --config that sets this worker's directory, as deploy/local/up passes it."""
    extra = stowage.directory / "same-scratch.yaml"
    extra.write_text(f"analyzer_worker: {{tmp_dir: '{stowage.tmp_dir(number)}', http_listen: ''}}\n")
    return ["--config", extra]


def test_a_killed_worker_leaves_scratch_that_the_next_start_sweeps_and_a_job_that_another_finishes(
    new_stowage, fake_registry, unique
):
    stowage = new_stowage(workers=1, config=FAST_LEASE)
    reference = start_slow_job(stowage, fake_registry, unique)
    stowage.kill("worker-1")
    assert scratch_entries(stowage)
    stowage.up()
    stowage("image", "wait", reference, timeout=90)
    assert detail(stowage, reference)["status"] == "analysed"
    assert not scratch_entries(stowage)
    assert "scratch swept" in stowage.log("worker-1")


def test_a_worker_told_to_stop_hands_its_job_back_at_once(new_stowage, fake_registry, unique):
    stowage = new_stowage(workers=1, config={"catalog": {"lease": "60s"}})
    reference = start_slow_job(stowage, fake_registry, unique)
    stowage.terminate("worker-1", seconds=30)
    assert detail(stowage, reference)["status"] == "queued"
    assert not scratch_entries(stowage)
    stowage.up()
    stowage("image", "wait", reference, timeout=60)
    assert detail(stowage, reference)["status"] == "analysed"


def test_an_idle_worker_leaves_at_once_and_no_job_is_lost_over_it(new_stowage, registry, unique):
    stowage = new_stowage(workers=1, config={"catalog": {"lease": "120s"}})
    first = registry.push(image([layer({"x": unique})]), f"{unique}/first:1")
    stowage("image", "add", first, "--wait")  # it has only just begun to wait for the next one
    time.sleep(0.2)
    began = time.monotonic()
    stowage.terminate("worker-1")
    assert time.monotonic() - began < 2  # with sanitizers; its request for work is held for five seconds
    assert stowage("status")["queue"].get("workers", []) == []
    # A job that comes in the moment the worker leaves is not held by one that is gone.
    for n in range(4):
        stowage.up()
        reference = registry.push(image([layer({"x": f"{unique} {n}"})]), f"{unique}/next:{n}")
        leaving = threading.Thread(target=stowage.terminate, args=("worker-1",))
        leaving.start()
        stowage("image", "add", reference)
        leaving.join()
        assert detail(stowage, reference)["status"] in ("queued", "analysed")


def test_status_tells_workers_that_are_gone_from_those_that_live(new_stowage):
    stowage = new_stowage(workers=2)
    workers = wait_until(lambda: len(found := stowage("status")["queue"].get("workers", [])) == 2 and found, "both workers")
    assert all(each["alive"] and each["jobs"] == 0 for each in workers), workers
    dead = f"/{stowage.pid('worker-1')}-"
    stowage.kill("worker-1")
    stowage.psql("UPDATE catalog.worker SET seen_at = seen_at - 20000 WHERE name LIKE '%" + dead + "%'")
    told = {dead in each["worker"]: each for each in stowage("status")["queue"]["workers"]}
    assert not told[True].get("alive") and told[True]["seen_ms"] >= 20000
    assert told[False]["alive"] and told[False]["seen_ms"] < 20000
    shown = stowage.text("status")
    assert next(line for line in shown.splitlines() if dead in line).split()[1] == "gone"


def test_a_frozen_worker_loses_its_lease_and_cannot_commit_late(new_stowage, fake_registry, unique):
    stowage = new_stowage(workers=2, config=FAST_LEASE)
    reference = start_slow_job(stowage, fake_registry, unique)
    frozen = wait_until(
        lambda: next((n for n in ("worker-1", "worker-2") if scratch_entries(stowage, int(n[-1]))), None), "a job in scratch"
    )
    stowage.signal(frozen, signal.SIGSTOP)
    try:
        stowage("image", "wait", reference, timeout=90)
    finally:
        stowage.signal(frozen, signal.SIGCONT)
    before = detail(stowage, reference)
    assert before["status"] == "analysed"
    wait_until(lambda: not scratch_entries(stowage, int(frozen[-1])), "the late worker to give up")
    after = detail(stowage, reference)
    assert after["analysed_at"] == before["analysed_at"]


def cache_bytes(stowage, number=1):
    directory = stowage.tmp_dir(number) / "layer_cache" / "sha256"
    total = 0
    for entry in os.scandir(directory) if directory.exists() else ():
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            pass
    return total


def test_the_cache_limit_holds_while_jobs_run_without_pause(new_stowage, registry, unique):
    limit = 0.002  # gigabytes: room for three of the layers below
    stowage = new_stowage(
        workers=1, config={"analyzer_worker": {"layer_cache_max_gigabytes": str(limit), "jobs": 3, "parallel_layers": 2}}
    )
    layers = [layer({f"f{n}": File(data=noise(600_000, n))}, "none") for n in range(8)]
    references = [
        registry.push(image([layers[n], layers[(n + 1) % 8], layer({"n": f"{unique} {n}"})]), f"{unique}/c{n}:1")
        for n in range(8)
    ]
    over, done = [], threading.Event()

    def watch():
        while not done.is_set():
            used = cache_bytes(stowage)
            if used > limit * 2**30:
                over.append(used)
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for account in ("one", "two", "three"):
            stowage("account", "add", account)
            for reference in references:
                stowage("--account", account, "image", "add", reference)
        for account in ("one", "two", "three"):
            for reference in references:
                stowage("--account", account, "image", "wait", reference, timeout=120)
                assert detail(stowage, reference, account)["status"] == "analysed"
    finally:
        done.set()
        watcher.join()
    assert not over
    assert cache_bytes(stowage) > 0


def test_a_damaged_cached_blob_is_noticed_dropped_and_fetched_again(new_stowage, fake_registry, unique):
    stowage = new_stowage(workers=1)
    whole = layer({"a": File(data=noise(100_000, unique)), **npm("whole", "1.0.0")})
    harmed = layer({"b": File(data=noise(100_000, unique + "b")), **npm("harmed", "1.0.0")})
    for name, each in (("one", whole), ("two", harmed)):
        # An image that says something else of the layer's content fails when the layer is in the cache.
        wrong = image([replace(each, diff_id=tiny.sha256(b"something else"))])
        assert stowage.fails("image", "add", fake_registry.add(wrong, f"{unique}/{name}:1"), "--wait").code == "corrupt"

    cached = stowage.tmp_dir(1) / "layer_cache" / "sha256" / f"{harmed.digest.partition(':')[2]}.default"
    damaged = bytearray(cached.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    cached.write_bytes(damaged)
    reference = fake_registry.add(image([whole, harmed]), f"{unique}/both:1")
    stowage("image", "add", reference, "--wait")
    assert detail(stowage, reference)["status"] == "analysed"
    assert len(fake_registry.asked(whole.digest)) == 1  # from the cache
    assert len(fake_registry.asked(harmed.digest)) == 2
    assert cached.read_bytes() == harmed.data


def test_what_is_in_the_cache_of_one_account_is_no_other_accounts(new_stowage, fake_registry, unique):
    stowage = new_stowage(workers=1)
    secret = layer({"secret": File(data=noise(50_000, unique)), **npm("secret", "1.0.0")})
    stowage("image", "add", fake_registry.add(image([secret]), f"{unique}/owner:1"), "--wait")
    stowage("account", "add", "other")
    # Somebody knows the digest, and has a registry that knows no more.
    thief = fake_registry.add(image([secret]), f"{unique}/thief:1")
    fake_registry.on(f"/v2/{unique}/thief/blobs/{secret.digest}", Answer(404))
    failure = stowage.fails("--account", "other", "image", "add", thief, "--wait")
    assert failure.code == "not found" and secret.digest in failure.message
    # Who may read it has his own copy, and both count.
    stowage("--account", "other", "image", "add", f"{fake_registry.host}/{unique}/owner:1", "--wait")
    assert len(fake_registry.asked(f"/owner/blobs/{secret.digest}")) == 2
    assert cache_bytes(stowage) == 2 * len(secret.data)


def test_scratch_space_that_is_too_small_fails_with_that_reason_and_fills_nothing(new_stowage, registry, unique):
    stowage = new_stowage(
        workers=1, config={"analyzer_worker": {"scratch_max_gigabytes": "0.0001"}, "catalog": {"max_attempts": 2}}
    )
    many = layer({f"{unique}/directory-{n % 100}/file-{n}": b"" for n in range(30_000)})
    reference = registry.push(image([many]), f"{unique}/wide:1")
    failure = stowage.fails("image", "add", reference, "--wait", timeout=110)
    assert "scratch" in failure.message
    assert not scratch_entries(stowage)


def test_an_incomplete_result_says_so_where_the_operator_accepts_one(new_stowage, registry, unique):
    stowage = new_stowage(workers=1, config={"analyzer_worker": {"allow_incomplete": True}})
    broken = {"var/lib/dpkg/status": b"Package: x\nStatus: install ok installed\n\n\0\1\2 no status file"}
    reference = registry.push(image([layer({**broken, **npm("fine", "1.0.0"), "u": unique})]), f"{unique}/part:1")
    stowage("image", "add", reference, "--wait")
    got = detail(stowage, reference)
    assert got["status"] == "analysed"
    assert any("var/lib/dpkg/status" in each for each in got["incomplete"]), got
    assert [p["name"] for p in stowage("image", "content", reference, "npm")["items"]] == ["fine"]


def test_two_images_at_once_with_one_layer_download_it_once(new_stowage, fake_registry, unique):
    stowage = new_stowage(workers=1, config={"analyzer_worker": {"jobs": 2}})
    shared = layer({"shared": File(data=noise(2_000_000, unique))}, "none")
    for n in range(2):
        fake_registry.add(image([shared, layer({"n": f"{unique}{n}"})]), f"{unique}/pair{n}:1")
        fake_registry.on(f"/v2/{unique}/pair{n}/blobs/{shared.digest}", Answer(200, shared.data, pace=0.03), times=1)
    references = [f"{fake_registry.host}/{unique}/pair{n}:1" for n in range(2)]
    for reference in references:
        stowage("image", "add", reference)
    for reference in references:
        stowage("image", "wait", reference)
        assert detail(stowage, reference)["status"] == "analysed"
    assert len(fake_registry.asked(shared.digest)) == 1


def test_tiny_is_deterministic():
    assert image([layer({"a": "b"})]).digest == image([layer({"a": "b"})]).digest
    assert tiny.sha256(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
