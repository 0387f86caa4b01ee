"""What the other tests stand on does what it says: images of tiny, registries, PostgreSQL."""

import http.client
import json
import os
import urllib.error
import urllib.request

import pytest
from support.base import run
from support.fake_registry import Answer
from support.registry import PASSWORD, USER
from tiny import (
    DIR,
    DOCKER,
    OPAQUE,
    WHITEOUT,
    Device,
    File,
    Hardlink,
    Symlink,
    dpkg,
    image,
    index,
    layer,
    os_release,
    pull_json,
    write_docker_archive,
    write_layout,
)

BASE = layer({**os_release(), **dpkg([("libc6", "2.36-9")]), "d": DIR, "d/x": "1", "d/y": "2", "o": DIR, "o/old": "1"})
TOP = layer(
    [("d/x", WHITEOUT), ("d/z", Hardlink("d/y")), ("d/ü", Symlink("z")), ("o", DIR), ("o", OPAQUE), ("o/new", "2")],
    compression="none",
)


def skopeo_inspect(reference, *options):
    return json.loads(run("skopeo", "inspect", "--tls-verify=false", *options, f"docker://{reference}").stdout)


def test_skopeo_sees_in_the_registry_what_was_pushed(registry, unique):
    zstd = layer({"a": "1", "null": Device(1, 3), "suid": File(b"x", mode=0o4755, uid=7)}, compression="zstd")
    for what in (image([BASE, zstd]), image([BASE, TOP], kind=DOCKER)):
        reference = registry.push(what, f"{unique}:1.0")
        assert skopeo_inspect(reference)["Digest"] == what.digest


def test_an_index_names_its_images_by_platform(registry, unique):
    images = [image([BASE]), image([TOP], platform="linux/arm64/v8")]
    reference = registry.push(index(images), f"{unique}:many")
    named = {each["platform"]["architecture"]: each["digest"] for each in pull_json(reference)["manifests"]}
    assert named == {"amd64": images[0].digest, "arm64": images[1].digest}


def test_umoci_unpacks_a_layout_with_whiteouts_and_opaque_directories(tmp_path):
    write_layout(image([TOP]), tmp_path / "layout", tag="other")
    write_layout(image([BASE, TOP]), tmp_path / "layout", tag="this")
    run("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/layout:this", tmp_path / "bundle")
    root = tmp_path / "bundle/rootfs"
    assert sorted(os.listdir(root / "d")) == ["y", "z", "ü"]
    assert os.listdir(root / "o") == ["new"]
    assert (root / "d/y").stat().st_ino == (root / "d/z").stat().st_ino


def test_skopeo_reads_a_docker_archive(tmp_path):
    write_docker_archive(image([BASE, TOP]), tmp_path / "x.tar", ["shop:1.0"])
    seen = json.loads(run("skopeo", "inspect", f"docker-archive:{tmp_path}/x.tar").stdout)
    assert seen["Layers"] == [BASE.diff_id, TOP.diff_id]


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_registries_with_authentication_refuse_strangers(new_registry, unique, auth):
    registry = new_registry(auth)
    reference = registry.push(image([BASE]), f"{unique}:1")
    with pytest.raises(AssertionError, match="exited with 1"):
        skopeo_inspect(reference, "--no-creds")
    with pytest.raises(AssertionError, match="exited with 1"):
        skopeo_inspect(reference, "--creds", f"{USER}:wrong")
    assert skopeo_inspect(reference, "--creds", f"{USER}:{PASSWORD}")["Digest"] == image([BASE]).digest


def test_the_fake_registry_serves_ranges_failures_and_half_answers(fake_registry):
    what = image([BASE])
    reference = fake_registry.add(what, "shop:1")
    assert skopeo_inspect(reference, "--raw")["layers"][0]["digest"] == BASE.digest
    url = f"http://{fake_registry.host}/v2/shop/blobs/{BASE.digest}"
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Range": "bytes=10-"})) as reply:
        assert (reply.status, reply.read()) == (206, BASE.data[10:])
    fake_registry.on("/v2/shop/blobs/", Answer(503), times=1)
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(url)
    assert urllib.request.urlopen(url).read() == BASE.data
    fake_registry.on("/v2/shop/blobs/", Answer(200, BASE.data, cut=10))
    with pytest.raises(http.client.IncompleteRead):
        urllib.request.urlopen(url).read()
    assert len(fake_registry.asked("/blobs/")) == 4


def test_postgres_survives_a_kill_9(postgres):
    postgres.psql("create table t as select 1 as a, null::text as b, 'x' as c")
    os.kill(postgres.pid, 9)
    postgres.start()
    assert postgres.psql("select * from t") == [["1", "", "x"]]
