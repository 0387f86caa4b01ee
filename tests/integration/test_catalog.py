"""The catalog alone: real binary (often two replicas of it), PostgreSQL, gateway and registry; the worker is this test."""

import threading
import time

import pytest
import tiny
from support.base import free_port, wait_until
from support.catalog import REVISION, Catalog, at_once, small_image, some_packages
from support.registry import PASSWORD, USER


@pytest.fixture(scope="module")
def catalog():
    shared = Catalog(replicas=2)
    yield shared
    shared.close()


# Images ------------------------------------------------------------------------------------------------------------


def test_clients_that_add_one_image_at_once_share_its_job(catalog, registry, unique):
    reference = registry.push(small_image(unique), f"{unique}/app:1")
    replies = at_once(*[lambda n=n: catalog.call("image_add", reference=reference, replica=n % 2) for n in range(6)])
    assert all(reply == replies[0] for reply in replies), replies
    assert replies[0]["status"] == "queued"
    assert catalog.one(f"SELECT count(*) FROM catalog.job j WHERE id = {replies[0]['job']}") == "1"
    assert catalog.one(f"SELECT count(*) FROM catalog.image WHERE reference LIKE '%{unique}%'") == "1"
    catalog.call("job_cancel", job=replies[0]["job"])


def test_an_image_goes_from_added_to_queried_and_is_known_then(catalog, registry, unique):
    image, packages = small_image(unique, layers=2), some_packages(unique, 5)
    reference = registry.push(image, f"{unique}/app:1")
    digest = catalog.analyse(reference, image, packages)
    assert digest == image.digest

    shown = catalog.call("image_get", image=reference)["image"]
    assert shown["status"] == "analysed" and shown["packages"] == 5 and shown["tags"] == [reference]
    assert [each["digest"] for each in shown["layers"]] == [each.digest for each in image.layers]
    page = catalog.call("image_packages", image=digest, limit=2)
    rest = catalog.call("image_packages", image=digest, after=page["cursor"])
    assert page["items"] + rest["items"] == packages and "cursor" not in rest
    hits = catalog.call("package_find", name=packages[0]["name"])["items"]
    assert [(hit["image"], hit["residence"]) for hit in hits] == [(digest, "working")]

    again = catalog.call("image_add", reference=reference)
    assert again == {"digest": digest, "status": "analysed"}
    # By digest it needs no registry.
    assert catalog.call("image_add", reference=f"127.0.0.1:9/{unique}/app@{digest}")["status"] == "analysed"
    assert catalog.call("image_wait", image=reference, wait_ms=20000)["status"] == "analysed"
    forced = catalog.call("image_add", reference=reference, force=True)
    assert forced["status"] == "queued"
    catalog.call("job_cancel", job=forced["job"])
    assert catalog.call("image_get", image=reference)["image"]["status"] == "analysed"


def test_a_tag_that_moves_is_followed_and_remembered(catalog, registry, unique):
    first, second = small_image(unique + "a"), small_image(unique + "b")
    reference = registry.push(first, f"{unique}/app:1")
    a = catalog.call("image_add", reference=reference)
    registry.push(second, f"{unique}/app:1")
    b = catalog.call("image_add", reference=reference)
    assert (a["digest"], b["digest"]) == (first.digest, second.digest)
    assert catalog.call("image_get", image=reference)["image"]["digest"] == second.digest
    changes = catalog.call("image_history", reference=reference)["changes"]
    assert [each["digest"] for each in changes] == [second.digest, first.digest]
    for job in (a["job"], b["job"]):
        catalog.call("job_cancel", job=job)


