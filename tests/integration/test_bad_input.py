"""Bad input: each with a clear error that names the thing, and nothing left behind."""

import gzip
import io
import tarfile
import zlib

import pytest
from support.base import free_port, wait_until
from support.fake_registry import Answer
from tiny import (
    File, Hardlink, Symlink, image, index, layer, layer_from_tar, npm, os_release, replace, sha256, tar_of, write_docker_archive,
    write_layout,
)  # fmt: skip

INSTALLATION = {"config": {"catalog": {"sweep_period": "500ms"}}}  # the last test waits for what it takes


@pytest.fixture(scope="module")
def good():
    return image([layer({**os_release(), **npm("good", "1.0.0")})])


def outcome(stowage, reference, *options):
    """The error with which adding, or then the analysis, fails."""
    return stowage.fails("image", "add", reference, "--wait", *options, timeout=120)


def add_lying(fake_registry, name, what):
    fake_registry.add(what, name)
    return f"{fake_registry.host}/{name}"


def nothing_left(stowage):
    left = [p for p in (stowage.tmp_dir(1) / "scratch").iterdir() if not p.name.startswith(".")]
    assert not left, left


@pytest.mark.parametrize(
    "text", ["", "UPPER/case:tag", "host/name:bad tag", "host/name:" + "t" * 129, "host/na me", "host/name@sha256:12", "a/" * 200 + "b"]
)
def test_a_reference_that_is_not_one(stowage, text):
    failure = stowage.fails("image", "add", text)
    assert failure.code == "invalid" or failure.status == 2, failure
    assert failure.status in (1, 2)


def test_an_unknown_tag(stowage, registry, good, unique):
    registry.push(good, f"{unique}/good:1")
    failure = outcome(stowage, f"{registry.host}/{unique}/good:nope")
    assert failure.code == "not found"
    assert "nope" in failure.message


def test_no_such_registry(stowage):
    host = f"127.0.0.1:{free_port()}"
    failure = outcome(stowage, f"{host}/some/thing:1")
    assert failure.code == "unavailable"
    assert host in failure.message


def test_wrong_credentials(stowage, new_registry, good, unique):
    server = new_registry("basic")
    reference = server.push(good, f"{unique}/private:1")
    done = stowage.run("registry", "add", server.host, "--user", "tester", "--password-stdin", stdin=b"wrong\n")
    assert done.returncode == 0, done.stderr
    failure = outcome(stowage, reference)
    assert failure.code == "unauthenticated"
    assert server.host in failure.message


def refused_for_its_platform(stowage, failure, what):
    assert failure.code == "not found", failure
    assert "linux/arm64" in failure.message and "linux/amd64" in failure.message
    assert stowage.fails("image", "get", what.digest).code == "not found"


def test_a_platform_that_the_only_image_is_not_for(stowage, registry, unique):
    what = image([layer({"x": unique})], "linux/amd64")
    reference = registry.push(what, f"{unique}/single:1")
    refused_for_its_platform(stowage, outcome(stowage, reference, "--platform", "linux/arm64"), what)
    stowage("image", "add", reference, "--platform", "linux/amd64", "--wait")
    by_digest = f"{reference.rpartition(':')[0]}@{what.digest}"
    again = outcome(stowage, by_digest, "--platform", "linux/arm64")
    assert again.code == "not found" and "linux/amd64" in again.message
    assert "analysed" in stowage.text("image", "get", what.digest)


def test_an_index_that_does_not_say_what_its_only_image_is_for(stowage, registry, unique):
    what = image([layer({"x": unique})], "linux/amd64")
    described = {name: value for name, value in what.descriptor().items() if name != "platform"}
    reference = registry.push(index([what], manifest={"manifests": [described]}), f"{unique}/silent:1")
    refused_for_its_platform(stowage, outcome(stowage, reference, "--platform", "linux/arm64"), what)
    stowage("image", "add", reference, "--platform", "linux/amd64", "--wait")


