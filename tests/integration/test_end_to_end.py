"""The main job: an image in, its analysis stored, queried, archived, restored; through four real services."""

import json
import random
import re
import time

import tiny
from support.fake_registry import Answer
from tiny import DOCKER, OPAQUE, WHITEOUT, Dir, File, Hardlink, Symlink, dist_info, dpkg, image, layer, npm, os_release

BASE = layer(
    {
        **os_release("debian", "12"),
        **dpkg([("libc6", "2.36-9"), ("bash", "5.2.15-2")], {"bash": ["/bin/bash"]}),
        "etc": Dir(),
        "etc/motd": "hello",
        "srv": Dir(),
        "srv/old": "gone later",
    }
)
TOOLS = layer({**npm("left-pad", "1.3.0"), **npm("@scope/thing", "2.0.0"), **dist_info("requests", "2.31.0")})
TOP = layer({"srv/old": WHITEOUT, "srv/new": "here", "srv/link": Symlink("new"), "srv/hard": Hardlink("srv/new")})


def detail(stowage, name):
    got = stowage("image", "get", name)
    return got.get("image", got)


def packages(stowage, name, kind="packages"):
    got = stowage("image", "content", name, kind)
    return sorted((p["type"], p["name"], p.get("version")) for p in got["items"])


def paths(stowage, name):
    return {f["path"]: f for f in stowage("image", "content", name, "files")["items"]}


def test_an_image_is_analysed_and_says_what_is_in_it(stowage, registry, unique):
    reference = registry.push(image([BASE, TOOLS, TOP]), f"{unique}/shop:1.0")
    stowage("image", "add", reference, "--wait")
    about = detail(stowage, reference)
    assert about["status"] == "analysed"
    assert about["residence"] == "working"
    assert about["distribution"]["id"] == "debian"
    assert [each["entries"] > 0 for each in about["layers"]] == [True, True, True]
    assert packages(stowage, reference) == [
        ("dpkg", "bash", "5.2.15-2"),
        ("dpkg", "libc6", "2.36-9"),
        ("npm", "@scope/thing", "2.0.0"),
        ("npm", "left-pad", "1.3.0"),
        ("python", "requests", "2.31.0"),
    ]
    assert packages(stowage, reference, "os") == [("dpkg", "bash", "5.2.15-2"), ("dpkg", "libc6", "2.36-9")]
    files = paths(stowage, reference)
    assert "srv/old" not in files
    assert files["srv/hard"]["sha256"] == files["srv/new"]["sha256"] == tiny.sha256(b"here").partition(":")[2]
    assert files["srv/link"]["link"] == "new"


def test_the_same_image_again_is_known_at_once_and_asks_for_no_blob(stowage, fake_registry, unique):
    name = f"{unique}/shop"
    reference = f"{fake_registry.host}/{name}:1.0"
    fake_registry.add(image([BASE, TOP]), f"{name}:1.0")
    stowage("image", "add", reference, "--wait")
    before = len([r for r in fake_registry.requests if "/blobs/" in r.path])
    again = stowage("image", "add", reference, "--wait")
    assert again["status"] == "analysed"
    assert len([r for r in fake_registry.requests if "/blobs/" in r.path]) == before


def test_a_new_layer_on_a_known_base_costs_only_the_new_layer(stowage, fake_registry, unique):
    base = layer({**dpkg([("libc6", "2.36-9")]), f"opt/{unique}": "a base of its own"})
    first, second = image([base, layer({"a": "1"})]), image([base, layer({"b": "2"})])
    fake_registry.add(first, f"{unique}/app:1")
    fake_registry.add(second, f"{unique}/app:2")
    stowage("image", "add", f"{fake_registry.host}/{unique}/app:1", "--wait")
    seen = len(fake_registry.requests)
    stowage("image", "add", f"{fake_registry.host}/{unique}/app:2", "--wait")
    fetched = {r.path.rpartition("/")[2] for r in fake_registry.requests[seen:] if "/blobs/" in r.path}
    assert fetched == {second.config.digest, second.layers[1].digest}
    about = detail(stowage, f"{fake_registry.host}/{unique}/app:2")
    assert about["cost"]["layers_known"] == 1
    assert about["cost"]["layers_analysed"] == 1
    assert [each.get("known", False) for each in about["layers"]] == [True, False]
    assert packages(stowage, f"{fake_registry.host}/{unique}/app:2") == [("dpkg", "libc6", "2.36-9")]


def test_progress_is_shown_while_an_analysis_runs(stowage, fake_registry, unique):
    slow = layer({"slow": File(data=random.Random(unique).randbytes(2_000_000))}, "none")
    reference = fake_registry.add(image([layer({"u": unique}), slow]), f"{unique}/slow:1")
    fake_registry.on(f"/v2/{unique}/slow/blobs/{slow.digest}", Answer(200, slow.data, pace=0.1), times=1)
    done = stowage.run("--progress", "image", "add", reference, "--wait", json_output=False)
    assert done.returncode == 0
    shown = done.stderr.decode().splitlines()
    layers = [line for line in shown if re.fullmatch(r"analysing layers: layers [012] of 2, \S+ \w+ of 1\.9 MiB", line)]
    assert len(layers) >= 2 and len(set(layers)) == len(layers), shown
    assert done.stdout.decode().startswith("sha256:")


