"""The catalog alone: real binary (often two replicas of it), PostgreSQL, gateway and registry; the worker is this test.

It speaks the worker's part of the protocol by hand, so that it can do what no good worker does: vanish, come too late,
say the same thing twice. The digest of a package set is computed here a second time, from its definition.
"""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time

import pytest
import tiny
import yaml
from support.base import BIN, Daemon, free_port, new_directory, remove_directory, wait_until
from support.postgres import Postgres
from support.registry import PASSWORD, USER

RPC = BIN.parent / "helpers" / "rpc_call"
REVISION = "r1"
FAST = {
    "lease": "2s",
    "retry_base": "10ms",
    "sweep_lease": "3s",
    "sweep_grace": "0ms",
    "sweep_period": "300ms",
    "audit_period": "300ms",
}


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def set_digest(packages):
    def field(text):
        return (text or "").replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")

    lines = []
    for p in packages:
        fields = [p.get(name) for name in ("type", "name", "version", "arch", "purl", "location")]
        if p.get("source") or p.get("licenses"):
            fields += [p.get("source"), *p.get("licenses", [])]
        lines.append("\t".join(field(each) for each in fields) + "\n")
    return sha("".join(lines).encode())


class Refused(AssertionError):
    def __init__(self, method, text):
        super().__init__(f"{method}: {text}")
        error = json.loads(text.splitlines()[-1])
        error = error.get("error", error)
        self.code, self.message = error["code"], error["message"]


