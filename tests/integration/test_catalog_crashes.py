"""What crashes of the catalog leave; uploads, and the way out and back in of an image."""

import json
import os
import signal
import time

import pytest
import tiny
from support.base import wait_until
from support.catalog import REVISION, at_once, small_image, some_packages

# What crashes leave --------------------------------------------------------------------------------------------------


def test_an_add_whose_answer_was_lost_has_its_effect_once(new_catalog, registry, unique):
    catalog = new_catalog(replicas=2)
    catalog.kill(0)
    catalog.start(0, fault="image-admitted")
    reference = registry.push(small_image(unique), f"{unique}/app:1")
    for _ in range(20):
        assert catalog.call("image_add", reference=reference)["status"] == "queued"
        if not catalog.daemons[0].alive():
            break
    assert not catalog.daemons[0].alive(), "no request went to the replica that was to die"
    assert catalog.one("SELECT count(*) FROM catalog.image") == "1"
    assert catalog.one("SELECT count(*) FROM catalog.job") == "1"


@pytest.mark.parametrize("fault", ["job-half-committed", "job-committed"])
def test_a_commit_that_is_interrupted_is_done_once(new_catalog, registry, unique, fault):
    catalog = new_catalog(replicas=2, lease="20s")
    image = small_image(unique, layers=2)
    catalog.call("image_add", reference=registry.push(image, f"{unique}/app:1"))
    lease = catalog.lease()
    result = catalog.result(lease, image, some_packages(unique))
    catalog.kill(0)
    catalog.start(0, fault=fault)
    at_once(lambda: catalog.call("job_commit", replica=0, timeout=3, **result))
    assert not catalog.daemons[0].alive()
    catalog.call("job_commit", replica=1, **result)
    shown = catalog.call("image_get", replica=1, image=lease["digest"])["image"]
    assert shown["status"] == "analysed" and len(shown["layers"]) == 2
    assert catalog.one("SELECT count(*) FROM catalog.event WHERE kind = 'image.analysed'") == "1"


@pytest.mark.parametrize("fault", ["image-leaving", "image-objects-gone"])
def test_a_removal_is_resumed_after_a_crash(new_catalog, registry, unique, fault):
    catalog = new_catalog()
    image = small_image(unique)
    digest = catalog.analyse(registry.push(image, f"{unique}/app:1"), image, some_packages(unique))
    catalog.kill()
    catalog.start(fault=fault)
    catalog.call("image_remove", image=digest)
    wait_until(lambda: not catalog.daemons[0].alive(), "the fault to happen")
    catalog.start()
    assert catalog.refuses("image_get", image=digest).code == "not found"
    wait_until(lambda: catalog.one("SELECT count(*) FROM catalog.image") == "0", "the image to go")
    wait_until(lambda: catalog.one("SELECT count(*) FROM catalog.layer") == "0", "its layer to be swept")
    wait_until(lambda: catalog.one("SELECT count(*) FROM catalog.package") == "0", "its packages to be swept")
    assert catalog.keys("images") == [] and catalog.keys("layers") == []
    assert [e["kind"] for e in catalog.call("event_list")["items"]].count("image.removed") == 1


def test_a_sweep_is_resumed_after_a_crash(new_catalog, registry, unique):
    catalog = new_catalog(sweep_period="200ms")
    image = small_image(unique)
    catalog.call("image_add", reference=registry.push(image, f"{unique}/app:1"))
    catalog.kill()
    catalog.start(fault="layer-objects-gone")
    lease = catalog.lease()
    catalog.analyse_layer(lease, image.layers[0])
    assert len(catalog.keys("layers")) == 2
    time.sleep(1)
    assert len(catalog.keys("layers")) == 2  # the running job holds it
    at_once(lambda: catalog.call("job_fail", **catalog.held(lease), kind="deterministic", reason="corrupt: x", timeout=5))
    wait_until(lambda: not catalog.daemons[0].alive(), "the fault to happen")
    assert catalog.one("SELECT state FROM catalog.layer") == "deleting"
    catalog.start()
    wait_until(lambda: catalog.one("SELECT count(*) FROM catalog.layer") == "0", "the sweep to go on")
    assert catalog.keys("layers") == []


