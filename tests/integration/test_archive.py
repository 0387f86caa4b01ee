"""Images into the archive and back, also when the archive-manager dies in the middle of it."""

import json
import os
import random
import threading
import time

import pytest
from support.base import BIN, wait_until
from tiny import File, dist_info, dpkg, image, layer, npm, os_release

# The archive-manager gives an image up soon after its death.
INSTALLATION = {"workers": 1, "config": {"archive_manager": {"lease": "1s"}}}
BASE = {**os_release("debian", "12"), **dpkg([("libc6", "2.36-9"), ("bash", "5.2.15-2")])}

# Where the archive-manager is killed, and what it was asked for then.
ADDING = [
    "archive-add-committed",
    "archive-objects-entered",
    "archive-object-copied",
    "archive-object-copied:3",
    "archive-manifest-written",
    "archive-object-verified:2",
    "archive-catalog-told",
    "archive-detached",
]
RESTORING = [
    "archive-restore-begun",
    "archive-object-restored",
    "archive-object-restored:2",
    "archive-restore-finished",
]
REMOVING = ["archive-removal-told", "archive-object-dropped", "archive-object-dropped:3"]

needs_faults = pytest.mark.skipif(
    b"archive-catalog-told" not in (BIN / "archive-manager").read_bytes(), reason="these executables have no fault points"
)


def add_image(stowage, registry, unique, *more):
    """An image of a shared base and a layer of its own, analysed."""
    marker = f"marker-{unique}"
    what = image([layer(BASE), layer({**npm(marker, "1.2.3"), f"srv/{unique}": "x", **dist_info("six", "1.16.0")}), *more])
    reference = registry.push(what, f"{unique}/app:1")
    stowage("image", "add", reference, "--wait")
    return reference, what.digest, marker


def residence(stowage, name):
    return stowage("image", "get", name)["residence"]


def archived(stowage, name):
    return stowage("archive", "get", name)


def rows(stowage, sql):
    """Every row as text, one a line."""
    return "\n".join("|".join(row) for row in stowage.psql(sql))


def archive_objects(stowage):
    """Names of all objects in the archive, of every account."""
    return rows(stowage, "SELECT bucket || '/' || key FROM objects.object WHERE store = 'analysis_archive'").strip()


def working_documents(stowage):
    """Keys of the documents of images in the working set."""
    return rows(stowage, "SELECT key FROM objects.object WHERE store = 'object_store' AND bucket = 'images'")


def sbom(stowage, name):
    return stowage.text("image", "sbom", name)


def files(stowage, name):
    return stowage("image", "content", name, "files")["items"]


def settled(stowage, name, seconds=30):
    """The archive's item once nothing is under way; None when there is none."""

    def look():
        done = stowage.run("archive", "get", name)
        if done.returncode != 0:
            return b"not found" in done.stderr and [None]
        item = json.loads(done.stdout)
        return item["state"] in ("archived", "failed") and [item]

    return wait_until(look, f"{name} to settle in the archive", seconds)[0]


def die_at(stowage, monkeypatch, point):
    """The archive-manager that runs from now on kills itself at this point."""
    stowage.kill("archive-manager")
    monkeypatch.setenv("STOWAGE_FAULT", point)
    stowage.up()
    monkeypatch.delenv("STOWAGE_FAULT")


def come_back(stowage):
    wait_until(lambda: not stowage.alive("archive-manager"), "the archive-manager to die")
    stowage.up()


def no_wait(stowage, *arguments):
    """A command whose service is about to die: what becomes of the request itself does not matter."""
    stowage.run("--timeout", "2s", "archive", *arguments, "--no-wait")


