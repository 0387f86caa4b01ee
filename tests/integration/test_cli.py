"""The command line: usage, exit statuses, documents for machines and tables for people."""

import json
import os
import re
import subprocess
import time

import pytest
import tiny
from support.base import BIN, free_port, wait_until
from tiny import OPAQUE, WHITEOUT, Dir, File, Hardlink, Symlink, dist_info, dpkg, image, layer, npm, os_release

STOWAGE = str(BIN / "stowage")
BASE = layer({**os_release("debian", "12"), **dpkg([("libc6", "2.36-9"), ("bash", "5.2.15-2")]), "srv": Dir(), "srv/old": "x"})


def run(*arguments, env=None, timeout=60, stdin=subprocess.DEVNULL):
    environment = {k: v for k, v in os.environ.items() if k != "STOWAGE_CONFIG"} | (env or {})
    return subprocess.run(
        [STOWAGE, *map(str, arguments)], capture_output=True, text=True, timeout=timeout, env=environment, stdin=stdin, check=False
    )


@pytest.fixture(scope="module")
def shop(stowage, registry, tmp_path_factory):
    """Two versions of an image, analysed: (reference, digest) of each."""
    word = f"cli{os.getpid()}"
    top = layer({**npm("left-pad", "1.3.0"), **dist_info("requests", "2.31.0"), "srv/old": WHITEOUT,
                 "usr/bin/su": File(data=b"su", mode=0o4755), "srv/caf\u00e9": "x", word: "1"})  # fmt: skip
    newer = layer({**npm("left-pad", "1.3.1"), "srv/link": Symlink("old"), "usr/bin/su": File(data=b"su", mode=0o755), word: "2"})
    made = []
    for version, upper in (("1", top), ("2", newer)):
        what = image([BASE, upper])
        reference = registry.push(what, f"{word}/shop:{version}")
        stowage("image", "add", reference, "--wait")
        made.append((reference, what.digest))
    return made


# Usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, names",
    [
        ([], "a command is missing"),
        (["imag"], '"imag"'),
        (["image"], '"image" is not a whole command'),
        (["image", "add"], "image add needs REF"),
        (["image", "add", ""], "empty"),
        (["image", "add", "a", "b"], '"b"'),
        (["image", "add", "a", "--bogus"], "--bogus"),
        (["image", "ls", "--status", "happy"], '"happy"'),
        (["image", "ls", "--limit", "0"], "--limit"),
        (["image", "ls", "--limit"], "--limit needs a value"),
        (["status", "--timeout", "soon"], '"soon"'),
        (["archive", "rm"], "IMAGE..."),
        (["job", "ls", "--state", "queued", "--state", "done"], "given twice"),
        (["image", "get", "UPPER"], "'UPPER'"),
        (["image", "get", "sha256:0123456789ab"], '"sha256:0123456789ab" is no digest'),
        (["image", "content", "UPPER", "os"], "'UPPER'"),
        (["image", "diff", "a", "B"], "'B'"),
        (["image", "add", "a", "--platform", "qqq"], "'qqq'"),
        (["image", "add", "a", "--annotation", "noequals"], '"noequals"'),
        (["image", "import", "a", "--tag", "a b"], "--tag"),
        (["image", "import", "a", "--platform", "qqq"], "'qqq'"),
        (["image", "ls", "--tag", "UPPER"], "'UPPER'"),
        (["find", "package", "a", "--type", "bogus"], '"bogus"'),
        (["job", "get", "abc"], '"abc" is no number of a job'),
        (["job", "cancel", "0"], '"0"'),
        (["job", "retry", "1x"], '"1x"'),
        (["job", "ls", "--after", "x"], '"x"'),
        (["archive", "get", "UPPER"], "'UPPER'"),
        (["archive", "ls", "--after", "5"], '"5" is no digest'),
        (["store", "stats", "bogus"], '"bogus" is no store'),
        (["store", "object", "ls", "object_store", "UPPER"], '"UPPER" is no bucket'),
        (["store", "object", "rm", "object_store", "b", "k" * 1025], "1025"),
        (["registry", "add", "host/path"], '"host/path" is no registry'),
        (["account", "add", "Not A Name"], '"Not A Name" is no account name'),
        (["image", "ls", "--account", "UPPER"], '"UPPER" is no account name'),
    ],
)
def test_wrong_usage_is_2_and_names_the_word(arguments, names):
    said = run(*arguments)
    assert said.returncode == 2
    assert said.stdout == ""
    assert names in said.stderr
    assert "--help" in said.stderr
    document = run("--json", *arguments)
    assert document.returncode == 2
    error = json.loads(document.stderr)["error"]
    assert error["code"] == "invalid"
    assert names in error["message"]


