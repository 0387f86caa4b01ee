"""tiny: container images from Python dicts, whole or deliberately wrong.

    from tiny import *

    base = layer({**dpkg([("libc6", "2.36-9")]), "etc/os-release": os_release("debian", "12")})
    top = layer({"usr/share/doc": WHITEOUT, "srv": OPAQUE, "srv/a": b"x", "srv/b": Symlink("a")}, compression="zstd")
    shop = image([base, top])

    push(shop, "127.0.0.1:5000/shop:1.0")          # to any registry, over HTTP
    write_layout(shop, "/tmp/shop", tag="1.0")     # an OCI layout
    write_docker_archive(shop, "/tmp/shop.tar", ["shop:1.0"])

A layer is a dict from path to what lies there, written to the tar in the order of the dict:

    bytes or str       a file
    File(data, ...)    a file with mode, owner, time, pax headers
    DIR or Dir(...)    a directory (parents are not made up: what is not named is not in the tar)
    Symlink(target), Hardlink(target), Fifo(), Device(major, minor)
    WHITEOUT           the path is removed: entry ".wh.NAME" beside it
    OPAQUE             the directory hides what lower layers had: entry ".wh..wh..opq" in it

Everything made here is deterministic: the same arguments give the same bytes and so the same digests. Nothing is
checked that a test may want to get wrong: `replace` from dataclasses gives an image with another blob, media type or
digest, and `Blob.claim` a blob under a digest that is not its own. A real registry refuses such things; the one in
tests/integration/support/fake_registry.py serves them.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field, replace

__all__ = """
    Blob Device DIR Dir DOCKER Fifo File Hardlink Image Index OCI OPAQUE Symlink WHITEOUT apk compress dist_info dpkg
    image index layer layer_from_tar npm os_release pull_json push push_blob push_manifest replace sha256 status_d tar_of
    write_docker_archive write_layout
""".split()


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compact(document):
    return json.dumps(document, separators=(",", ":")).encode()


# What lies at a path ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
    mode: int = None
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    uname: str = ""
    gname: str = ""
    pax: dict = field(default_factory=dict)

    kind = tarfile.REGTYPE
    default_mode = 0o644

    def fill(self, info):
        """Sets what is particular to the kind of entry; returns the content."""
        return b""

    def add(self, tar, path):
        info = tarfile.TarInfo(path)
        info.type = self.kind
        info.mode = self.default_mode if self.mode is None else self.mode
        info.uid, info.gid, info.mtime = self.uid, self.gid, self.mtime
        info.uname, info.gname = self.uname, self.gname
        info.pax_headers = dict(self.pax)
        content = self.fill(info)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


@dataclass(frozen=True)
class File(Entry):
    data: bytes = b""

    def fill(self, info):
        return self.data.encode() if isinstance(self.data, str) else self.data


@dataclass(frozen=True)
class Dir(Entry):
    kind = tarfile.DIRTYPE
    default_mode = 0o755


@dataclass(frozen=True)
class Symlink(Entry):
    target: str
    kind = tarfile.SYMTYPE
    default_mode = 0o777

    def fill(self, info):
        info.linkname = self.target
        return b""


@dataclass(frozen=True)
class Hardlink(Entry):
    """target is a path from the root of the layer, as in the tar."""

    target: str
    kind = tarfile.LNKTYPE

    def fill(self, info):
        info.linkname = self.target
        return b""


@dataclass(frozen=True)
class Fifo(Entry):
    kind = tarfile.FIFOTYPE


@dataclass(frozen=True)
class Device(Entry):
    major: int
    minor: int
    kind = tarfile.CHRTYPE
    default_mode = 0o666

    def fill(self, info):
        info.devmajor, info.devminor = self.major, self.minor
        return b""


class _Mark:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


WHITEOUT = _Mark("WHITEOUT")
OPAQUE = _Mark("OPAQUE")
DIR = Dir()


# Layers -----------------------------------------------------------------------------------------------------------


def tar_of(entries, format=tarfile.PAX_FORMAT):
    """The tar of a dict, or of a list of (path, what) where a path comes twice. Uncompressed bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, encoding="utf-8", errors="surrogateescape") as tar:
        for path, what in entries.items() if isinstance(entries, dict) else entries:
            if what is WHITEOUT:
                path, what = os.path.join(os.path.dirname(path), ".wh." + os.path.basename(path)), File()
            elif what is OPAQUE:
                path, what = os.path.join(path, ".wh..wh..opq"), File()
            elif isinstance(what, (bytes, str)):
                what = File(data=what)
            what.add(tar, path)
    return out.getvalue()