@pytest.mark.parametrize("write", [write_layout, write_docker_archive])
def test_an_upload_for_another_platform(stowage, tmp_path, unique, write):
    what = image([layer({"x": unique})], "linux/amd64")
    write(what, str(tmp_path / "image"))
    failure = stowage.fails("image", "import", tmp_path / "image", "--platform", "linux/arm64", "--wait")
    assert failure.code == "not found", failure
    assert "linux/arm64" in failure.message and "linux/amd64" in failure.message
    stowage("image", "import", tmp_path / "image", "--platform", "linux/amd64", "--wait")


def test_a_manifest_that_is_not_json(stowage, fake_registry, unique):
    body = b"<html>hello</html>"
    fake_registry.on(
        f"/v2/{unique}/x/manifests/1",
        Answer(200, body, {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}),
        times=None,
    )
    failure = outcome(stowage, f"{fake_registry.host}/{unique}/x:1")
    assert failure.code == "corrupt"
    assert "JSON" in failure.message and f"{unique}/x:1" in failure.message


def test_a_blob_with_another_digest(stowage, fake_registry, good, unique):
    other = layer({"x": unique})
    padded = other.data + b"\0" * (good.layers[0].size - other.size) if other.size < good.layers[0].size else None
    lie = padded or other.data[: good.layers[0].size]
    what = replace(good, layers=(good.layers[0].claim(lie),))
    failure = outcome(stowage, add_lying(fake_registry, f"{unique}/lie:1", what), "--force")
    assert failure.code == "corrupt", failure
    assert good.layers[0].digest in failure.message
    assert sha256(lie) in failure.message
    nothing_left(stowage)


def test_content_with_another_diff_id(stowage, registry, unique):
    wrong = replace(layer({"x": unique}), diff_id=sha256(b"something else"))
    failure = outcome(stowage, registry.push(image([wrong]), f"{unique}/diffid:1"))
    assert failure.code == "corrupt"
    assert sha256(b"something else") in failure.message


def broken_layers(unique):
    whole = gzip.compress(tar_of({"a": File(data=unique.encode() * 5000)}), mtime=0)
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 0x40
    cut_tar = tar_of({"a": File(data=b"x" * 5000)})[:2000]
    return {
        "truncated gzip": (whole[:-20], None),
        "corrupt gzip": (bytes(flipped), None),
        "truncated tar": (gzip.compress(cut_tar, mtime=0), cut_tar),
        "no tar at all": (gzip.compress(b"\x7fELF" + b"nonsense" * 4000, mtime=0), b"\x7fELF" + b"nonsense" * 4000),
        "not gzip": (b"plain words where gzip should be " * 100, None),
        "empty blob": (b"", b""),
    }


@pytest.mark.parametrize("name", list(broken_layers("x")))
def test_a_damaged_layer(stowage, registry, unique, name):
    data, tar = broken_layers(unique)[name]
    blob = replace(layer_from_tar(tar or b"whatever"), data=data, digest=sha256(data), size=len(data))
    failure = outcome(stowage, registry.push(image([blob]), f"{unique}/broken:1"))
    assert failure.code in ("corrupt", "invalid"), failure
    assert blob.digest in failure.message
    nothing_left(stowage)


def test_an_unsupported_media_type(stowage, registry, unique):
    odd = replace(layer({"x": unique}), media_type="application/vnd.example.layer.v1.rar")
    failure = outcome(stowage, registry.push(image([odd]), f"{unique}/odd:1"))
    assert failure.code == "unsupported"
    assert "application/vnd.example.layer.v1.rar" in failure.message


def test_a_foreign_layer(stowage, fake_registry, unique):
    foreign = replace(
        layer({"x": unique}),
        media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        urls=("http://127.0.0.1:1/layer",),
    )
    failure = outcome(stowage, add_lying(fake_registry, f"{unique}/foreign:1", image([foreign])))
    assert failure.code == "unsupported"
    assert foreign.digest in failure.message