def test_what_only_the_command_can_see_to_be_wrong_is_2(stowage, shop):
    def wrong(*arguments, names, stdin=None, env=None):
        done = stowage.run(*arguments, stdin=stdin)
        assert done.returncode == 2, done
        assert done.stdout == b""
        error = json.loads(done.stderr)["error"]
        assert error["code"] == "invalid"
        assert names in error["message"]

    one = shop[0][0]
    wrong("image", "content", one, "bogus", names='"bogus" is no type of content')
    wrong("image", "content", "no.such/image:1", "bogus", names='"bogus" is no type of content')
    wrong("image", "history", "x@sha256:" + "1" * 64, names="only tags have a history")
    wrong("image", "ls", "--after", "x", names='"x"')
    wrong("find", "package", "left-pad", "--after", "1.2", names='"1.2"')
    wrong("registry", "add", "host.example", "--user", "bob", names="--password-stdin")
    wrong("registry", "add", "host.example", "--password-stdin", stdin=b"x\n", names="--user")
    wrong("registry", "add", "host.example", "--user", "bob", "--password-stdin", stdin=b"", names="stdin")
    wrong("registry", "add", "host.example", "--user", "bob", "--password-stdin", stdin=b"\n", names="empty")
    wrong("archive", "rm", one, "--wait", "--no-wait", names="--no-wait")


def test_help_of_everything_of_a_noun_and_of_a_command():
    whole = run("--help")
    assert whole.returncode == 0
    for words in ("image add REF", "archive restore IMAGE...", "store object get STORE BUCKET KEY", "--account NAME"):
        assert words in whole.stdout
    noun = run("image", "--help")
    assert "image sbom IMAGE" in noun.stdout
    assert "archive add" not in noun.stdout
    verb = run("image", "sbom", "-h")
    assert "--format FORMAT" in verb.stdout
    assert "Arguments:\n  IMAGE " in verb.stdout
    assert "spdx-json" in verb.stdout
    assert re.fullmatch(r"stowage \d+\.\d+\.\d+\n", run("--version").stdout)


def test_a_configuration_that_is_missing_or_wrong_is_named(tmp_path):
    missing = run("--config", tmp_path / "none.yaml", "status")
    assert missing.returncode == 2
    assert missing.stderr.startswith("stowage: not found: ")
    assert str(tmp_path / "none.yaml") in missing.stderr
    bad = tmp_path / "bad.yaml"
    bad.write_text("cluster_secret: abcdefghijklmnopqrstuvwxyz\nendpoints: {catalogue: []}\n")
    said = run("image", "ls", env={"STOWAGE_CONFIG": str(bad)})
    assert said.returncode == 2
    assert f"{bad}:2" in said.stderr
    assert "catalogue" in said.stderr
    bad.write_text("cluster_secret: abcdefghijklmnopqrstuvwxyz\n")
    none = run("--config", bad, "image", "ls")
    assert none.returncode == 2
    assert "endpoints.catalog is not configured" in none.stderr
    assert run("--config", bad, "status").returncode == 2


def test_sections_of_services_are_no_business_of_the_command_line(stowage, tmp_path):
    extra = tmp_path / "extra.yaml"
    extra.write_text("catalog: {whatever: 1}\nobject_store: {compression: {enabled: maybe}}\ndatabase: {url: '${NOT_SET_ANYWHERE}'}\n")
    assert run("--config", stowage.config, "--config", extra, "status").returncode == 0


