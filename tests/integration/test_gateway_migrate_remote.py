"""From bucket to bucket and on to a container of a real OpenStack Swift, killed at every named point on the way; and the
sections of a configuration as operators of Anchore Engine know them."""

import json
import os

import pytest
import yaml
from support.postgres import psql
from support.swift import Swift
from test_gateway import STORE, Gateway, postgres  # noqa: F401
from test_gateway_check import stowage, write
from test_gateway_migrate import all_there, backends, end_of_migration, fill, migrate_and_be_killed
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


def chunks_in(bucket):
    """Without the probe that a gateway leaves which is killed while it opens a bucket; one opens it later and takes it."""
    return [key for key in bucket.keys() if "/probe-" not in key]


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
    migrate_and_be_killed(gateway, "s3", "s3-2")
    all_there(gateway, data)
    end_of_migration(gateway, "s3", "s3-2", 8)
    assert (len(chunks_in(first)), len(chunks_in(second))) == (0, 8)

    gateway.process.stop()
    gateway.driver = {"name": "swift", "config": container_config(swift, third)}
    gateway.start()
    migrate_and_be_killed(gateway, "s3-2", "swift")
    all_there(gateway, data)
    end_of_migration(gateway, "s3-2", "swift", 8)
    assert (len(chunks_in(second)), len(swift.names(third, STORE))) == (0, 8)
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
