"""The registry client in C against real registries: open, with passwords, with tokens, with TLS.

The program is $STOWAGE_BIN/../helpers/registry_probe (`make helpers`).
"""

import subprocess

import pytest
import tiny
from support.base import BIN, Daemon, accepts, free_port, new_directory, remove_directory, run
from support.registry import PASSWORD, USER

PROBE = BIN.parent / "helpers/registry_probe"


@pytest.fixture(scope="module")
def picture():
    base = tiny.layer({**tiny.os_release(), "var/blob": bytes(range(256)) * 4000})
    plain = tiny.layer({"srv/a": b"a"}, compression="none")
    packed = tiny.layer({"srv/b": b"b" * 5000}, compression="zstd")
    return tiny.image([base, plain, packed])


def probe(reference, *options):
    """Exit status and lines of the program."""
    done = subprocess.run(
        [PROBE, *map(str, options), reference], text=True, capture_output=True, timeout=60, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout.splitlines()


def check(picture, result):
    status, lines = result
    assert status == 0, lines
    assert lines[0] == f"image {picture.digest}"
    assert lines[1] == f"manifest {picture.digest}"
    assert lines[2].endswith(" linux/amd64")
    assert len(lines) == 6


def check_error(result, code, *words):
    status, lines = result
    assert status == 1 and len(lines) == 1
    assert lines[0].startswith(f"error: {code}: ")
    for word in words:
        assert word in lines[0]


def test_an_open_registry(registry, picture):
    reference = registry.push(picture, "probe/open:1.0")
    check(picture, probe(reference))
    check(picture, probe("http://" + reference))
    check(picture, probe(f"{registry.host}/probe/open@{picture.digest}"))
    check_error(probe("https://" + reference), "unavailable", registry.host)


def test_what_is_not_there_is_named(registry, picture):
    registry.push(picture, "probe/there:1.0")
    check_error(probe(f"{registry.host}/probe/there:2.0"), "not found", "probe/there:2.0", "MANIFEST_UNKNOWN")
    check_error(probe(f"{registry.host}/probe/not/there:1"), "not found", "probe/not/there:1")
    check_error(probe(f"127.0.0.1:{free_port()}/probe:1"), "unavailable", "no connection")


def test_docker_manifests(registry):
    docker = tiny.image([tiny.layer({f"srv/{name}": b"x"}) for name in "abc"], kind=tiny.DOCKER)
    check(docker, probe(registry.push(docker, "probe/docker:1")))


def test_an_index(registry, picture):
    arm = tiny.image([tiny.layer({"srv/a": b"arm"})], platform="linux/arm64")
    both = tiny.index([picture, arm])
    reference = registry.push(both, "probe/index:1")
    status, lines = probe(reference, "--platform", "linux/amd64")
    assert status == 0, lines
    assert lines[0] == f"image {both.digest}"
    assert lines[1] == f"manifest {picture.digest}"
    status, lines = probe(reference, "--platform", "linux/arm64/v8")
    assert status == 0 and lines[2].endswith(" linux/arm64")
    check_error(probe(reference, "--platform", "linux/s390x"), "not found", "linux/s390x", "linux/arm64")


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_credentials(new_registry, picture, auth):
    guarded = new_registry(auth=auth)
    reference = guarded.push(picture, "probe/guarded:1")
    check(picture, probe(reference, "--user", USER, "--password", PASSWORD))
    check_error(probe(reference, "--user", USER, "--password", "wrong"), "unauthenticated", guarded.host)
    check_error(probe(reference), "unauthenticated", guarded.host)


def test_a_given_token(new_registry, picture):
    guarded = new_registry(auth="token")
    reference = guarded.push(picture, "probe/guarded:1")
    check(picture, probe(reference, "--token", guarded.tokens.token("probe/guarded", ["pull"])))
    elsewhere = guarded.tokens.token("probe/other", ["pull"])
    check_error(probe(reference, "--token", elsewhere), "unauthenticated", "token")


@pytest.fixture
def tls_registry():
    directory, port = new_directory("tls"), free_port()
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=registry", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", directory / "key.pem", "-out", directory / "cert.pem")  # fmt: skip
    (directory / "config.yaml").write_text(
        "version: 0.1\n"
        "log: {level: warn}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}', tls: {{certificate: {directory}/cert.pem, key: {directory}/key.pem}}}}\n"
    )
    daemon = Daemon(["docker-registry", "serve", directory / "config.yaml"], directory / "registry.log")
    daemon.wait_until(lambda: accepts(port), "docker-registry")
    yield f"127.0.0.1:{port}", directory
    daemon.kill()
    remove_directory(directory)


def test_tls_with_an_authority_of_its_own(tls_registry, picture):
    host, directory = tls_registry
    tiny.write_layout(picture, directory / "layout", tag="x")
    run("skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false",
        f"oci:{directory}/layout:x", f"docker://{host}/probe/tls:1", timeout=60)  # fmt: skip
    check(picture, probe(f"{host}/probe/tls:1", "--ca", directory / "cert.pem"))
    check(picture, probe(f"https://{host}/probe/tls:1", "--ca", directory / "cert.pem"))
    check_error(probe(f"{host}/probe/tls:1"), "precondition failed", "certificate is not trusted", host)
    check_error(probe(f"{host}/probe/tls:1", "--insecure"), "precondition failed", "certificate is not trusted")