@pytest.mark.parametrize("command", [["status"], ["image", "ls"], ["archive", "ls"], ["store", "ls"], ["image", "add", "x/y:1"]])
def test_no_service_reachable_is_3_and_soon(tmp_path, command):
    config = tmp_path / "stowage.yaml"
    config.write_text(
        "cluster_secret: abcdefghijklmnopqrstuvwxyz\nendpoints:\n"
        f"  catalog: ['tcp://127.0.0.1:{free_port()}']\n  gateway: ['ipc://{tmp_path}/none.ipc']\n"
        f"  archive: ['tcp://127.0.0.1:{free_port()}']\n"
    )
    began = time.monotonic()
    said = run("--config", config, "--json", *command, timeout=20)
    assert said.returncode == 3, said
    assert time.monotonic() - began < 8
    assert json.loads(said.stderr)["error"]["code"] == "unavailable"
    began = time.monotonic()
    assert run("--config", config, "--timeout", "500ms", *command[:2], *command[2:], timeout=20).returncode == 3
    assert time.monotonic() - began < 6


@pytest.mark.parametrize("command", [["image", "ls"], ["status"], ["archive", "ls"], ["store", "object", "get", "object_store", "b", "k"]])
def test_a_wrong_secret_reaches_nobody(stowage, tmp_path, command):
    other = tmp_path / "other.yaml"
    other.write_text("cluster_secret: another-secret-of-enough-bytes\n")
    said = run("--config", stowage.config, "--config", other, "--timeout", "2s", "--json", *command)
    assert said.returncode == 3
    assert said.stdout == ""
    error = json.loads(said.stderr)["error"]
    assert error["code"] == "unavailable"
    assert "cluster_secret" in error["message"]


def test_an_account_that_does_not_exist_is_named(stowage, unique):
    lists = [["image", "ls"], ["job", "ls"], ["event", "ls"], ["archive", "ls"], ["registry", "ls"], ["find", "package", "x"],
             ["store", "object", "ls", "object_store", "b"], ["store", "object", "put", "object_store", "b", "k", "/dev/null"]]  # fmt: skip
    for command in lists:
        error = stowage.fails("--account", unique, *command)
        assert (error.status, error.code) == (1, "not found"), command
        assert unique in error.message
    stowage("account", "add", unique)
    for command in lists[:-1]:
        assert stowage("--account", unique, *command) == {"items": [], "more": False}
    stowage("account", "rm", unique)


def test_what_the_service_refuses_is_1_with_its_code(stowage):
    said = run("--config", stowage.config, "image", "get", "sha256:" + "0" * 64)
    assert said.returncode == 1
    assert said.stderr.startswith("stowage: not found: ")
    assert stowage.fails("job", "get", "999999").code == "not found"
    assert stowage.fails("--account", "nobody", "image", "add", "x/y:1").status == 1


def test_waiting_ends_with_the_timeout(stowage, fake_registry, unique):
    from support.fake_registry import Answer

    slow = layer({"slow": File(data=os.urandom(400_000)), "u": unique}, "none")
    fake_registry.add(image([slow]), f"{unique}/slow:1")
    fake_registry.on(f"/v2/{unique}/slow/blobs/{slow.digest}", Answer(200, slow.data, pace=0.5), times=1)
    reference = f"{fake_registry.host}/{unique}/slow:1"
    began = time.monotonic()
    late = stowage.fails("--timeout", "2s", "image", "add", reference, "--wait")
    assert late.code == "deadline exceeded"
    assert time.monotonic() - began < 5
    assert stowage("image", "wait", reference, timeout=120)["status"] == "analysed"