def compress(data, compression):
    if compression == "gzip":
        return gzip.compress(data, compresslevel=6, mtime=0)
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=3).compress(data)
    if compression == "none":
        return data
    raise ValueError(f"compression {compression!r}")


@dataclass(frozen=True)
class Kind:
    """The media types of one family."""

    manifest: str
    index: str
    config: str
    layer: dict


OCI = Kind(
    manifest="application/vnd.oci.image.manifest.v1+json",
    index="application/vnd.oci.image.index.v1+json",
    config="application/vnd.oci.image.config.v1+json",
    layer={
        "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
        "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
        "none": "application/vnd.oci.image.layer.v1.tar",
    },
)
DOCKER = Kind(
    manifest="application/vnd.docker.distribution.manifest.v2+json",
    index="application/vnd.docker.distribution.manifest.list.v2+json",
    config="application/vnd.docker.container.image.v1+json",
    layer={
        "gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "zstd": "application/vnd.docker.image.rootfs.diff.tar.zstd",
        "none": "application/vnd.docker.image.rootfs.diff.tar",
    },
)


@dataclass(frozen=True)
class Blob:
    """Bytes as they are transferred, and what a manifest says about them."""

    data: bytes
    media_type: str = ""
    diff_id: str = ""  # of a layer: digest of the uncompressed tar
    compression: str = ""
    digest: str = ""
    size: int = -1
    urls: tuple = ()

    def __post_init__(self):
        object.__setattr__(self, "digest", self.digest or sha256(self.data))
        object.__setattr__(self, "size", len(self.data) if self.size < 0 else self.size)

    def claim(self, data):
        """The same descriptor over other bytes: what a damaged or lying registry serves."""
        return replace(self, data=data)

    def descriptor(self):
        described = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.urls:
            described["urls"] = list(self.urls)
        return described


def layer(entries, compression="gzip", format=tarfile.PAX_FORMAT):
    return layer_from_tar(tar_of(entries, format), compression)


def layer_from_tar(tar, compression="gzip"):
    """tar: any bytes; a test may pass what is no tar."""
    return Blob(compress(tar, compression), diff_id=sha256(tar), compression=compression)


# Images -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    config: Blob
    layers: tuple
    manifest: bytes
    media_type: str
    platform: str = "linux/amd64"

    @property
    def digest(self):
        return sha256(self.manifest)

    @property
    def blobs(self):
        return (self.config, *self.layers)

    def descriptor(self):
        return {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": len(self.manifest),
            "platform": _platform(self.platform),
        }


@dataclass(frozen=True)
class Index:
    images: tuple
    manifest: bytes
    media_type: str

    @property
    def digest(self):
        return sha256(self.manifest)


def _platform(text):
    names = ("os", "architecture", "variant")
    return dict(zip(names, text.split("/")))


def image(layers, platform="linux/amd64", kind=OCI, config=None, manifest=None, labels=None):
    """config and manifest: fields merged over those made here (None as a value removes one)."""
    layers = tuple(replace(each, media_type=each.media_type or kind.layer[each.compression]) for each in layers)
    described = {
        "created": "2024-01-01T00:00:00Z",
        **_platform(platform),
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"], "Labels": labels or {}},
        "rootfs": {"type": "layers", "diff_ids": [each.diff_id for each in layers]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(layers))],
    }
    blob = Blob(compact(_merged(described, config)), media_type=kind.config)
    body = {
        "schemaVersion": 2,
        "mediaType": kind.manifest,
        "config": blob.descriptor(),
        "layers": [each.descriptor() for each in layers],
    }
    return Image(blob, layers, compact(_merged(body, manifest)), kind.manifest, platform)


def index(images, kind=OCI, manifest=None):
    body = {
        "schemaVersion": 2,
        "mediaType": kind.index,
        "manifests": [each.descriptor() for each in images],
    }
    return Index(tuple(images), compact(_merged(body, manifest)), kind.index)