def test_what_one_account_knows_is_fetched_again_for_another(stowage, fake_registry, unique):
    secret = layer({f"secret/{unique}": "x"})
    reference = fake_registry.add(image([secret]), f"{unique}/app:1")
    stowage("image", "add", reference, "--wait")
    other = f"other-{unique}"
    stowage("account", "add", other)
    stowage("--account", other, "image", "add", reference, "--wait")
    got = stowage("--account", other, "image", "get", reference)
    assert got.get("image", got)["cost"].get("layers_known", 0) == 0
    assert len(fake_registry.asked(secret.digest)) == 2


def test_all_layer_codecs_and_both_families_of_media_types(stowage, registry, unique):
    oci = image(
        [
            layer({f"{unique}/a": "1", **npm("a", "1.0.0")}, "gzip"),
            layer({f"{unique}/b": "2", **npm("b", "1.0.0")}, "zstd"),
            layer({f"{unique}/c": "3", **npm("c", "1.0.0")}, "none"),
        ]
    )
    docker = image([layer({f"{unique}/d": "4", **npm("d", "1.0.0")})], kind=DOCKER)
    for each, wanted in ((oci, ["a", "b", "c"]), (docker, ["d"])):
        reference = registry.push(each, f"{unique}/codecs:{wanted[0]}")
        stowage("image", "add", reference, "--wait")
        assert [name for _, name, _ in packages(stowage, reference)] == wanted


def test_of_an_index_the_wanted_platform_is_analysed(stowage, registry, unique):
    amd = image([layer({f"{unique}/x": "amd64", **npm("for-amd64", "1.0.0")})], "linux/amd64")
    arm = image([layer({f"{unique}/x": "arm64", **npm("for-arm64", "1.0.0")})], "linux/arm64/v8")
    reference = registry.push(tiny.index([amd, arm]), f"{unique}/multi:1")
    added = stowage("image", "add", reference, "--platform", "linux/arm64", "--wait")
    assert added["digest"] == arm.digest
    assert packages(stowage, arm.digest) == [("npm", "for-arm64", "1.0.0")]
    missing = stowage.fails("image", "add", reference, "--platform", "linux/s390x")
    assert missing.code == "not found"
    assert "linux/arm64" in missing.message


def test_a_tag_that_moves_keeps_its_history(stowage, registry, unique):
    one, two = image([layer({"v": f"1 {unique}"})]), image([layer({"v": f"2 {unique}"})])
    reference = registry.push(one, f"{unique}/moving:latest")
    stowage("image", "add", reference, "--wait")
    registry.push(two, f"{unique}/moving:latest")
    stowage("image", "add", reference, "--wait")
    history = stowage("image", "history", reference)["items"]
    assert [each["digest"] for each in history] == [two.digest, one.digest]
    assert detail(stowage, reference)["digest"] == two.digest
    assert detail(stowage, one.digest)["status"] == "analysed"


def test_archive_find_restore_and_the_same_sbom(stowage, registry, unique):
    marker = f"marker-{unique}"
    reference = registry.push(image([BASE, layer(npm(marker, "2.14.0")), TOP]), f"{unique}/keep:1.0")
    stowage("image", "add", reference, "--wait")
    digest = detail(stowage, reference)["digest"]
    before = {kind: stowage.text("image", "sbom", reference, "--format", kind) for kind in ("cyclonedx-json", "spdx-json")}
    names = {c["name"] for c in json.loads(before["cyclonedx-json"])["components"]}
    assert {marker, "libc6"} <= names
    files = paths(stowage, reference)

    stowage("archive", "add", reference, "--detach")
    assert detail(stowage, digest)["residence"] == "archived"
    hits = stowage("find", "package", marker)["items"]
    assert [(h["image"], h["version"], h["residence"]) for h in hits] == [(digest, "2.14.0", "archived")]
    refused = stowage.fails("image", "content", digest, "files")
    assert "archive" in refused.message

    stowage("archive", "restore", digest)
    assert detail(stowage, digest)["residence"] == "both"
    for kind, text in before.items():
        assert stowage.text("image", "sbom", reference, "--format", kind) == text
    assert paths(stowage, reference) == files