def test_a_job_is_cancelled_and_tried_again(stowage, fake_registry, unique):
    from support.fake_registry import Answer

    slow = layer({"slow": File(data=os.urandom(600_000)), "u": unique}, "none")
    fake_registry.add(image([slow]), f"{unique}/slow:1")
    fake_registry.on(f"/v2/{unique}/slow/blobs/{slow.digest}", Answer(200, slow.data, pace=1.0), times=1)
    job = str(stowage("image", "add", f"{fake_registry.host}/{unique}/slow:1")["job"])
    assert stowage("job", "get", job)["state"] in ("queued", "leased")
    assert int(job) in [j["job"] for j in stowage("job", "ls", "--limit", "10")["items"]]
    assert stowage("job", "cancel", job)["state"] == "cancelled"
    assert stowage.fails("job", "cancel", job).code == "conflict"
    assert stowage.fails("image", "wait", f"{fake_registry.host}/{unique}/slow:1").code == "cancelled"
    again = stowage("job", "retry", job)
    assert stowage("job", "get", str(again["job"]))["state"] in ("queued", "leased", "done")
    assert stowage("image", "wait", f"{fake_registry.host}/{unique}/slow:1", timeout=90)["status"] == "analysed"
    assert "attempts:" in stowage.text("job", "get", str(again["job"]))


# Documents --------------------------------------------------------------------------------------------------------


def test_status_names_every_replica_the_queue_and_the_stores(stowage):
    document = stowage("status")
    assert [(s["kind"], s["reached"]) for s in document["services"]] == [("catalog", True), ("gateway", True), ("archive", True)]
    assert document["services"][0]["status"]["service"] == "catalog"
    assert document["queue"]["queued"] >= 0
    assert {s["store"] for s in document["stores"]} == {"object_store", "analysis_archive"}
    text = stowage.text("status")
    assert "archive-manager" in text
    assert "analyzer-worker/" in text


def test_lists_are_items_even_when_there_are_none(stowage):
    for command in (["image", "ls", "--tag", "no/such*"], ["find", "package", "no-such-package"], ["registry", "ls"]):
        assert stowage(*command) == {"items": [], "more": False}
        assert stowage.text(*command) == ""


def test_images_are_listed_and_found_by_pattern_and_status(stowage, shop):
    (one, first), (two, second) = shop
    found = stowage("image", "ls", "--tag", one.rpartition(":")[0] + ":*")["items"]
    assert [i["digest"] for i in found] == [second, first]
    assert found[0]["tags"] == [two]
    assert first in [i["digest"] for i in stowage("image", "ls", "--status", "analysed")["items"]]
    table = stowage.text("image", "ls").splitlines()
    assert table[0].split() == ["IMAGE", "STATUS", "WHERE", "PLATFORM", "DISTRIBUTION", "PACKAGES", "ADDED", "TAGS"]
    assert any(first in line and one in line for line in table)
    assert not any(line.endswith(" ") for line in table)


def pages(stowage, *command):
    """All items of a list, fetched one at a time."""
    found, after = [], []
    while True:
        page = stowage(*command, "--limit", "1", *after)
        found += page["items"]
        if not page["more"]:
            assert "next" not in page
            return found
        assert len(page["items"]) == 1
        after = ["--after", page["next"]]


def test_lists_that_end_early_say_so_and_go_on(stowage, shop, unique):
    for key in ("a", "b b", "c"):
        stowage.run("store", "object", "put", "object_store", unique, key, "-", stdin=key.encode())
    stowage("archive", "add", *(digest for _, digest in shop))
    listings = [["image", "ls"], ["job", "ls"], ["archive", "ls"], ["find", "package", "left-pad"],
                ["store", "object", "ls", "object_store", unique]]  # fmt: skip
    for command in listings:
        whole = stowage(*command)
        assert whole["more"] is False
        assert len(whole["items"]) >= 2, command
        assert pages(stowage, *command) == whole["items"], command
        said = stowage.run(*command, "--limit", "1", json_output=False)
        assert said.returncode == 0
        assert len(said.stdout.splitlines()) == 2
        assert re.match(rb"1 shown, there are more: --limit N shows N at once, --after '.+' goes on", said.stderr), said.stderr
        assert stowage.run(*command, json_output=False).stderr == b""
    # Events may happen meanwhile, in front.
    first = stowage("event", "ls", "--limit", "2")
    second = stowage("event", "ls", "--limit", "2", "--after", first["next"])
    assert len(first["items"]) == len(second["items"]) == 2
    numbers = [event["event"] for event in first["items"] + second["items"]]
    assert numbers == sorted(set(numbers), reverse=True)
    stowage("archive", "rm", *(digest for _, digest in shop))