def bomb(megabytes, unique):
    """A layer that expands a thousandfold, made without ever holding it."""
    out, tar_hash, packer = io.BytesIO(), __import__("hashlib").sha256(), zlib.compressobj(9, zlib.DEFLATED, 31)
    info = tarfile.TarInfo(f"{unique}/zeros")
    info.size = megabytes << 20
    head = info.tobuf(tarfile.PAX_FORMAT)
    for piece in [head] + [b"\0" * (1 << 20)] * megabytes + [b"\0" * 1024]:
        tar_hash.update(piece)
        out.write(packer.compress(piece))
    out.write(packer.flush())
    return replace(layer_from_tar(b""), data=out.getvalue(), digest=sha256(out.getvalue()), size=len(out.getvalue()),
                   diff_id="sha256:" + tar_hash.hexdigest())  # fmt: skip


def test_a_layer_that_expands_a_thousandfold(stowage, registry, unique):
    blob = bomb(400, unique)
    assert (400 << 20) / blob.size > 900
    failure = outcome(stowage, registry.push(image([blob]), f"{unique}/bomb:1"))
    assert failure.code == "too large"
    assert blob.digest in failure.message
    nothing_left(stowage)


@pytest.mark.parametrize("path", ["../escape", "a/../../escape", "/../../etc/passwd"])
def test_a_name_that_leads_out_of_the_tree(stowage, registry, unique, path):
    blob = layer([("ok", unique), (path, "x")])
    failure = outcome(stowage, registry.push(image([blob]), f"{unique}/dots:1"))
    assert failure.code == "invalid"
    assert path in failure.message and blob.digest in failure.message


def test_a_hard_link_out_of_the_tree(stowage, registry, unique):
    blob = layer({"ok": unique, "evil": Hardlink("../../etc/shadow")})
    failure = outcome(stowage, registry.push(image([blob]), f"{unique}/hard:1"))
    assert failure.code == "invalid"
    assert "shadow" in failure.message and blob.digest in failure.message


def test_absolute_names_are_below_the_root_and_links_out_of_it_are_only_data(stowage, registry, unique):
    blob = layer({"/abs/file": unique, "abs/up": Symlink("../../../etc/shadow"), "abs/root": Symlink("/etc/shadow")})
    reference = registry.push(image([blob]), f"{unique}/absolute:1")
    stowage("image", "add", reference, "--wait")
    files = {f["path"]: f for f in stowage("image", "content", reference, "files")["items"]}
    assert files["abs/file"]["type"] == "f"
    assert files["abs/up"]["link"] == "../../../etc/shadow"
    assert not any(path.startswith(("/", "..")) for path in files)


def test_a_tar_with_a_million_entries(stowage, registry, unique):
    head, packer, digest = [], zlib.compressobj(1, zlib.DEFLATED, 31), __import__("hashlib").sha256()
    out = io.BytesIO()
    for n in range(1_000_000):
        head.append(plain_header(f"{unique}/{n % 1000:03}/{n}"))
        if len(head) == 10_000:
            piece = b"".join(head)
            head.clear()
            digest.update(piece)
            out.write(packer.compress(piece))
    digest.update(b"\0" * 1024)
    out.write(packer.compress(b"\0" * 1024) + packer.flush())
    blob = replace(layer_from_tar(b""), data=out.getvalue(), digest=sha256(out.getvalue()), size=len(out.getvalue()),
                   diff_id="sha256:" + digest.hexdigest())  # fmt: skip
    reference = registry.push(image([blob]), f"{unique}/million:1")
    stowage("image", "add", reference, "--wait", timeout=240)
    got = stowage("image", "get", reference)
    assert got.get("image", got)["layers"][0]["entries"] == 1_000_000