def test_archive_list_get_restore_remove(stowage, registry, unique):
    reference, digest, marker = add_image(stowage, registry, unique)
    before, tree = sbom(stowage, reference), files(stowage, reference)
    added = stowage("archive", "add", reference)["items"]
    assert [(i["digest"], i["state"], i.get("detached", False)) for i in added] == [(digest, "archived", False)]
    assert added[0]["tags"] == [reference]
    assert added[0]["objects"] >= 6
    assert added[0]["bytes"] >= added[0]["moved_bytes"] > 0
    assert residence(stowage, digest) == "both"
    assert digest in [i["digest"] for i in stowage("archive", "ls")["items"]]
    assert stowage("archive", "summary")["images"] >= 1

    stowage("archive", "add", reference, "--detach")
    assert archived(stowage, digest)["detached"] is True
    assert residence(stowage, digest) == "archived"
    hits = stowage("find", "package", marker)["items"]
    assert [(h["image"], h["residence"], h["tags"]) for h in hits] == [(digest, "archived", [reference])]
    assert sbom(stowage, reference) == before
    refused = stowage.fails("image", "content", reference, "files")
    assert refused.code == "precondition failed"
    assert f"stowage archive restore {digest}" in refused.message

    stowage("archive", "restore", reference)
    assert residence(stowage, digest) == "both"
    assert not archived(stowage, digest).get("detached")
    assert (sbom(stowage, reference), files(stowage, reference)) == (before, tree)

    removed = stowage("archive", "rm", digest)["items"]
    assert [(r["digest"], r["gone"]) for r in removed] == [(digest, True)]
    assert residence(stowage, digest) == "working"
    assert stowage.fails("archive", "get", digest).code == "not found"
    assert digest[7:] not in archive_objects(stowage)


def test_the_second_archiving_is_done_at_once_and_moves_nothing(stowage, registry, unique):
    reference, digest, _ = add_image(stowage, registry, unique)
    first = stowage("archive", "add", reference)["items"][0]
    again = stowage("archive", "add", digest)["items"][0]
    assert again == first
    stowage("archive", "rm", digest)


def test_an_image_with_a_shared_base_moves_only_what_is_its_own(stowage, registry, unique):
    one, first, _ = add_image(stowage, registry, unique)
    two, second, _ = add_image(stowage, registry, unique + "b")
    stowage("archive", "add", one)
    item = stowage("archive", "add", two)["items"][0]
    assert item["moved_bytes"] < item["bytes"]
    # The base stays for the other, until that one goes, too.
    stowage("archive", "rm", first)
    stowage("archive", "add", second, "--detach")
    stowage("archive", "restore", second)
    assert files(stowage, two)
    stowage("archive", "rm", second)
    assert archive_objects(stowage) == ""


def test_the_only_copy_goes_by_force_only(stowage, registry, unique):
    reference, digest, marker = add_image(stowage, registry, unique)
    stowage("archive", "add", reference, "--detach")
    assert stowage.fails("archive", "rm", reference).code == "precondition failed"
    assert archived(stowage, digest)["state"] == "archived"
    stowage("archive", "rm", reference, "--force")
    wait_until(lambda: stowage.run("image", "get", digest).returncode == 1, "the image to be gone")
    assert not stowage("find", "package", marker)["items"]
    assert digest[7:] not in archive_objects(stowage)


def test_an_image_removed_from_the_working_set_comes_back_from_the_archive(stowage, registry, unique):
    reference, digest, _ = add_image(stowage, registry, unique)
    tree = files(stowage, reference)
    stowage("archive", "add", reference)
    stowage("image", "rm", reference)
    assert residence(stowage, digest) == "archived"
    assert archived(stowage, digest)["detached"] is True
    wait_until(lambda: digest[7:] not in working_documents(stowage), "the objects to go")
    stowage("archive", "restore", digest)
    assert files(stowage, reference) == tree
    stowage("archive", "rm", digest)


def test_what_cannot_be_archived_says_why(stowage, unique):
    unknown = "sha256:" + "0" * 64
    assert stowage.fails("archive", "add", unknown).code == "not found"
    assert stowage.fails("archive", "add", f"localhost:1/{unique}:none").code == "not found"
    assert stowage.fails("archive", "get", unknown).code == "not found"
    assert stowage.fails("archive", "restore", unknown).code == "not found"
    assert stowage.fails("archive", "rm", unknown).code == "not found"
    assert stowage.fails("archive", "add", "not a reference").code == "invalid"


def test_of_several_images_the_good_ones_are_done_and_the_bad_one_is_the_error(stowage, registry, unique):
    reference, digest, _ = add_image(stowage, registry, unique)
    done = stowage.run("archive", "add", "sha256:" + "0" * 64, reference)
    assert done.returncode == 1
    assert b"not found" in done.stderr
    assert archived(stowage, digest)["state"] == "archived"
    stowage("archive", "rm", digest)