def test_what_a_late_worker_wrote_is_found(new_catalog):
    catalog = new_catalog()
    nobodys = "ab" * 32
    catalog.put_object("default", "layers", f"{REVISION}/{nobodys}/files", b"late")
    catalog.put_object("default", "images", f"{nobodys}/config", b"late")
    catalog.put_object("default", "uploads", "nobody/blob", b"late")
    for bucket in ("layers", "images", "uploads"):
        wait_until(lambda bucket=bucket: catalog.keys(bucket) == [], f"bucket {bucket} to be empty")


def test_it_survives_the_death_of_the_database(new_catalog, registry, unique):
    catalog = new_catalog(replicas=2, lease="10s")
    references = [registry.push(small_image(f"{unique}{n}"), f"{unique}/app:{n}") for n in range(6)]
    for reference in references[:3]:
        catalog.call("image_add", reference=reference)
    lease = catalog.lease()
    os.kill(catalog.postgres.pid, signal.SIGKILL)
    failed = at_once(*[lambda r=r: catalog.call("image_add", reference=r, timeout=3) for r in references[3:]])
    assert all(isinstance(each, Exception) for each in failed)
    # Its children go by themselves, which takes a moment.
    wait_until(lambda: at_once(catalog.postgres.start) == [None], "PostgreSQL")
    for daemon in catalog.daemons:
        assert daemon.alive()
    for reference in references:
        wait_until(lambda r=reference: not isinstance(at_once(lambda: catalog.call("image_add", reference=r))[0], Exception),
                   "the catalog to be back")  # fmt: skip
    assert catalog.one("SELECT count(*) FROM catalog.job") == "6"
    # The lease was committed, so it is not lost either, but for time.
    leased = {wait_until(lambda: catalog.lease(wait_ms=3000).get("job"), "a job", 60) for _ in range(6)}
    assert lease["job"] in leased and len(leased) == 6


# Uploads -------------------------------------------------------------------------------------------------------------


def test_an_uploaded_image_is_analysed_and_its_blobs_go(new_catalog, unique):
    catalog = new_catalog()
    image = small_image(unique)
    upload = catalog.call("upload_begin")["upload"]
    for blob in image.blobs:
        catalog.put_object("default", "uploads", f"{upload}/{blob.digest.partition(':')[2]}", blob.data)
    wrong = catalog.refuses("image_import", payload=image.manifest + b" ", upload=upload, digest=image.digest)
    assert wrong.code == "corrupt" and image.digest in wrong.message
    index = tiny.index([image])
    assert catalog.refuses("image_import", payload=index.manifest, upload=upload, digest=index.digest).code in (
        "unsupported", "corrupt", "invalid",
    )  # fmt: skip
    assert catalog.refuses("image_import", payload=image.manifest, upload="none", digest=image.digest).code == "not found"
    for _ in range(2):
        reply = catalog.call("image_import", payload=image.manifest, upload=upload, digest=image.digest, tags=["mine:1"])
        assert reply["status"] == "queued"
    lease = catalog.lease()
    assert (lease["source"], lease["upload"]) == ("upload", upload)
    manifest = f"{upload}/{image.digest.partition(':')[2]}"
    assert manifest in catalog.keys("uploads", prefix=upload)
    catalog.call("job_commit", **catalog.result(lease, image, some_packages(unique)))
    assert catalog.call("image_get", image="mine:1")["image"]["digest"] == image.digest
    wait_until(lambda: catalog.keys("uploads") == [], "the blobs to go")
    again = catalog.call("image_import", payload=image.manifest, upload=upload, digest=image.digest)
    assert again == {"digest": image.digest, "status": "analysed"}