def plain_header(name):
    """A ustar header of an empty file; tarfile's own is too slow for a million."""
    fields = bytearray(512)
    raw = name.encode()
    fields[0 : len(raw)] = raw
    fields[100:108] = b"0000644\0"
    fields[108:116] = fields[116:124] = b"0000000\0"
    fields[124:136] = fields[136:148] = b"00000000000\0"
    fields[148:156] = b"        "
    fields[156:157] = b"0"
    fields[257:265] = b"ustar\00000"
    fields[148:156] = b"%06o\0 " % sum(fields)
    return bytes(fields)


def test_an_image_with_no_layers(stowage, fake_registry, unique):
    failure = outcome(stowage, add_lying(fake_registry, f"{unique}/none:1", image([])))
    assert failure.code == "invalid"
    assert "no layers" in failure.message and f"{unique}/none:1" in failure.message


def test_more_layers_in_the_configuration_than_in_the_manifest(stowage, registry, unique):
    what = image([layer({"x": unique})], config={"rootfs": {"type": "layers", "diff_ids": [sha256(b"1"), sha256(b"2")]}})
    failure = outcome(stowage, registry.push(what, f"{unique}/count:1"))
    assert failure.code == "corrupt"
    assert what.digest in failure.message and "2 DiffIDs for 1" in failure.message


def test_a_broken_package_database_fails_the_image_with_its_path(stowage, registry, unique):
    blob = layer({"var/lib/dpkg/status": b"Package: x\nStatus: install ok installed\n\0\1\2 not a status file" + unique.encode()})
    failure = outcome(stowage, registry.push(image([blob]), f"{unique}/baddb:1"))
    assert failure.code == "corrupt"
    assert "var/lib/dpkg/status" in failure.message


def test_a_registry_that_stumbles_is_forgiven(stowage, fake_registry, unique):
    data = layer({"data": File(data=bytes(range(256)) * 4000), "u": unique}, "none")
    fake_registry.add(image([data]), f"{unique}/wobbly:1")
    blob = f"/v2/{unique}/wobbly/blobs/{data.digest}"
    fake_registry.on(blob, Answer(503), times=2)
    fake_registry.on(blob, Answer(200, data.data, cut=300_000), times=1)
    fake_registry.on(f"/v2/{unique}/wobbly/manifests/", Answer(429, b"", {"Retry-After": "1"}), times=1)
    stowage("image", "add", f"{fake_registry.host}/{unique}/wobbly:1", "--wait")
    ranges = [r.headers.get("Range") for r in fake_registry.requests if r.path == blob]
    assert any(r and r.startswith("bytes=") for r in ranges), ranges


# Objects of layers that are not known, of images that are not analysed, and of uploads.
NOBODYS_OBJECTS = """
    SELECT o.bucket, o.key FROM objects.object o WHERE o.store = 'object_store' AND (o.bucket = 'uploads'
     OR o.bucket = 'layers' AND NOT EXISTS (SELECT 1 FROM catalog.layer l WHERE l.account = o.account
      AND l.state = 'known' AND position(encode(l.digest, 'hex') IN o.key) > 0)
     OR o.bucket = 'images' AND NOT EXISTS (SELECT 1 FROM catalog.image i WHERE i.account = o.account
      AND i.status = 'analysed' AND position(encode(i.digest, 'hex') IN o.key) > 0))"""


def test_nothing_of_all_this_stays(stowage):
    """Runs last in this module: no job hangs, scratch is empty, no object is left, and each failure has its reason."""
    nothing_left(stowage)
    jobs = stowage("job", "ls").get("items", [])
    assert not [j for j in jobs if j["state"] in ("queued", "leased")], jobs
    wait_until(lambda: not stowage.psql(NOBODYS_OBJECTS), "the objects of uploads and removed images to go")
    failed = stowage.psql("SELECT count(*), count(nullif(reason, '')) FROM catalog.image WHERE status = 'failed'")[0]
    assert int(failed[0]) >= 10 and failed[0] == failed[1]
