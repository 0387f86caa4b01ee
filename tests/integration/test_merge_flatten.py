"""Merging layer documents gives what analysing the unpacked image gives.

Random stacks of layers are unpacked by umoci, which knows nothing of our merge. The tree that results is compared, entry
by entry, with the merge of the layers' documents; and it is packed into one single layer, whose documents must equal the
merge and whose packages must be the stack's.

STOWAGE_PROPERTY_N says how many stacks (default 120), STOWAGE_PROPERTY_SEED which is the first; a failure names its seed.

Left out of the stacks is what umoci refuses to unpack (an entry below a file, a hard link to nothing), and what
proto/document/merge.h says is decided otherwise: entries below a symbolic link of a lower layer, and a whiteout behind an
entry of the same layer that implies a directory which the whiteout hides.
"""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import stat
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

BIN = Path(os.environ.get("STOWAGE_BIN", Path(__file__).resolve().parents[2] / "build/release/bin"))
TOOL = BIN.parent / "helpers" / "layer_tool"
COUNT = int(os.environ.get("STOWAGE_PROPERTY_N", "120"))
SEED = int(os.environ.get("STOWAGE_PROPERTY_SEED", "1"))
BATCH = 20

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="unpacking owners and devices needs root")

NAMES = [
    b"a", b"b", b"c", b"a-b", b"a.b", b"a b", b".a", b"-x", b"end", b"lib", b"A", b"~",
    "caf\u00e9".encode(), "cafe\u0301".encode(), b"\xff\xfe", b"back\\slash", b"new\nline",
    b"n" * 101, "\u65e5\u672c".encode() * 35, b"wh.a", b"..a",
]
EVIDENCE = [
    b"package.json", b"x.dist-info/METADATA", b"y.egg-info", b"etc/os-release", b"usr/lib/os-release",
    b"var/lib/dpkg/status", b"var/lib/dpkg/info/p.list", b"lib/apk/db/installed", b"var/lib/dpkg/status.d/q",
]
OWNERS = [0, 0, 0, 1, 1000, 65534, 3000000]


def evidence_content(rng, path):
    name, version = rng.choice(["one", "two", "Thr.ee_x"]), rng.choice(["1.0", "2:1.5~rc1+b2", "3"])
    base = path.rsplit(b"/", 1)[-1]
    if base == b"package.json":
        return rng.choice([
            json.dumps({"name": "@s/" + name, "version": version, "license": "MIT"}),
            json.dumps({"name": name, "version": version, "licenses": [{"type": "MIT"}, "ISC"]}),
            json.dumps({"type": "module"}), "{ broken", "",
        ]).encode()
    if base == b"os-release":
        return f'ID="{rng.choice(["debian", "alpine"])}"\nVERSION_ID={version}\n'.encode()
    if base == b"installed":
        return f"P:{name}\nV:{version}\nF:usr/x.dist-info\nR:METADATA\n\n".encode()
    if base == b"p.list":
        return b"/.\n/lib\n/lib/package.json\n/a/x.dist-info/METADATA\n/c/package.json\n"
    if base in (b"status", b"q"):
        return f"Package: {name}\nStatus: install ok installed\nVersion: {version}\nArchitecture: amd64\n\n".encode()
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n".encode()


def is_evidence(path):
    base = path.rsplit(b"/", 1)[-1]
    return base in (b"package.json", b"METADATA", b"installed", b"status", b"q", b"p.list") or \
        base.endswith(b".egg-info") or base.startswith(b"os-release") or path.startswith(b"var/lib/dpkg/")


def ancestors(path):
    parts = path.split(b"/")
    return [b"/".join(parts[:i]) for i in range(1, len(parts))]