def test_a_platform_is_chosen_from_an_index(catalog, registry, unique):
    amd = tiny.image([tiny.layer({"a": unique})], platform="linux/amd64")
    arm = tiny.image([tiny.layer({"b": unique})], platform="linux/arm64")
    index = tiny.index([amd, arm])
    reference = registry.push(index, f"{unique}/app:1")
    added = catalog.call("image_add", reference=reference, platform="linux/arm64")
    assert added["digest"] == arm.digest
    assert catalog.call("image_get", image=index.digest)["image"]["digest"] == arm.digest
    assert catalog.call("image_get", image=arm.digest)["image"]["parent_digest"] == index.digest
    none = catalog.refuses("image_add", reference=reference, platform="linux/riscv64")
    assert none.code == "not found" and "linux/amd64" in none.message
    catalog.call("job_cancel", job=added["job"])


def test_lists_page_newest_first(catalog, registry, unique):
    account = unique
    catalog.call("account_add", name=account)
    digests = []
    for n in range(5):
        image = small_image(f"{unique}-{n}")
        reference = registry.push(image, f"{unique}/app:{n}")
        digests.append(catalog.call("image_add", account=account, reference=reference)["digest"])
    seen, after = [], ""
    while True:
        page = catalog.call("image_list", account=account, tag="app:*", limit=2, after=after)
        seen += [item["digest"] for item in page["items"]]
        if not page.get("more"):
            break
        after = page["items"][-1]["cursor"]
    assert seen == digests[::-1]
    assert catalog.call("image_list", account=account, status="analysed").get("items", []) == []
    for item in catalog.call("job_list", account=account)["items"]:
        catalog.call("job_cancel", account=account, job=item["job"])


def test_what_cannot_be_added_is_named(catalog, registry, new_registry, fake_registry, unique):
    locked = new_registry(auth="basic")
    reference = locked.push(small_image(unique), f"{unique}/app:1")

    assert catalog.refuses("image_add", reference="Not A Reference").code == "invalid"
    unknown = catalog.refuses("image_add", reference=f"{registry.host}/{unique}/none:1")
    assert unknown.code == "not found" and f"{unique}/none:1" in unknown.message
    away = catalog.refuses("image_add", reference=f"127.0.0.1:{free_port()}/{unique}/app:1", timeout=60)
    assert away.code == "unavailable" and "127.0.0.1" in away.message
    nobody = catalog.refuses("image_add", account="nobody", reference=reference)
    assert nobody.code == "not found" and "nobody" in nobody.message

    assert catalog.refuses("image_add", reference=reference).code == "unauthenticated"
    catalog.call("registry_add", registry=locked.host, user=USER, password="wrong")
    assert catalog.refuses("image_add", reference=reference).code == "unauthenticated"
    catalog.call("registry_add", registry=locked.host, user=USER, password=PASSWORD)
    added = catalog.call("image_add", reference=reference)
    lease = catalog.lease()
    assert (lease["registry_user"], lease["registry_password"]) == (USER, PASSWORD)
    assert PASSWORD not in str(catalog.call("registry_list"))
    assert PASSWORD not in "".join(p.read_text() for p in catalog.directory.glob("*.log"))
    catalog.call("job_cancel", job=added["job"])


# Jobs --------------------------------------------------------------------------------------------------------------


def test_a_worker_that_vanishes_loses_its_job_to_another(new_catalog, registry, unique):
    catalog = new_catalog(replicas=2, lease="5s")
    image = small_image(unique)
    catalog.call("image_add", reference=registry.push(image, f"{unique}/app:1"))
    lost = catalog.lease("vanishes")
    assert lost["token"] == 1
    taken = wait_until(lambda: (lease := catalog.lease("w2", wait_ms=2000)).get("job") and lease, "the lease to end", 20)
    assert (taken["job"], taken["token"]) == (lost["job"], 2)
    for method, more in (
        ("job_renew", {}),
        ("job_release", {}),
        ("job_fail", {"kind": "transient", "reason": "x"}),
        ("layer_lookup", {"revision": REVISION, "layers": [image.layers[0].digest]}),
        ("layer_begin", {"revision": REVISION, "layer": image.layers[0].digest}),
    ):
        assert catalog.refuses(method, **catalog.held(lost), **more).code == "stale lease", method
    result = catalog.result(taken, image, some_packages(unique))
    assert catalog.refuses("job_commit", **{**result, "token": 1}).code == "stale lease"
    catalog.call("job_commit", **result)
    catalog.call("job_commit", **result)
    item = catalog.call("job_get", job=taken["job"])["item"]
    assert (item["state"], item["deaths"], item["worker"]) == ("done", 1, "w2")


