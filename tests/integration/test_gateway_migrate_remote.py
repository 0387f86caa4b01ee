"""From bucket to bucket and on to a container of a real OpenStack Swift, killed at every named point on the way; and the
sections of a configuration as operators of Anchore Engine know them."""

import json
import os
import signal

import pytest
import yaml
from support.base import wait_until
from support.postgres import psql
from support.swift import Swift
from test_gateway import STORE, Gateway, Refused, postgres  # noqa: F401
from test_gateway_check import stowage, write
from test_gateway_migrate import POINTS, all_there, backends, fill, start, wait_for_end
from test_gateway_s3 import Bucket


@pytest.fixture(scope="module")
def swift():
    server = Swift()
    yield server
    server.close()


@pytest.fixture
def gateway(postgres):  # noqa: F811
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    made = Gateway(postgres, lease="1s")
    yield made
    made.close()


def container_config(swift, container):
    return {"auth": swift.auth_url, "user": swift.user, "key": swift.key, "container": container}


def current(gateway):
    return next(name for name, b in backends(gateway).items() if b.get("current"))


def migrate_and_kill(gateway, source, target):
    """One migration; the gateway dies at each point in turn, wherever the migration is by then."""
    for point in POINTS:
        gateway.process.stop()
        try:
            gateway.start(fault=point)
            start(gateway, source, target)
        except (Refused, AssertionError):
            pass  # it went on with what it found, and was dead before it could answer
        try:
            wait_until(lambda: not gateway.process.alive(), f"the gateway to be killed {point}", seconds=20)
        except AssertionError:
            state = gateway.sql("SELECT state FROM objects.transfer ORDER BY id DESC LIMIT 1")
            assert state == "done", f"not killed {point}, and {state}"
            return
        assert gateway.process.process.returncode == -signal.SIGKILL
    gateway.start()


def finished(gateway, source, target, count):
    if backends(gateway)[source]["chunks"]:
        start(gateway, source, target)
    assert wait_for_end(gateway)["state"] == "done"

    def swept():
        gateway.sweep()
        return gateway.sql("SELECT count(*) FROM objects.chunk WHERE state <> 'live'") == "0"

    wait_until(swept, "the sweep to take what was abandoned", every=0.3)
    held = backends(gateway)
    assert (held[source]["chunks"], held[target]["chunks"]) == (0, count)
    assert "damaged" not in gateway("store_verify", store=STORE)


def test_bucket_to_bucket_to_container_with_a_kill_at_every_point(gateway, swift):
    first, second, third = Bucket(swift), Bucket(swift), swift.new_container()
    gateway.driver = {"name": "s3", "config": first.config()}
    gateway.start()
    data = fill(gateway, 5)
    assert len(first.keys()) == 8

    gateway.process.stop()
    gateway.driver = {"name": "s3", "config": second.config()}
    gateway.start()
    all_there(gateway, data)
    assert current(gateway) == "s3-2"
    migrate_and_kill(gateway, "s3", "s3-2")
    all_there(gateway, data)
    finished(gateway, "s3", "s3-2", 8)
    assert (len(first.keys()), len(second.keys())) == (0, 8)

    gateway.process.stop()
    gateway.driver = {"name": "swift", "config": container_config(swift, third)}
    gateway.start()
    migrate_and_kill(gateway, "s3-2", "swift")
    all_there(gateway, data)
    finished(gateway, "s3-2", "swift", 8)
    assert (len(second.keys()), len(swift.names(third, STORE))) == (0, 8)
    all_there(gateway, data)


# As they stand in its documentation, with the values of this server.
SECTIONS = {
    "s3": """
        compression:
          enabled: false
          min_size_kbytes: 100
        storage_driver:
          name: 's3'
          config:
            access_key: '{user}'
            secret_key: '{key}'
            #iamauto: True
            url: '{url}'
            region: null
            bucket: '{container}'
            create_bucket: True
        """,
    "swift": """
        compression:
          enabled: true
          min_size_kbytes: 100
        storage_driver:
          name: swift
          config:
            user: '{user}'
            auth: '{auth_url}'
            key: '{key}'
            container: '{container}'
            create_container: True
        """,
    "db": """
        compression:
          enabled: true
          min_size_kbytes: 100
        storage_driver:
          name: db
          config: {{}}
        """,
    "localfs": """
        storage_driver:
          name: localfs
          config:
            archive_data_dir: {directory}/archive
        """,
}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_that_is_pasted_works(postgres, swift, gateway, name):  # noqa: F811
    text = SECTIONS[name].format(
        user=swift.user, key=swift.key, url=swift.url, auth_url=swift.auth_url, container=f"pasted-{name}-{os.getpid()}",
        directory=gateway.directory,
    )  # fmt: skip
    section = yaml.safe_load(text)
    config = write(gateway.directory, section, database=postgres.url)
    items = json.loads(stowage(config, "--json", "store", "check").stdout)["items"]
    assert [(i["driver"], i["works"]) for i in items] == [(name, True)] * 2  # the archive falls back to it