def test_an_image_by_tag_and_by_digest_is_the_same(stowage, shop):
    (one, first), _ = shop
    by_tag, by_digest = stowage("image", "get", one), stowage("image", "get", first)
    assert by_tag == by_digest
    assert by_tag["digest"] == first
    assert by_tag["status"] == "analysed"
    assert {s["type"]: s["packages"] for s in by_tag["sets"]} == {"dpkg": 2, "npm": 1, "python": 1}
    text = stowage.text("image", "get", one)
    listed = next(i for i in stowage("image", "ls")["items"] if i["digest"] == first)["distribution"]
    assert re.search(r"^distribution: +(.+)$", text, re.M)[1] == listed == "debian 12"
    assert "LAYER" in text


def test_the_summary_line_of_an_analysis(stowage, registry, unique):
    reference = registry.push(image([BASE, layer({**npm("p", "1.0.0"), unique: "x"})]), f"{unique}/sum:1")
    said = stowage.text("image", "add", reference, "--wait")
    assert re.match(r"sha256:[0-9a-f]{64} analysed in [\d.]+ m?s: 3 packages \(2 dpkg, 1 npm\)\n", said)
    assert "1 known" in said
    assert "downloaded" in said
    assert "saved because known" in said
    again = stowage.text("image", "add", reference, "--wait")
    assert "was known, nothing to do" in again