def test_a_job_that_kills_its_workers_is_quarantined(new_catalog, registry, unique):
    catalog = new_catalog(max_deaths=2, lease="500ms")
    added = catalog.call("image_add", reference=registry.push(small_image(unique), f"{unique}/app:1"))
    for token in (1, 2):
        assert catalog.lease(wait_ms=10000)["token"] == token
    ended = catalog.call("image_wait", image=added["digest"], wait_ms=20000)
    assert ended["status"] == "failed" and "2 workers died" in ended["reason"]
    assert catalog.call("job_get", job=added["job"])["item"]["state"] == "quarantined"
    assert catalog.call("queue_stats")["quarantined"] == 1
    # An operator who has mended it asks again.
    assert catalog.call("job_retry", job=added["job"])["item"]["state"] == "queued"
    assert catalog.lease()["token"] == 3


def test_a_renewed_lease_outlives_its_length(new_catalog, registry, unique):
    catalog = new_catalog(lease="3s")
    catalog.call("image_add", reference=registry.push(small_image(unique), f"{unique}/app:1"))
    lease = catalog.lease()
    deadline = time.monotonic() + 7
    while time.monotonic() < deadline:
        reply = catalog.call("job_renew", **catalog.held(lease), stage="layers", layers_done=1, layers_total=3)
        assert reply["lease_ms"] == 3000
        time.sleep(0.5)
    waiting = catalog.call("image_wait", image=lease["digest"])
    assert (waiting["status"], waiting["stage"], waiting["layers_total"]) == ("analysing", "layers", 3)
    catalog.call("job_cancel", job=lease["job"])
    assert catalog.call("job_renew", **catalog.held(lease))["cancelled"]


def test_a_waiting_worker_hears_of_work_at_another_replica(catalog, registry, unique):
    references = [registry.push(small_image(f"{unique}{n}"), f"{unique}/app:{n}") for n in range(5)]
    took = []
    for reference in references:
        waiter = threading.Thread(target=lambda: took.append((catalog.lease(wait_ms=20000, replica=1), time.monotonic())))
        waiter.start()
        time.sleep(1.5)
        catalog.call("image_add", reference=reference, replica=0)
        added = time.monotonic()
        waiter.join(30)
        lease, leased = took.pop()
        assert lease.get("job")
        took_ms = (leased - added) * 1000
        catalog.call("job_cancel", job=lease["job"])
        if took_ms < 300:
            return
    raise AssertionError(f"the last of {len(references)} waits took {took_ms:.0f} ms: only the poll found it")


def test_waiting_requests_leave_threads_for_others(new_catalog, registry, unique):
    catalog = new_catalog(threads=4)
    added = catalog.call("image_add", reference=registry.push(small_image(unique), f"{unique}/app:1"))
    catalog.lease()
    stop = threading.Event()

    def wait():
        while not stop.is_set():
            catalog.call("image_wait", image=added["digest"], wait_ms=4000, timeout=60)

    threads = [threading.Thread(target=wait) for _ in range(12)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1)
        times = []
        for _ in range(5):
            start = time.monotonic()
            catalog.call("queue_stats")
            times.append(time.monotonic() - start)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert sorted(times)[2] < 2.5, times


def test_it_drains_while_requests_wait(new_catalog):
    catalog = new_catalog()
    waiter = threading.Thread(target=lambda: at_once(lambda: catalog.lease(wait_ms=20000)))
    waiter.start()
    time.sleep(1)
    start = time.monotonic()
    assert catalog.daemons[0].stop(20) == 0
    assert time.monotonic() - start < 8
    waiter.join(60)
    assert not waiter.is_alive()