class Catalog:
    """A gateway and replicas of the catalog on one database."""

    def __init__(self, replicas=1, **settings):
        self.postgres = Postgres()
        self.directory = new_directory("cat")
        self.settings = settings
        self.replicas = replicas
        self.endpoints = [f"ipc://{self.directory}/c{n}.ipc" for n in range(replicas)]
        self.ports = [free_port() for _ in range(replicas + 1)]
        self.daemons = [None] * replicas
        self.gateway = None
        self.numbers = iter(range(10**6))
        try:
            self.start_gateway()
            for n in range(replicas):
                self.start(n)
        except BaseException:
            self.close()
            raise

    def _configure(self, name, **sections):
        path = self.directory / name
        common = {
            "cluster_secret": "0123456789abcdef0123456789abcdef",
            "database": {"url": self.postgres.url},
            "endpoints": {"catalog": self.endpoints, "gateway": [f"ipc://{self.directory}/g.ipc"]},
        }
        path.write_text(yaml.safe_dump({**common, **sections}))
        return path

    def _run(self, program, config, port, log, fault=None):
        environment = {**os.environ, **({"STOWAGE_FAULT": fault} if fault else {})}
        daemon = Daemon([BIN / program, "--config", config], self.directory / log, env=environment)
        url = f"http://127.0.0.1:{port}/readyz"
        ask = ["curl", "-sf", "--noproxy", "*", url]
        daemon.wait_until(
            lambda: subprocess.run(ask, capture_output=True, check=False).returncode == 0, f"{program} to be ready"
        )
        return daemon

    def start_gateway(self):
        section = {"listen": [f"ipc://{self.directory}/g.ipc"], "http_listen": f"127.0.0.1:{self.ports[-1]}"}
        store = {"storage_driver": {"name": "db"}}
        config = self._configure("gateway.yaml", object_store_gateway=section, object_store=store)
        self.gateway = self._run("object-store-gateway", config, self.ports[-1], "gateway.log")

    def start(self, n=0, fault=None):
        section = {
            "listen": [self.endpoints[n]],
            "http_listen": f"127.0.0.1:{self.ports[n]}",
            **FAST,
            **self.settings,
        }
        config = self._configure(f"catalog{n}.yaml", catalog=section)
        self.daemons[n] = self._run("catalog", config, self.ports[n], f"catalog{n}.log", fault)

    def kill(self, n=0):
        self.daemons[n].kill()

    def close(self):
        for daemon in [*self.daemons, self.gateway]:
            if daemon and daemon.alive():
                daemon.stop(40)
        self.postgres.close()
        logs = [log.read_text() for log in self.directory.glob("*.log")]
        remove_directory(self.directory)
        for log in logs:
            assert "Sanitizer" not in log and "assertion" not in log, log[-4000:]

    # Messages

    def call(
        self, method, account="default", payload=None, out=False, replica=None, service="catalog", timeout=30, **body
    ):
        number = next(self.numbers)
        command = [RPC, "--config", self.directory / "catalog0.yaml", "--service", service]
        command += ["--account", account] if account else []
        command += ["--timeout", int(timeout * 1000)]
        if replica is not None:
            command += ["--endpoint", self.endpoints[replica]]
        if payload is not None:
            sent = self.directory / f"payload-{number}"
            sent.write_bytes(payload)
            command += ["--payload", sent]
        got = self.directory / f"out-{number}"
        if out:
            command += ["--out", got]
        done = subprocess.run(
            [str(word) for word in [*command, method]],
            input=json.dumps(body).encode(), capture_output=True, timeout=timeout + 30, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Refused(method, done.stderr.decode())
        reply = json.loads(done.stdout)
        return (reply, got.read_bytes()) if out else reply

    def refuses(self, method, **arguments):
        with pytest.raises(Refused) as refused:
            self.call(method, **arguments)
        return refused.value

    def sql(self, statement):
        return self.postgres.psql(statement)

    def one(self, statement):
        return self.sql(statement)[0][0]

    # What a worker does

    def lease(self, worker="w1", wait_ms=5000, **options):
        return self.call("job_lease", account=None, worker=worker, wait_ms=wait_ms, **options)

    def put_object(self, account, bucket, key, data):
        self.call("object_put", account=account, service="gateway", payload=data, store="object_store", bucket=bucket,
                  key=key, sha256=sha(data))  # fmt: skip

    def keys(self, bucket, account="default", prefix=""):
        reply = self.call("object_list", account=account, service="gateway", store="object_store", bucket=bucket,
                          prefix=prefix, limit=1000)  # fmt: skip
        return [item["key"] for item in reply.get("items", [])]

    def object(self, name, account="default"):
        return self.call("object_get", account=account, service="gateway", store="object_store", out=True, **name)[1]

    def held(self, lease):
        return {"account": lease["account"], "job": lease["job"], "token": lease["token"]}

    def analyse_layer(self, lease, blob):
        hexes = blob.digest.partition(":")[2]
        self.call("layer_begin", **self.held(lease), revision=REVISION, layer=blob.digest)
        for document in ("files", "summary"):
            key = f"{REVISION}/{hexes}/{document}"
            self.put_object(lease["account"], "layers", key, f"{document} of {hexes}".encode())
        known = {"layer": blob.digest, "diff_id": blob.diff_id, "size": blob.size}
        self.call("layer_commit", **self.held(lease), revision=REVISION, **known)

    def put_packages(self, packages, type="dpkg"):
        digest = set_digest(packages)
        if self.call("set_need", sets=[digest]).get("missing"):
            reply = self.call("set_put", type=type, digest=digest, part=0, parts=1, packages=packages)
            assert reply["complete"]
        return {"type": type, "digest": digest, "packages": len(packages)}

    def result(self, lease, image, packages, documents=("manifest", "packages")):
        digest = lease["digest"].partition(":")[2]
        for blob in image.layers:
            self.analyse_layer(lease, blob)
        lines = "".join(json.dumps(each) + "\n" for each in packages)
        for name in documents:
            content = lines.encode() if name == "packages" else b"x"
            self.put_object(lease["account"], "images", f"{digest}/{name}", content)
        layers = [
            {"digest": each.digest, "diff_id": each.diff_id, "size": each.size, "revision": REVISION}
            for each in image.layers
        ]
        return {
            **self.held(lease), "platform": image.platform, "layers": layers, "sets": [self.put_packages(packages)],
            "documents": list(documents),
        }  # fmt: skip

    def analyse(self, reference, image, packages, account="default"):
        added = self.call("image_add", account=account, reference=reference)
        lease = self.lease()
        assert lease["digest"] == added["digest"]
        self.call("job_commit", **self.result(lease, image, packages))
        return added["digest"]


def some_packages(word, count=3):
    return [
        {"type": "dpkg", "name": f"{word}-{n:04}", "version": "1.0", "purl": f"pkg:deb/{word}-{n:04}@1.0", "location": "a\tb"}
        for n in range(count)
    ]


def small_image(word, layers=1):
    return tiny.image([tiny.layer({f"{word}/{n}": f"{word} {n}"}) for n in range(layers)])


@pytest.fixture
def new_catalog():
    made = []

    def make(replicas=1, **settings):
        made.append(Catalog(replicas, **settings))
        return made[-1]

    yield make
    for catalog in made:
        catalog.close()


@pytest.fixture(scope="module")
def catalog():
    shared = Catalog(replicas=2)
    yield shared
    shared.close()


def at_once(*actions):
    """Runs them together; their results, failures included."""
    results = [None] * len(actions)

    def run(n):
        try:
            results[n] = actions[n]()
        except Exception as failure:  # noqa: BLE001: the caller looks at it
            results[n] = failure

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


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


def test_a_worker_that_vanishes_loses_its_job_to_another(catalog, registry, unique):
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


def test_a_renewed_lease_outlives_its_length(catalog, registry, unique):
    catalog.call("image_add", reference=registry.push(small_image(unique), f"{unique}/app:1"))
    lease = catalog.lease()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        reply = catalog.call("job_renew", **catalog.held(lease), stage="layers", layers_done=1, layers_total=3)
        assert reply["lease_ms"] == 2000
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
    catalog = new_catalog(replicas=2)
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
    leased = {wait_until(lambda: catalog.lease(wait_ms=3000).get("job"), "a job", 30) for _ in range(6)}
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