def test_waiting_for_what_ended_long_ago_tells_how_long_that_took(stowage, shop):
    one = shop[0][0]
    image = stowage("image", "get", one)
    # The figure is the analysis's, whatever this command takes.
    taken = image["cost"].get("elapsed_ms", 0)
    said = stowage.text("image", "wait", one)
    match = re.match(r"sha256:[0-9a-f]{64} analysed in (\S+ \S+) at (\S+ \S+ UTC): 4 packages", said)
    assert match, said
    shown = f"{taken} ms" if taken < 1000 else f"{taken / 1000:.1f} s"
    assert match[1] == shown
    assert match[2] == time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(image["analysed_at"] // 1000))
    assert said.splitlines()[1].startswith(f"{shown} in the worker")


def test_what_a_tag_has_named(stowage, shop):
    (one, first), _ = shop
    history = stowage("image", "history", one)
    assert history["reference"] == one
    assert [c["digest"] for c in history["items"]] == [first]
    assert history["more"] is False
    assert stowage.text("image", "history", one).splitlines()[0] == one


def test_annotations_and_a_dockerfile_are_kept(stowage, registry, unique, tmp_path):
    reference = registry.push(image([layer({unique: "x"})]), f"{unique}/note:1")
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM scratch\nCOPY x /\n")
    stowage("image", "add", reference, "--annotation", "team=shop", "--annotation", "a=b=c", "--dockerfile", dockerfile, "--wait")
    assert stowage("image", "get", reference)["annotations"] == {"team": "shop", "a": "b=c"}
    assert stowage.text("image", "content", reference, "dockerfile") == dockerfile.read_text()
    assert stowage("image", "content", reference, "dockerfile") == {"dockerfile": dockerfile.read_text()}
    assert stowage.fails("image", "add", reference, "--dockerfile", tmp_path / "none").code == "not found"


def test_content_of_every_type(stowage, shop):
    (one, first), _ = shop
    names = {kind: [p["name"] for p in stowage("image", "content", one, kind)["items"]] for kind in ("packages", "os", "npm", "gem")}
    for kind in ("npm", "files", "suid", "licenses"):
        document = stowage("image", "content", one, kind)
        assert (document["digest"], document["more"]) == (first, False)
    assert names == {"packages": ["bash", "libc6", "left-pad", "requests"], "os": ["bash", "libc6"], "npm": ["left-pad"], "gem": []}
    files = {f["path"]: f for f in stowage("image", "content", one, "files")["items"]}
    assert "srv/old" not in files
    assert files["srv/caf\u00e9"]["sha256"] == tiny.sha256(b"x").partition(":")[2]
    assert files["usr/bin/su"]["mode"] == "4755"
    assert files["usr/bin/su"]["layer"] == 1
    assert [f["path"] for f in stowage("image", "content", one, "suid")["items"]] == ["usr/bin/su"]
    assert {"license": "MIT", "packages": 2} in stowage("image", "content", one, "licenses")["items"]
    manifest = stowage.run("image", "content", one, "manifest").stdout
    assert tiny.sha256(manifest) == first
    assert json.loads(stowage.run("image", "content", one, "config").stdout)["architecture"] == "amd64"
    table = stowage.text("image", "content", one, "packages").splitlines()
    assert table[0].split() == ["TYPE", "NAME", "VERSION", "ARCH", "LICENSES", "LOCATION"]
    assert len(table) == 5


def test_the_pipe_may_be_closed_early(stowage, shop):
    command = f"'{STOWAGE}' --config '{stowage.config}' image content {shop[0][0]} files | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    full = subprocess.run(["bash", "-c", f"'{STOWAGE}' --config '{stowage.config}' image ls > /dev/full"],
                          capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert full.returncode == 1


def test_what_two_images_differ_in(stowage, shop):
    (one, first), (two, second) = shop
    document = stowage("image", "diff", one, two)
    assert (document["before"], document["after"]) == (first, second)
    assert document["packages"] == [
        {"change": "changed", "type": "npm", "name": "left-pad", "before": "1.3.0", "after": "1.3.1"},
        {"change": "removed", "type": "python", "name": "requests", "before": "2.31.0"},
    ]
    files = {f["path"]: f for f in document["files"]}
    assert files["srv/link"]["change"] == "added"
    assert files["srv/old"]["change"] == "added"
    assert files["srv/caf\u00e9"]["change"] == "removed"
    assert files["usr/bin/su"]["before"]["mode"] == "4755"
    assert files["usr/bin/su"]["after"]["mode"] == "0755"
    assert "etc/os-release" not in files
    same = stowage("image", "diff", one, first)
    assert same["packages"] == same["files"] == []
    text = stowage.text("image", "diff", one, two)
    assert "packages: 0 added, 1 removed, 1 changed" in text


def test_packages_are_found_by_name_version_and_type(stowage, shop):
    (one, first), (two, second) = shop

    def find(*arguments):
        return sorted((h["image"], h["version"]) for h in stowage("find", "package", *arguments)["items"] if h["image"] in (first, second))

    assert find("left-pad") == sorted([(first, "1.3.0"), (second, "1.3.1")])
    assert find("left-pad", "--version", "1.3.1") == [(second, "1.3.1")]
    assert find("left-pad", "--version", "1.3.*") == sorted([(first, "1.3.0"), (second, "1.3.1")])
    assert find("left-pad", "--type", "python") == []


def test_a_bill_of_materials_in_a_file(stowage, shop, tmp_path):
    (one, _), _ = shop
    for form in ("cyclonedx-json", "spdx-json"):
        out = tmp_path / form
        out.write_text("old")
        stowage.run("image", "sbom", one, "--format", form, "--output", out, json_output=False)
        assert out.read_text() == stowage.text("image", "sbom", one, "--format", form)
        assert oct(out.stat().st_mode & 0o777) == oct(0o666 & ~_umask())
    assert json.loads((tmp_path / "cyclonedx-json").read_text())["specVersion"] == "1.5"
    assert json.loads((tmp_path / "spdx-json").read_text())["spdxVersion"] == "SPDX-2.3"
    refused = stowage.fails("image", "sbom", one, "--output", tmp_path / "no/such/dir")
    assert refused.status == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cyclonedx-json", "spdx-json"]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_objects_go_in_and_come_out(stowage, tmp_path, unique):
    data = os.urandom(5_000_000)
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(data)
    put = stowage("store", "object", "put", "object_store", "scratch", unique, source)
    assert put["sha256"] == tiny.sha256(data)
    assert [o["key"] for o in stowage("store", "object", "ls", "object_store", "scratch", "--prefix", unique)["items"]] == [unique]
    stowage.run("store", "object", "get", "object_store", "scratch", unique, "--output", target)
    assert target.read_bytes() == data
    assert stowage.run("store", "object", "get", "object_store", "scratch", unique).stdout == data
    piped = stowage.run("store", "object", "put", "object_store", "scratch", unique + "2", "-", stdin=b"from stdin")
    assert json.loads(piped.stdout)["size"] == 10
    for key in (unique, unique + "2"):
        assert stowage("store", "object", "rm", "object_store", "scratch", key) == {"key": key, "existed": True}
    assert stowage("store", "object", "rm", "object_store", "scratch", unique) == {"key": unique, "existed": False}
    assert stowage.fails("store", "object", "get", "object_store", "scratch", unique).code == "not found"
    assert not list(tmp_path.glob("out.*"))


def test_an_object_of_no_bytes_and_ways_to_write_one(stowage, tmp_path, unique):
    where = ("object_store", "scratch", unique)
    put = stowage("store", "object", "put", *where, "/dev/null")
    assert put == {"key": unique, "size": 0, "sha256": tiny.sha256(b""), "stored_bytes": 0}
    assert stowage.run("store", "object", "get", *where).stdout == b""
    assert stowage.run("store", "object", "get", *where, "--output", "-").stdout == b""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    stowage.run("store", "object", "get", *where, "--output", link)
    assert link.is_symlink()
    assert target.read_bytes() == b""
    failed = stowage.fails("store", "object", "put", *where, tmp_path)
    assert failed.status == 1
    assert str(tmp_path) in failed.message
    stowage("store", "object", "rm", *where)


def test_a_put_that_was_interrupted_goes_on_where_it_was(stowage, tmp_path, unique):
    chunk = 4 << 20
    data = os.urandom(3 * chunk + 5)
    source = tmp_path / "in"
    source.write_bytes(data)
    where = ("object_store", "scratch", unique)
    before = stowage("store", "stats", "object_store")["chunks"]
    with subprocess.Popen([STOWAGE, "--config", stowage.config, "store", "object", "put", *where, "-"], stdin=subprocess.PIPE) as put:
        put.stdin.write(data[: 2 * chunk + 1])
        put.stdin.flush()
        wait_until(lambda: stowage("store", "stats", "object_store")["chunks"] == before + 2, "two chunks to be there")
        put.kill()
    assert stowage.fails("store", "object", "get", *where).code == "not found"
    again = stowage("store", "object", "put", *where, source)
    assert (again["size"], again["sha256"]) == (len(data), tiny.sha256(data))
    assert 0 < again["stored_bytes"] < 1.1 * chunk
    assert stowage("store", "object", "put", *where, source)["stored_bytes"] == 0
    assert stowage.run("store", "object", "get", *where).stdout == data
    shown = stowage.run("--progress", "store", "object", "put", *where, source, json_output=False)
    assert b"stored 12.0 MiB of 12.0 MiB" in shown.stderr
    stowage("store", "object", "rm", *where)


def test_buckets_of_the_services_are_left_alone_unless_forced(stowage, tmp_path, unique):
    source = tmp_path / "in"
    source.write_text("x")
    for store in ("object_store", "analysis_archive"):
        for bucket, owner in (("layers", "catalog"), ("images", "catalog"), ("uploads", "catalog"), ("archive", "archive-manager")):
            for command in (["put", store, bucket, unique, source], ["rm", store, bucket, unique]):
                refused = stowage.fails("store", "object", *command)
                assert (refused.status, refused.code) == (1, "forbidden")
                assert bucket in refused.message
                assert owner in refused.message
            assert stowage.fails("store", "object", "get", store, bucket, unique).code == "not found"
    stowage("store", "object", "put", "object_store", "layers", unique, source, "--force")
    assert stowage.run("store", "object", "get", "object_store", "layers", unique).stdout == b"x"
    assert unique in [o["key"] for o in stowage("store", "object", "ls", "object_store", "layers")["items"]]
    assert stowage("store", "object", "rm", "object_store", "layers", unique, "--force")["existed"]


def test_stores_are_listed_measured_verified_and_swept(stowage, shop):
    assert [s["store"] for s in stowage("store", "stats")["items"]] == [s["store"] for s in stowage("store", "ls")["items"]]
    assert stowage("store", "stats", "object_store")["objects"] > 0
    verified = stowage("store", "verify", "object_store")
    assert verified["checked"] > 0
    assert "damaged" not in verified
    assert stowage("store", "gc", "object_store", "--grace", "1h").get("removed", 0) == 0
    assert "what readers get" in stowage.text("store", "stats", "object_store")


def test_passwords_come_from_stdin_or_the_environment(stowage, unique):
    host = f"{unique}.example"
    done = stowage.run("registry", "add", host, "--user", "me", "--password-stdin", stdin=b"secret\n")
    assert done.returncode == 0
    assert {"registry": host, "user": "me"} in stowage("registry", "ls")["items"]
    by_environment = run("--config", stowage.config, "registry", "add", host, "--user", "you", env={"STOWAGE_REGISTRY_PASSWORD": "x"})
    assert by_environment.returncode == 0
    assert {"registry": host, "user": "you"} in stowage("registry", "ls")["items"]
    assert "secret" not in stowage.text("registry", "ls")
    assert stowage("registry", "rm", host) == {"registry": host, "removed": True}
    assert stowage("registry", "ls") == {"items": [], "more": False}


def test_accounts_and_events(stowage, unique):
    assert stowage("account", "add", unique) == {"account": unique, "existed": False}
    assert stowage("account", "add", unique) == {"account": unique, "existed": True}
    assert unique in [a["name"] for a in stowage("account", "ls")["items"]]
    assert stowage("account", "rm", unique) == {"account": unique, "removed": True}
    assert unique not in [a["name"] for a in stowage("account", "ls")["items"]]
    assert len(stowage("event", "ls", "--limit", "3")["items"]) <= 3


# Imports ----------------------------------------------------------------------------------------------------------


def test_a_layout_as_directory_and_as_tar_is_one_image(stowage, unique, tmp_path):
    what = image([BASE, layer({**npm("inside", "1.0.0"), unique: "x"})])
    layout = tiny.write_layout(what, str(tmp_path / "layout"), tag="1.0")
    tar = tmp_path / "layout.tar.gz"
    subprocess.run(["tar", "-czf", tar, "-C", layout, "."], check=True, timeout=60)
    first = stowage("image", "import", layout, "--tag", f"local.example/{unique}:a", "--wait")
    second = stowage("image", "import", tar, "--tag", f"local.example/{unique}:b", "--wait")
    assert first["digest"] == second["digest"] == what.digest
    assert sorted(stowage("image", "get", what.digest)["tags"]) == [f"local.example/{unique}:a", f"local.example/{unique}:b"]


def test_a_docker_archive_gives_the_same_digest_each_time(stowage, unique, tmp_path):
    what = image([BASE, layer({"srv": OPAQUE, "srv/a": "x", "srv/b": Hardlink("srv/a"), unique: "x"})])
    path = tiny.write_docker_archive(what, str(tmp_path / "a.tar"), [f"local.example/{unique}:saved"])
    first = stowage("image", "import", path, "--wait")
    again = stowage("image", "import", path, "--wait")
    assert first["digest"] == again["digest"]
    assert first["tags"] == [f"local.example/{unique}:saved"]
    files = [f["path"] for f in stowage("image", "content", first["digest"], "files")["items"]]
    assert "srv/b" in files
    assert "srv/old" not in files


def test_damaged_and_foreign_files_are_refused_before_anything_is_analysed(stowage, unique, tmp_path):
    what = image([layer({unique: "x"})])
    layout = tiny.write_layout(what, str(tmp_path / "layout"), tag="1.0")
    blob = tmp_path / "layout/blobs/sha256" / what.layers[0].digest[7:]
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    assert stowage.fails("image", "import", layout).code == "corrupt"
    blob.write_bytes(b"short")
    assert stowage.fails("image", "import", layout).code == "corrupt"
    blob.unlink()
    assert stowage.fails("image", "import", layout).code == "not found"
    text = tmp_path / "text"
    text.write_text("no archive at all\n" * 100)
    assert stowage.fails("image", "import", text).code == "corrupt"
    assert stowage.fails("image", "import", tmp_path / "none").code == "not found"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert stowage.fails("image", "import", empty).code == "unsupported"
    assert stowage.run("image", "get", what.digest).returncode == 1