def _merged(under, over):
    merged = {**under, **(over or {})}
    return {key: value for key, value in merged.items() if value is not None}


# To a registry ----------------------------------------------------------------------------------------------------


def push(what, reference, auth=None, timeout=60):
    """Pushes an Image, or an Index with its images, to HOST:PORT/NAME:TAG over plain HTTP; returns its digest.

    auth: (user, password) for basic, or a str for a bearer token.
    """
    host, name, tag = split_reference(reference)
    for each in what.images if isinstance(what, Index) else (what,):
        for blob in each.blobs:
            push_blob(host, name, blob.data, auth, timeout)
        push_manifest(host, name, each.digest, each.manifest, each.media_type, auth, timeout)
    return push_manifest(host, name, tag, what.manifest, what.media_type, auth, timeout)


def split_reference(reference):
    host, _, rest = reference.partition("/")
    name, _, tag = rest.partition(":")
    return host, name, tag or "latest"


def push_blob(host, name, data, auth=None, timeout=60):
    digest = sha256(data)
    try:
        _http("HEAD", f"http://{host}/v2/{name}/blobs/{digest}", auth=auth, timeout=timeout).close()
        return digest
    except urllib.error.HTTPError as failure:
        if failure.code != 404:
            raise
    with _http("POST", f"http://{host}/v2/{name}/blobs/uploads/", auth=auth, data=b"", timeout=timeout) as reply:
        location = urllib.parse.urljoin(f"http://{host}/", reply.headers["Location"])
    joint = "&" if "?" in location else "?"
    headers = {"Content-Type": "application/octet-stream"}
    _http("PUT", f"{location}{joint}digest={digest}", auth, data, headers, timeout).close()
    return digest


def push_manifest(host, name, tag, manifest, media_type=OCI.manifest, auth=None, timeout=60):
    url = f"http://{host}/v2/{name}/manifests/{tag}"
    _http("PUT", url, auth, manifest, {"Content-Type": media_type}, timeout).close()
    return sha256(manifest)


def pull_json(reference, auth=None, timeout=60):
    """The manifest that a tag names, decoded."""
    host, name, tag = split_reference(reference)
    accept = ", ".join([OCI.manifest, OCI.index, DOCKER.manifest, DOCKER.index])
    url = f"http://{host}/v2/{name}/manifests/{tag}"
    with _http("GET", url, auth, headers={"Accept": accept}, timeout=timeout) as reply:
        return json.load(reply)


def _http(method, url, auth=None, data=None, headers=None, timeout=60):
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if isinstance(auth, tuple):
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(auth).encode()).decode())
    elif auth:
        request.add_header("Authorization", "Bearer " + auth)
    return urllib.request.urlopen(request, timeout=timeout)


# To a disk --------------------------------------------------------------------------------------------------------


def write_layout(what, directory, tag="latest"):
    """An OCI layout; adds to one that is there already."""
    blobs = os.path.join(directory, "blobs", "sha256")
    os.makedirs(blobs, exist_ok=True)

    def write(digest, data):
        with open(os.path.join(blobs, digest.partition(":")[2]), "wb") as out:
            out.write(data)

    for each in what.images if isinstance(what, Index) else (what,):
        for blob in each.blobs:
            write(blob.digest, blob.data)
        write(each.digest, each.manifest)
    write(what.digest, what.manifest)

    with open(os.path.join(directory, "oci-layout"), "w") as out:
        out.write('{"imageLayoutVersion":"1.0.0"}')
    path = os.path.join(directory, "index.json")
    entries = []
    if os.path.exists(path):
        with open(path) as old:
            entries = [e for e in json.load(old)["manifests"] if _tag_of(e) != tag]
    entries.append(
        {
            "mediaType": what.media_type,
            "digest": what.digest,
            "size": len(what.manifest),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }
    )
    with open(path, "wb") as out:
        out.write(compact({"schemaVersion": 2, "manifests": entries}))
    return directory


def _tag_of(descriptor):
    return descriptor.get("annotations", {}).get("org.opencontainers.image.ref.name")