def test_an_image_analysed_again_is_copied_again_before_its_source_goes(stowage, registry, unique):
    reference, digest, _ = add_image(stowage, registry, unique)
    stowage("archive", "add", reference)
    stowage("image", "add", reference, "--force", "--wait")
    newest = stowage("image", "get", digest)["analysed_at"]
    stowage("archive", "add", reference, "--detach")
    assert residence(stowage, digest) == "archived"
    kept = rows(stowage, f"SELECT analysed_at FROM archive.image WHERE digest = '\\x{digest[7:]}'")
    assert int(kept) == newest
    stowage("archive", "restore", digest)
    assert stowage("image", "get", digest)["analysed_at"] == newest
    stowage("archive", "rm", digest)


def test_accounts_do_not_see_each_other(stowage, registry, unique):
    reference, digest, _ = add_image(stowage, registry, unique)
    stowage("archive", "add", reference)
    stowage("account", "add", unique)
    assert not stowage("--account", unique, "archive", "ls")["items"]
    assert stowage.fails("--account", unique, "archive", "get", digest).code == "not found"
    stowage("archive", "rm", digest)


@needs_faults
@pytest.mark.parametrize("point", ADDING)
def test_killed_while_archiving(stowage, registry, unique, monkeypatch, point):
    reference, digest, marker = add_image(stowage, registry, unique)
    before, tree = sbom(stowage, reference), files(stowage, reference)
    die_at(stowage, monkeypatch, point)
    no_wait(stowage, "add", reference, "--detach")
    come_back(stowage)
    item = settled(stowage, digest)
    assert item and item["state"] == "archived", item
    # Killed before it was written that the source may go, or after it went: detach happens either way.
    wait_until(lambda: residence(stowage, digest) == "archived", "the image to leave the working set")
    assert settled(stowage, digest)["detached"] is True
    assert sbom(stowage, reference) == before
    assert [h["residence"] for h in stowage("find", "package", marker)["items"]] == ["archived"]
    stowage("archive", "restore", digest)
    assert files(stowage, reference) == tree
    stowage("archive", "rm", digest)
    assert digest[7:] not in archive_objects(stowage)


@needs_faults
@pytest.mark.parametrize("point", RESTORING)
def test_killed_while_restoring(stowage, registry, unique, monkeypatch, point):
    reference, digest, _ = add_image(stowage, registry, unique)
    before, tree = sbom(stowage, reference), files(stowage, reference)
    stowage("archive", "add", reference, "--detach")
    wait_until(lambda: digest[7:] not in working_documents(stowage), "the objects to go")
    die_at(stowage, monkeypatch, point)
    no_wait(stowage, "restore", reference)
    come_back(stowage)
    assert settled(stowage, digest)["state"] == "archived"
    assert residence(stowage, digest) == "both"
    assert (sbom(stowage, reference), files(stowage, reference)) == (before, tree)
    stowage("archive", "rm", digest)


@needs_faults
@pytest.mark.parametrize("point", REMOVING)
def test_killed_while_removing(stowage, registry, unique, monkeypatch, point):
    reference, digest, _ = add_image(stowage, registry, unique)
    other, kept, _ = add_image(stowage, registry, unique + "b")
    stowage("archive", "add", reference, other)
    die_at(stowage, monkeypatch, point)
    no_wait(stowage, "rm", reference)
    come_back(stowage)
    assert settled(stowage, digest) is None
    assert residence(stowage, digest) == "working"
    assert digest[7:] not in archive_objects(stowage)
    # What the other needs is still there.
    stowage("archive", "add", other, "--detach")
    stowage("archive", "restore", other)
    assert files(stowage, other)
    stowage("archive", "rm", kept)
    assert archive_objects(stowage) == ""


def archive_with_damage(stowage, registry, unique, monkeypatch, *stores):
    """Image and digest; the manager dies before it verifies, and an object of the image is damaged in the stores."""
    reference, digest, _ = add_image(stowage, registry, unique)
    die_at(stowage, monkeypatch, "archive-manifest-written")
    no_wait(stowage, "add", reference, "--detach")
    wait_until(lambda: not stowage.alive("archive-manager"), "the archive-manager to die")
    for store, key in stores:
        damage(stowage, store, "images", key.format(digest[7:]))
    stowage.up()
    return reference, digest