class Stack:
    """Makes layers, and follows roughly what unpacking them does, so that it does not make what cannot be unpacked."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.tree = {}  # path -> type letter
        self.layers = []
        for _ in range(self.rng.randint(1, 5)):
            self.layers.append(self.make_layer())

    # ---- choosing paths

    def new_path(self):
        """A path none of whose ancestors is there and no directory."""
        rng = self.rng
        for _ in range(50):
            dirs = [b""] + [p for p, t in self.tree.items() if t == "d"]
            path = rng.choice(dirs)
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                name = rng.choice(NAMES[:4] if rng.random() < 0.6 else NAMES)
                path = path + b"/" + name if path else name
            if path.count(b"/") < 5 and len(path) < 900 and self.is_free(path):
                return path
        return b"fallback"

    def is_free(self, path):
        return all(self.tree.get(a, "d") == "d" for a in ancestors(path)) and \
            not (is_evidence(path) and path in self.tree and self.tree[path] == "d")

    def remove(self, path):
        below = path + b"/"
        for p in [p for p in self.tree if p == path or p.startswith(below)]:
            del self.tree[p]
            self.explicit.discard(p)

    def put(self, path, kind):
        if not (kind == "d" and self.tree.get(path) == "d"):
            self.remove(path)
        for a in ancestors(path):
            if a not in self.tree:
                self.tree[a] = "d"
            self.touched.add(a)
        self.tree[path] = kind
        self.content.discard(path)
        self.touched.add(path)
        self.explicit.add(path)

    # ---- one layer

    def make_layer(self):
        rng = self.rng
        # Paths of this layer; those with an entry of their own; files whose content is in this layer.
        self.touched, self.explicit, self.content = set(), set(), set()
        self.lower = list(self.tree)
        self.entries = []
        if rng.random() < 0.2:
            self.add(b".", tarfile.DIRTYPE)
        for _ in range(rng.randint(0, 14)):
            operation = rng.choice([self.file] * 4 + [self.evidence] * 3 + [self.directory] * 3 + [
                self.symlink, self.hardlink, self.hardlink, self.whiteout, self.whiteout, self.opaque, self.node,
                self.replace, self.replace, self.through])
            operation()
        return self.pack()

    def add(self, path, kind, link=None, content=b"", mode=None, device=None):
        rng = self.rng
        self.entries.append({
            "path": path, "type": kind, "link": link, "content": content, "device": device,
            "mode": rng.choice([0o644, 0o755, 0o4755, 0o1777, 0, 0o600]) if mode is None else mode,
            "uid": rng.choice(OWNERS), "gid": rng.choice(OWNERS),
        })

    def file(self, path=None, content=None):
        path = path or self.new_path()
        if content is None:
            content = self.rng.choice([b"", b"x", b"same", self.rng.randbytes(3), bytes(self.rng.randint(500, 70000))])
        self.put(path, "f")
        self.content.add(path)
        self.add(path, tarfile.REGTYPE, content=content)

    def evidence(self):
        rng = self.rng
        path = rng.choice(EVIDENCE)
        if not path.startswith((b"etc", b"usr", b"var", b"lib")):
            path = rng.choice([b"a/", b"c/", b"lib/", b"usr/lib/", b"d/e/"]) + path
        if self.is_free(path):
            self.file(path, evidence_content(rng, path))

    def directory(self, path=None):
        path = path or self.new_path()
        if is_evidence(path):
            return
        self.put(path, "d")
        self.add(path, tarfile.DIRTYPE)

    def symlink(self, path=None, target=None):
        path = path or self.new_path()
        target = target or self.rng.choice([b"a", b"../b", b"/etc/passwd", b"../../../../..", b"x y\\", b"\xff", b"t" * 150])
        if b"os-release" in path:
            target = self.rng.choice([b"../usr/lib/os-release", b"/usr/lib/os-release", b"nowhere"])
        elif is_evidence(path):
            return
        self.put(path, "l")
        self.add(path, tarfile.SYMTYPE, link=target)

    def hardlink(self):
        path = self.new_path() if self.rng.random() < 0.7 else b"a/m/" + self.rng.choice(EVIDENCE[:3])
        targets = [p for p, t in self.tree.items() if t not in "dl" and p != path and not p.startswith(path + b"/")]
        if is_evidence(path):
            # The content of a lower layer's file is not read again: such a link is noted, and the image incomplete.
            targets = [p for p in targets if p in self.content]
        if not self.is_free(path):
            return
        if targets:
            target = self.rng.choice(targets)
            here = target in self.content
            self.put(path, self.tree[target])
            if here:
                self.content.add(path)
            self.add(path, tarfile.LNKTYPE, link=target)

    def node(self):
        path = self.new_path()
        if is_evidence(path):
            return
        kind = self.rng.choice([tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
        self.put(path, {tarfile.FIFOTYPE: "p", tarfile.CHRTYPE: "c", tarfile.BLKTYPE: "b"}[kind])
        self.add(path, kind, device=(self.rng.choice([1, 8, 259]), self.rng.choice([0, 3, 300])))

    def replace(self):
        """Something else in the place of what is there."""
        paths = [p for p in self.tree if self.is_free(p)]
        if not paths:
            return
        path = self.rng.choice(paths)
        self.rng.choice([self.file, self.directory, self.symlink])(path)

    def through(self):
        """An entry whose directory is a symbolic link of this same layer: it lands where the link leads."""
        rng = self.rng
        dirs = [p for p, t in self.tree.items() if t == "d" and self.is_free(p)]
        link = self.new_path()
        if not dirs or is_evidence(link):
            return
        where = rng.choice(dirs)
        if where == link or where.startswith(link + b"/"):
            return
        up = b"../" * link.count(b"/")
        self.symlink(link, rng.choice([b"/" + where, up + where, b"../../../../../../" + where, up + b"./" + where + b"/"]))
        for name in rng.sample([b"through", b"a", b"b", b"package.json"], 2):
            path = where + b"/" + name
            if not self.is_free(path) or path == link or link.startswith(path + b"/"):
                continue
            content = evidence_content(rng, path) if is_evidence(path) else b"through"
            kind = rng.choice([tarfile.REGTYPE, tarfile.DIRTYPE]) if not is_evidence(path) else tarfile.REGTYPE
            self.put(path, "d" if kind == tarfile.DIRTYPE else "f")
            self.add(link + b"/" + name, kind, content=content if kind == tarfile.REGTYPE else b"")

    def implied_below(self, path):
        return [p for p in self.touched - self.explicit if p.startswith(path + b"/") or path == b""]

    def whiteout(self):
        candidates = [p for p in self.lower if self.is_free(p)] + [self.new_path()]
        path = self.rng.choice(candidates)
        if path in self.touched - self.explicit or self.implied_below(path):
            return
        for p in [p for p in self.tree if (p == path or p.startswith(path + b"/")) and p not in self.touched]:
            del self.tree[p]
        way, _, base = path.rpartition(b"/")
        self.add((way + b"/" if way else b"") + b".wh." + base, tarfile.REGTYPE)

    def opaque(self):
        dirs = [p for p, t in self.tree.items() if t == "d"] + [b""]
        path = self.rng.choice(dirs)
        if self.implied_below(path):
            return
        for p in [p for p in self.tree if p.startswith(path + b"/" if path else b"") and p not in self.touched]:
            del self.tree[p]
        self.add((path + b"/" if path else b"") + b".wh..wh..opq", tarfile.REGTYPE)

    # ---- as a tar

    def spell(self, path, is_dir):
        if path == b".":
            return b"./"
        path = self.rng.choice([b"", b"", b"", b"./", b"/"]) + path
        if self.rng.random() < 0.05:
            path = path.replace(b"/", b"//", 1) if b"/" in path[1:] else path
        return path + b"/" if is_dir and self.rng.random() < 0.7 else path

    def pack(self):
        out = io.BytesIO()
        form = self.rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
        with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8", errors="surrogateescape") as tar:
            for e in self.entries:
                info = tarfile.TarInfo(self.spell(e["path"], e["type"] == tarfile.DIRTYPE).decode("utf-8", "surrogateescape"))
                info.type, info.mode, info.uid, info.gid = e["type"], e["mode"], e["uid"], e["gid"]
                info.mtime = 1700000000
                if e["link"] is not None:
                    info.linkname = e["link"].decode("utf-8", "surrogateescape")
                if e["device"]:
                    info.devmajor, info.devminor = e["device"]
                info.size = len(e["content"])
                tar.addfile(info, io.BytesIO(e["content"]))
        return out.getvalue()


# ---- the image as an OCI layout, and unpacked

def put_blob(layout, content):
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs/sha256" / digest).write_bytes(content)
    return {"digest": "sha256:" + digest, "size": len(content)}


def write_layout(layout, stack):
    (layout / "blobs/sha256").mkdir(parents=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    layers, blobs = [], []
    for tar in stack.layers:
        packed = stack.rng.random() < 0.5
        blob = gzip.compress(tar, 1, mtime=0) if packed else tar
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if packed else "")
        layers.append({"mediaType": kind, **put_blob(layout, blob)})
        blobs.append(layout / "blobs/sha256" / layers[-1]["digest"][7:])
    diff_ids = ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in stack.layers]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": layers,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **put_blob(layout, json.dumps(config).encode())},
    }
    index = {"schemaVersion": 2, "manifests": [{
        "mediaType": manifest["mediaType"], **put_blob(layout, json.dumps(manifest).encode()),
        "annotations": {"org.opencontainers.image.ref.name": "t"}}]}
    (layout / "index.json").write_text(json.dumps(index))
    return blobs, diff_ids


def walk_tree(root):
    """Everything below root as the documents tell it; the content of files is kept, too."""
    found, contents = {}, {}
    todo = [b""]
    while todo:
        dir = todo.pop()
        for name in os.listdir(os.path.join(root, dir)):
            path = dir + b"/" + name if dir else name
            about = os.lstat(os.path.join(root, path))
            entry = {"mode": stat.S_IMODE(about.st_mode), "uid": about.st_uid, "gid": about.st_gid}
            kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b",
                    stat.S_IFIFO: "p"}[stat.S_IFMT(about.st_mode)]
            entry["type"] = kind
            if kind == "f":
                with open(os.path.join(root, path), "rb") as file:
                    contents[path] = file.read()
                entry["size"], entry["sha256"] = about.st_size, hashlib.sha256(contents[path]).hexdigest()
            if kind == "d":
                todo.append(path)
            if kind == "l":
                entry["link"] = os.readlink(os.path.join(root, path))
            if kind in "cb":
                entry["dev"] = (os.major(about.st_rdev), os.minor(about.st_rdev))
            found[path] = entry
    return found, contents


def read_document(text):
    def unescape(word):
        return word.encode("latin-1").decode("unicode_escape").encode("latin-1")

    lines = text.splitlines()
    assert lines[0] == "stowage files 1" and lines[-1] == f"end {len(lines) - 2}"
    found = {}
    for line in lines[1:-1]:
        path, kind, *rest = line.split(" ")
        entry = {"type": kind, "uid": 0, "gid": 0}
        entry["mode"] = 0o777 if kind == "l" else int(rest.pop(0), 8) if kind not in "hwo" else 0
        if kind == "f":
            entry["size"], entry["sha256"] = 0, hashlib.sha256(b"").hexdigest()
        for word in rest:
            key, _, value = word.partition("=")
            if key in ("uid", "gid", "size"):
                entry[key] = int(value)
            elif key == "sha256":
                entry[key] = value
            elif key == "link":
                entry[key] = unescape(value)
            elif key == "dev":
                entry[key] = tuple(int(n) for n in value.split(","))
            else:
                assert word == "implied"
        assert unescape(path) not in found
        found[unescape(path)] = entry
    return found


def flat_layer(found, contents):
    out = io.BytesIO()
    kinds = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "c": tarfile.CHRTYPE,
             "b": tarfile.BLKTYPE, "p": tarfile.FIFOTYPE}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
        for path, entry in found.items():
            info = tarfile.TarInfo(path.decode("utf-8", "surrogateescape"))
            info.type, info.mode = kinds[entry["type"]], entry["mode"]
            info.uid, info.gid = entry["uid"], entry["gid"]
            if "link" in entry:
                info.linkname = entry["link"].decode("utf-8", "surrogateescape")
            if "dev" in entry:
                info.devmajor, info.devminor = entry["dev"]
            info.size = entry.get("size", 0)
            tar.addfile(info, io.BytesIO(contents.get(path, b"")))
    return out.getvalue()


def tool(*arguments, may_fail=False):
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, timeout=60)
    assert done.returncode == 0 or (may_fail and done.returncode == 1), f"{arguments}: {done.stdout.decode()[-2000:]} {done.stderr.decode()[-4000:]}"
    return done.stdout.decode()


def differences(got, wanted, what):
    lines = []
    for path in sorted(set(got) | set(wanted)):
        if got.get(path) != wanted.get(path):
            lines.append(f"{what}: {path}: merge {got.get(path)}, tree {wanted.get(path)}")
    return "\n".join(lines[:20])


def check_stack(seed, dir):
    stack = Stack(seed)
    layout, bundle = dir / "image", dir / "bundle"
    blobs, diff_ids = write_layout(layout, stack)
    done = subprocess.run(["umoci", "unpack", "--image", f"{layout}:t", bundle], capture_output=True, timeout=60)
    assert done.returncode == 0, f"umoci: {done.stderr.decode()[-2000:]}"
    tree, contents = walk_tree(os.fsencode(bundle / "rootfs"))

    files, both = [], []
    for i, blob in enumerate(blobs):
        files.append(dir / f"{i}.files")
        both += [files[-1], dir / f"{i}.summary"]
        result = json.loads(tool("parse", blob, *both[-2:]))
        assert result["diff_id"] == diff_ids[i]
    merged = tool("merge", *files)
    found = read_document(merged)
    found.pop(b".", None)
    difference = differences(found, tree, "files")
    assert not difference, difference

    (dir / "flat.tar").write_bytes(flat_layer(tree, contents))
    tool("parse", dir / "flat.tar", dir / "flat.files", dir / "flat.summary")
    plain = [line.replace(" implied", "") for line in merged.splitlines()[:-1] if not line.startswith(". ")]
    assert plain == (dir / "flat.files").read_text().splitlines()[:-1]
    # A package database that cannot be read fails the image: both ways, with the same words.
    image = json.loads(tool("image", *both, may_fail=True))
    assert image == json.loads(tool("image", dir / "flat.files", dir / "flat.summary", may_fail=True))


def check_and_clean(seed, base):
    dir = base / str(seed)
    dir.mkdir()
    try:
        check_stack(seed, dir)
    except AssertionError as failure:
        return f"STOWAGE_PROPERTY_SEED={seed} STOWAGE_PROPERTY_N=1: {failure}"
    shutil.rmtree(dir)
    return None


@needs_root
@pytest.mark.parametrize("first", range(SEED, SEED + COUNT, BATCH))
def test_merging_documents_gives_what_unpacking_gives(first, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        seeds = range(first, min(first + BATCH, SEED + COUNT))
        failures = [f for f in pool.map(lambda seed: check_and_clean(seed, tmp_path), seeds) if f]
    assert not failures, "\n\n".join(failures)