def write_docker_archive(what, path, names=()):
    """What `docker save` writes. Its layers are uncompressed tars, so those of the image are inflated."""
    members, layers = {}, []
    for each in what.layers:
        name = each.diff_id.partition(":")[2] + "/layer.tar"
        members[name] = decompress(each)
        layers.append(name)
    config = what.config.digest.partition(":")[2] + ".json"
    members[config] = what.config.data
    members["manifest.json"] = compact([{"Config": config, "RepoTags": list(names), "Layers": layers}])
    with open(path, "wb") as out:
        out.write(tar_of(members))
    return path


def decompress(blob):
    if blob.compression == "gzip":
        return gzip.decompress(blob.data)
    if blob.compression == "zstd":
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(blob.data)
    return blob.data


# What catalogers look for -----------------------------------------------------------------------------------------
# Each returns a dict of paths, to be merged into that of a layer: layer({**dpkg([...]), **npm("a", "1.0")}).


def os_release(ident="debian", version="12", name=None, path="etc/os-release", **more):
    lines = {"ID": ident, "VERSION_ID": f'"{version}"', "NAME": f'"{name or ident.title()}"', **more}
    return {path: "".join(f"{key}={value}\n" for key, value in lines.items())}


def _dpkg_paragraph(package):
    if isinstance(package, tuple):
        package = {"Package": package[0], "Version": package[1]}
    fields = {
        "Package": "",
        "Status": "install ok installed",
        "Priority": "optional",
        "Section": "libs",
        "Installed-Size": "64",
        "Maintainer": "Somebody <somebody@example.org>",
        "Architecture": "amd64",
        "Version": "",
        "Description": "a package\n More about it.\n .\n And more.",
        **package,
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value is not None)


def dpkg(packages, files=None):
    """packages: (name, version), or a dict of fields. files: package name -> paths that it owns ("/usr/bin/x")."""
    entries = {"var/lib/dpkg/status": "\n".join(_dpkg_paragraph(each) for each in packages) + "\n"}
    for name, paths in (files or {}).items():
        entries[f"var/lib/dpkg/info/{name}.list"] = "".join(f"{path}\n" for path in ["/.", *paths])
    return entries


def status_d(packages):
    """As in distroless images: one file a package."""
    entries = {}
    for each in packages:
        name = each[0] if isinstance(each, tuple) else each["Package"]
        entries[f"var/lib/dpkg/status.d/{name}"] = _dpkg_paragraph(each)
    return entries


def apk(packages):
    """packages: (name, version), or a dict of one-letter fields; key "F" may be a dict directory -> list of files."""
    out = []
    for each in packages:
        if isinstance(each, tuple):
            each = {"P": each[0], "V": each[1]}
        fields = {"C": "Q1" + "A" * 27 + "=", "P": "", "V": "", "A": "x86_64", "S": "1024", "I": "4096",
                  "T": "a package", "U": "https://example.org/", "L": "MIT", "o": each.get("P"), **each}  # fmt: skip
        folders = fields.pop("F", {})
        out += [f"{key}:{value}" for key, value in fields.items() if value is not None]
        for folder, names in folders.items():
            out.append(f"F:{folder}")
            for name in names:
                out += [f"R:{name}", "a:0:0:755", "Z:Q1" + "B" * 27 + "="]
        out.append("")
    return {"lib/apk/db/installed": "\n".join(out) + "\n"}


def npm(name, version, at="srv/app/node_modules", **more):
    """more: further fields of package.json."""
    return {f"{at}/{name}/package.json": json.dumps({"name": name, "version": version, "license": "MIT", **more})}


def dist_info(name, version, at="usr/local/lib/python3.11/site-packages", license="MIT", kind="dist-info", **headers):
    """kind: dist-info, egg-info (a directory) or egg-info-file."""
    more = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in headers.items())
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: {license}\n{more}\nA module.\n"
    folder = f"{at}/{name.replace('-', '_')}-{version}"
    if kind == "egg-info-file":
        return {f"{folder}.egg-info": text}
    if kind == "egg-info":
        return {f"{folder}.egg-info/PKG-INFO": text}
    record = f"{name}/__init__.py,,\n{os.path.basename(folder)}.dist-info/METADATA,,\n"
    return {f"{folder}.dist-info/METADATA": text, f"{folder}.dist-info/RECORD": record}