ARCHIVED_CONFIG = ("analysis_archive", "{}/config")
WORKING_CONFIG = ("object_store", "{}/config")


@needs_faults
def test_a_damaged_copy_is_healed_from_the_source_before_that_goes(stowage, registry, unique, monkeypatch):
    reference, digest = archive_with_damage(stowage, registry, unique, monkeypatch, ARCHIVED_CONFIG)
    assert settled(stowage, digest)["state"] == "archived"
    wait_until(lambda: residence(stowage, digest) == "archived", "the image to leave the working set", 60)
    stowage("archive", "restore", digest)
    assert files(stowage, reference)
    stowage("archive", "rm", digest)
    assert digest[7:] not in archive_objects(stowage)


@needs_faults
def test_a_damaged_copy_that_nothing_heals_leaves_the_source(stowage, registry, unique, monkeypatch):
    reference, digest = archive_with_damage(
        stowage, registry, unique, monkeypatch, ARCHIVED_CONFIG, WORKING_CONFIG
    )
    item = settled(stowage, digest)
    assert item["state"] == "failed"
    assert item["reason"].startswith("corrupt:"), item
    assert residence(stowage, digest) == "working"
    assert files(stowage, reference)
    # It stays failed until somebody asks again, and the removal of what there is works.
    assert stowage.fails("archive", "add", reference, "--detach").code == "corrupt"
    assert residence(stowage, digest) == "working"
    stowage("archive", "rm", digest)
    assert digest[7:] not in archive_objects(stowage)


def damage(stowage, store, bucket, key):
    """Flips a byte of the first chunk of an object, in the back end."""
    stowage.psql(
        "UPDATE objects.chunk_data SET bytes = set_byte(bytes, 0, get_byte(bytes, 0) # 255) WHERE seq = 0 AND chunk ="
        " (SELECT oc.chunk FROM objects.object o JOIN objects.object_chunk oc ON oc.object = o.id AND oc.seq = 0"
        f" WHERE o.store = '{store}' AND o.bucket = '{bucket}' AND o.key = '{key}')"
    )


def test_a_gateway_away_for_a_while_only_delays(stowage, registry, unique):
    big = layer({"big": File(data=random.Random(unique).randbytes(200_000))})
    reference, digest, _ = add_image(stowage, registry, unique, big)
    stowage.kill("object-store-gateway")
    stowage("archive", "add", reference, "--detach", "--no-wait")
    time.sleep(1)
    assert archived(stowage, digest)["state"] == "copying"
    stowage.up()
    assert settled(stowage, digest, 60)["state"] == "archived"
    wait_until(lambda: residence(stowage, digest) == "archived", "the image to leave the working set", 60)
    stowage("archive", "restore", digest)
    stowage("archive", "rm", digest)


def test_many_at_once_with_kills_at_random_moments(stowage, registry, unique):
    images = [add_image(stowage, registry, f"{unique}n{n}")[:2] for n in range(6)]
    before = {digest: sbom(stowage, digest) for _, digest in images}
    seed = int(os.environ.get("STOWAGE_CHAOS_SEED") or time.time_ns() % 1_000_000)
    print(f"STOWAGE_CHAOS_SEED={seed}")
    dice = random.Random(seed)

    def ask(*arguments):
        threads = [
            threading.Thread(target=stowage.run, args=("--timeout", "3s", "archive", *arguments, digest, "--no-wait"))
            for _, digest in images
        ]
        for thread in threads:
            thread.start()
        for _ in range(3):
            time.sleep(dice.uniform(0.02, 0.4))
            stowage.kill("archive-manager")
            stowage.up()
        for thread in threads:
            thread.join()
        for _, digest in images:  # whatever was lost with a killed process is asked for again
            stowage("archive", *arguments, digest, timeout=60)

    ask("add", "--detach")
    for _, digest in images:
        assert residence(stowage, digest) == "archived"
    ask("restore")
    for reference, digest in images:
        assert sbom(stowage, digest) == before[digest]
        assert files(stowage, reference)
    for _, digest in images:
        stowage("archive", "rm", digest)
    assert archive_objects(stowage) == ""
    assert rows(stowage, "SELECT count(*) FROM archive.object").strip() == "0"