def test_a_dockerfile_is_kept_with_the_image(new_catalog, registry, unique):
    catalog = new_catalog()
    image = small_image(unique)
    reference = registry.push(image, f"{unique}/app:1")
    catalog.call("image_add", reference=reference, dockerfile="FROM scratch\n")
    lease = catalog.lease()
    catalog.call("job_commit", **catalog.result(lease, image, some_packages(unique)))
    key = f"{image.digest.partition(':')[2]}/dockerfile"
    assert key in catalog.keys("images")
    reply, _ = catalog.call("image_export", image=reference, out=True)
    assert {"bucket": "images", "key": key} in reply["objects"]


# The archive -----------------------------------------------------------------------------------------------------------


def test_an_image_leaves_and_comes_back_as_it_was(new_catalog, registry, unique):
    catalog = new_catalog()
    image, packages = small_image(unique, layers=2), some_packages(unique, 4)
    reference = registry.push(image, f"{unique}/app:1")
    digest = catalog.analyse(reference, image, packages)
    exported, record = catalog.call("image_export", image=reference, out=True)
    assert json.loads(record)["image"]["digest"] == digest and len(exported["objects"]) == 6
    copies = {}
    for name in exported["objects"]:
        copies[name["bucket"], name["key"]] = catalog.object(name)

    assert catalog.refuses("image_detach", digest=digest).code == "precondition failed"
    late = catalog.refuses("image_archived", digest=digest, archived=True, analysed_at=exported["analysed_at"] - 1)
    assert late.code == "precondition failed"
    reply = catalog.call("image_archived", digest=digest, archived=True, analysed_at=exported["analysed_at"])
    assert reply["residence"] == "both"
    catalog.call("image_detach", digest=digest)
    wait_until(lambda: catalog.keys("layers") + catalog.keys("images") == [], "its objects to go")
    hits = catalog.call("package_find", name=packages[0]["name"])["items"]
    assert [(hit["image"], hit["residence"]) for hit in hits] == [(digest, "archived")]
    assert catalog.call("image_packages", image=digest)["items"] == packages

    wanted = catalog.call("image_restore_begin", digest=digest, payload=record)["wanted"]
    assert sorted(map(str, wanted)) == sorted(map(str, exported["objects"]))
    time.sleep(1)  # several sweeps
    for name in wanted:
        catalog.put_object("default", name["bucket"], name["key"], copies[name["bucket"], name["key"]])
    for _ in range(2):
        catalog.call("image_restore_finish", digest=digest, payload=record)
    again, second = catalog.call("image_export", image=reference, out=True)
    assert second == record and again["residence"] == "both"
    assert catalog.call("image_packages", image=digest)["items"] == packages

    # Altogether: first the archive gives it up, then the working set.
    assert catalog.call("image_archived", digest=digest)["residence"] == "working"
    catalog.call("image_remove", image=reference)
    wait_until(lambda: catalog.keys("layers") + catalog.keys("images") == [], "its objects to go")
    wait_until(lambda: catalog.one("SELECT count(*) FROM catalog.set_member") == "0", "its packages to go")
    assert catalog.refuses("image_get", image=reference).code == "not found"


def test_an_image_is_rebuilt_from_its_record_and_objects(new_catalog, registry, unique):
    catalog = new_catalog()
    image, packages = small_image(unique), some_packages(unique, 4)
    reference = registry.push(image, f"{unique}/app:1")
    digest = catalog.analyse(reference, image, packages)
    _, record = catalog.call("image_export", image=reference, out=True)
    catalog.call("account_add", name=unique)
    for name in catalog.call("image_restore_begin", account=unique, digest=digest, payload=record)["wanted"]:
        catalog.put_object(unique, name["bucket"], name["key"], catalog.object(name))
    catalog.sql("UPDATE catalog.package_set SET digest = NULL")  # as if it were unknown here
    catalog.call("image_restore_finish", account=unique, digest=digest, payload=record)
    assert catalog.call("image_packages", account=unique, image=reference)["items"] == packages
    assert catalog.call("image_get", account=unique, image=reference)["image"]["residence"] == "both"