def test_docker_archives_and_oci_layouts_are_imported(stowage, unique, tmp_path):
    shop = image([BASE, layer({**npm("imported", "1.0.0"), "only": unique})])
    tiny.write_layout(shop, str(tmp_path / "layout"), tag="1.0")
    stowage("image", "import", tmp_path / "layout", "--tag", f"local.example/{unique}/layout:1.0", "--wait")
    assert detail(stowage, shop.digest)["status"] == "analysed"
    assert ("npm", "imported", "1.0.0") in packages(stowage, f"local.example/{unique}/layout:1.0")

    tiny.write_docker_archive(shop, str(tmp_path / "shop.tar"), [f"{unique}/saved:2.0"])
    stowage("image", "import", tmp_path / "shop.tar", "--tag", f"local.example/{unique}/saved:2.0", "--wait")
    assert packages(stowage, f"local.example/{unique}/saved:2.0") == packages(stowage, shop.digest)


def test_registries_with_passwords_and_with_tokens(stowage, new_registry, unique):
    for auth in ("basic", "token"):
        server = new_registry(auth)
        reference = server.push(image([layer({f"{unique}/{auth}": "x", **npm(auth, "1.0.0")})]), f"{unique}/private:1")
        refused = stowage.fails("image", "add", reference)
        assert refused.code in ("unauthenticated", "forbidden"), refused
        assert server.host in refused.message
        done = stowage.run(
            "registry", "add", server.host, "--user", "tester", "--password-stdin", stdin=b"s3cret\n"
        )
        assert done.returncode == 0, done.stderr
        stowage("image", "add", reference, "--wait")
        assert packages(stowage, reference) == [("npm", auth, "1.0.0")]
        stored = stowage.psql("SELECT * FROM catalog.registry")
        assert "s3cret" not in str(stored)


def test_removing_an_image_takes_its_bytes_along(new_stowage, registry, unique):
    stowage = new_stowage(
        config={
            "catalog": {"sweep_grace": "0s", "sweep_period": "1s"},
            "object_store_gateway": {"gc_grace": "0s", "gc_interval": "1s"},
        }
    )
    reference = registry.push(image([BASE, layer({"x": unique})]), f"{unique}/brief:1")
    stowage("image", "add", reference, "--wait")
    assert stowage("store", "stats", "object_store")["objects"] > 0
    stowage("image", "rm", reference)
    deadline = time.monotonic() + 60
    while True:
        stats = stowage("store", "stats", "object_store")
        if stats["objects"] == 0 and stats["chunks"] == 0:
            break
        assert time.monotonic() < deadline, stats
        time.sleep(0.5)
    assert stowage.fails("image", "get", reference).code == "not found"
    assert stowage.psql("SELECT count(*) FROM catalog.layer")[0][0] == "0"
    assert stowage.psql("SELECT count(*) FROM catalog.package_set")[0][0] == "0"


def test_an_opaque_directory_and_a_directory_turned_file_hide_their_packages(stowage, registry, unique):
    lower = layer({**npm("kept", "1.0.0", at="a/node_modules"), **npm("hidden", "1.0.0", at="b/node_modules"),
                   **npm("replaced", "1.0.0", at="c/node_modules")})  # fmt: skip
    upper = layer({"b": Dir(), "b/": OPAQUE, "c": "a file now", "only": unique})
    reference = registry.push(image([lower, upper]), f"{unique}/hiding:1")
    stowage("image", "add", reference, "--wait")
    assert packages(stowage, reference) == [("npm", "kept", "1.0.0")]


def test_a_hard_link_where_a_cataloger_looks_proves_its_package(stowage, registry, unique):
    """As package managers lay out a store of files and link them into place: the bytes come under another name."""
    manifest = next(iter(npm("linked", "3.1.4").values()))
    linked = layer({"store/a1b2": manifest, "srv/node_modules/linked/package.json": Hardlink("store/a1b2"), "u": unique})
    reference = registry.push(image([linked]), f"{unique}/store:1")
    stowage("image", "add", reference, "--wait")
    assert packages(stowage, reference) == [("npm", "linked", "3.1.4")]
    files = paths(stowage, reference)
    assert files["srv/node_modules/linked/package.json"]["sha256"] == files["store/a1b2"]["sha256"]
    assert sorted(f["path"] for f in files.values() if f["type"] == "f") == ["srv/node_modules/linked/package.json", "store/a1b2", "u"]


def test_a_hard_link_from_where_a_cataloger_looks_to_a_lower_layer_is_told(stowage, registry, unique):
    """What the file holds was read when its own layer was; the link proves nothing, and the user hears which one."""
    lower = layer({"store/a1b2": next(iter(npm("linked", "3.1.4").values())), "u": unique})
    upper = layer({"srv/node_modules/linked/package.json": Hardlink("store/a1b2")})
    reference = registry.push(image([lower, upper]), f"{unique}/lower:1")
    stowage("image", "add", reference, "--wait")
    about = detail(stowage, reference)
    assert about["status"] == "analysed" and packages(stowage, reference) == []
    (reason,) = about["incomplete"]
    assert reason.startswith("npm: srv/node_modules/linked/package.json: ") and "hard link to store/a1b2 of a lower" in reason
    files = paths(stowage, reference)
    assert files["srv/node_modules/linked/package.json"]["sha256"] == files["store/a1b2"]["sha256"]
