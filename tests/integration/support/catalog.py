"""The catalog with its gateway and database, and a worker that a test plays.

It speaks the worker's part of the protocol by hand, so that it can do what no good worker does: vanish, come too late,
say the same thing twice. The digest of a package set is computed here a second time, from its definition.
"""

import hashlib
import json
import os
import subprocess
import threading

import pytest
import tiny
import yaml

from .base import BIN, Daemon, free_port, new_directory, remove_directory
from .postgres import Postgres

RPC = BIN.parent / "helpers" / "rpc_call"
REVISION = "r1"
FAST = {
    "lease": "30s",  # on a busy machine, what a test does under one takes a while
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
