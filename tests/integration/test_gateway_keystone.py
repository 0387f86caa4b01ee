"""The object-store-gateway on a real OpenStack Swift that knows its users from a real Keystone (authentication v3)."""

import hashlib
import os
import threading
import time

import pytest
from support.base import free_port
from support.keystone import ACCOUNTS, Keystone, KeystoneSwift, ask
from support.postgres import Postgres, psql
from test_gateway import STORE, Gateway, sha
from test_gateway_swift import nothing_half_there, refused_at_start


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="module")
def keystone():
    server = Keystone()
    yield server
    server.close()


@pytest.fixture(scope="module")
def swift(keystone):
    server = KeystoneSwift(keystone)
    yield server
    server.close()


def password_of(keystone, user):
    return {
        "os_auth_url": keystone.auth_url,
        "os_username": user,
        "os_password": f"{user}-secret",
        "os_project_name": keystone.project,
        "region": "north",
    }


class KeystoneGateway(Gateway):
    def __init__(self, postgres, swift, container, config, **settings):
        super().__init__(postgres, "swift", **settings)
        self.swift, self.container = swift, container
        self.driver["config"] = {"container": container, "retry_budget": "2s", **config}


@pytest.fixture
def new_gateway(postgres, keystone, swift):
    """By the member's password in the region north, where config says nothing else; None drops an option."""
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    made = []

    def make(start=True, container=None, config=None, **settings):
        config = {**password_of(keystone, keystone.member), **(config or {})}
        config = {name: value for name, value in config.items() if value is not None}
        gateway = KeystoneGateway(postgres, swift, container or swift.new_container(), config, **settings)
        made.append(gateway)
        return gateway.start() if start else gateway

    yield make
    for gateway in made:
        gateway.close()


def credential(number=None, secret="secret", **more):
    password = dict.fromkeys(("os_username", "os_password", "os_project_name"))
    return {**password, "os_application_credential_id": number, "os_application_credential_secret": secret, **more}


def works(gateway, key="doc"):
    data = os.urandom(10_000)
    gateway.put(key, data)
    assert gateway.get(key) == data
    return data


def many_chunks(gateway, count):
    for number in range(count):
        gateway("chunk_put", payload=b"%d" % number, store=STORE, sha256=sha(b"%d" % number))


def held_at(swift, container, region="north", interface="public"):
    """Names of objects, as another client sees them; None: there is no such container."""
    said = swift.client("list", container, region=region, interface=interface)
    return None if said is None else said.splitlines()


def test_a_password_opens_the_account_of_a_project(new_gateway, keystone, swift):
    gateway = new_gateway(config={"os_auth_url": keystone.url, "os_user_domain_name": "Default"})
    data = works(gateway)
    (name,) = held_at(swift, gateway.container)
    held = gateway.directory / "held"
    swift.client("download", gateway.container, name, "-o", str(held))
    assert hashlib.sha256(held.read_bytes()).hexdigest() == name.rsplit("-", 1)[1] == sha(data)[7:]
    nothing_half_there(gateway)


def test_domains_tell_users_and_projects_of_one_name_apart(new_gateway, keystone, swift):
    config = {
        "os_password": f"{keystone.member}-firm",
        "os_user_domain_name": keystone.firm,
        "os_project_domain_name": keystone.firm,
        "create_container": True,
    }
    gateway = new_gateway(container=f"firm-{os.getpid()}", config=config)
    works(gateway)
    assert held_at(swift, gateway.container) is None
    token = keystone.token(keystone.member, f"{keystone.member}-firm", keystone.project, keystone.firm_id)
    account = f"{swift.url}/v1/{ACCOUNTS['north', 'public']}{keystone.firm_project_id}"
    status, _, listed = ask("GET", f"{account}/{gateway.container}?format=json", **{"X-Auth-Token": token})
    assert (status, len(listed)) == (200, 1)


def test_an_application_credential_needs_no_password_and_no_project(new_gateway, keystone, swift):
    number, secret = keystone.new_credential("robot")
    by_number = new_gateway(config=credential(number, secret))
    works(by_number)
    by_number.close()
    named = credential(None, secret, os_application_credential_name="robot", os_username=keystone.member)
    by_name = new_gateway(container=by_number.container, config=named)
    works(by_name, "another")
    assert len(held_at(swift, by_name.container)) == 2
    assert set(keystone.askings(number)) == set(keystone.askings("robot")) == {201}


def test_what_one_credential_stored_another_one_reads_when_the_first_is_gone(new_gateway, keystone):
    number, secret = keystone.new_credential("first")
    first = new_gateway(config=credential(number, secret))
    data = works(first)
    first.close()
    keystone.drop_credential(number)
    second = new_gateway(container=first.container, config=credential(*keystone.new_credential("second")))
    assert second.get("doc") == data
    second.close()
    # Nor does it matter that somebody is named by number, as Swift's own client can.
    numbers = {
        "auth_version": "3", "os_auth_type": "password", "os_username": None, "os_project_name": None,
        "os_user_id": keystone.ids[keystone.member], "os_tenant_id": keystone.project_id,
    }  # fmt: skip
    third = new_gateway(container=first.container, config=numbers)
    assert third.get("doc") == data
    assert third.sql("SELECT count(*) FROM objects.backend WHERE store = 'object_store'") == "1"


@pytest.mark.parametrize(("region", "interface"), ACCOUNTS)
def test_region_and_interface_choose_from_the_catalog(new_gateway, keystone, swift, region, interface):
    container = f"{region}-{interface}-{os.getpid()}"
    gateway = new_gateway(container=container, config={"region": region, "interface": interface, "create_container": True})
    works(gateway)
    assert len(held_at(swift, container, region, interface)) == 1
    token, _ = swift.token()
    for place, prefix in ACCOUNTS.items():
        status, *_ = ask("HEAD", f"{swift.url}/v1/{prefix}{keystone.project_id}/{container}", **{"X-Auth-Token": token})
        assert status == (204 if place == (region, interface) else 404), place


def test_a_token_that_was_revoked_is_renewed_once(new_gateway, keystone):
    gateway = new_gateway()
    data = works(gateway)
    keystone.revoke_tokens(keystone.member)
    before = len(keystone.askings(keystone.member))
    wrong = []

    def read():
        if gateway.get("doc") != data:
            wrong.append("doc")

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert keystone.askings(keystone.member)[before:] == [201]
    works(gateway, "another")
    assert len(keystone.askings(keystone.member)) == before + 1


def test_a_sweep_renews_a_revoked_token_that_a_bulk_delete_is_refused_for(new_gateway, keystone, swift):
    gateway = new_gateway()
    many_chunks(gateway, 12)
    keystone.revoke_tokens(keystone.member)
    before = len(keystone.askings(keystone.member))
    assert gateway.sweep()["removed"] == 12
    assert keystone.askings(keystone.member)[before:] == [201]
    assert held_at(swift, gateway.container) == []


def test_a_token_is_renewed_before_it_expires(new_gateway, keystone):
    """No request is refused meanwhile: a refusal would be seen as a token more than there are lives."""
    keystone.set_life(5)
    try:
        number, secret = keystone.new_credential("hasty")
        gateway = new_gateway(config=credential(number, secret))
        data, start = works(gateway), time.monotonic()
        before = len(keystone.askings(number))
        while time.monotonic() < start + 8:
            assert gateway.get("doc") == data
        assert keystone.askings(number)[before:] in ([201], [201] * 2)
    finally:
        keystone.set_life(3600)


def test_keystone_goes_away_and_comes_back(new_gateway, keystone):
    gateway = new_gateway()
    data = works(gateway)
    keystone.stop()
    try:
        refused = gateway.refuses("object_get", store=STORE, bucket="b", key="doc")
        assert refused.code == "unavailable" and gateway.container in refused.message
    finally:
        keystone.start()
    assert gateway.get("doc") == data
    works(gateway, "another")


def test_reasons_not_to_start_are_told_apart(new_gateway, keystone, swift):
    dropped, dropped_secret = keystone.new_credential("dropped")
    keystone.drop_credential(dropped)
    kept, _ = keystone.new_credential("kept")
    container = swift.new_container()
    cases = (
        ({"os_password": "hush"}, "unauthenticated", keystone.member),
        ({"os_username": "nobody"}, "unauthenticated", "user nobody"),
        ({"os_project_name": "play"}, "unauthenticated", "project play"),
        (password_of(keystone, keystone.outsider), "unauthenticated", f"project {keystone.project}"),
        (password_of(keystone, keystone.reader), "forbidden", container),
        (credential(kept, "hush"), "unauthenticated", f"application credential {kept}"),
        (credential(dropped, dropped_secret), "unauthenticated", f"application credential {dropped}"),
        ({"os_project_domain_name": keystone.firm}, "unauthenticated", keystone.firm),
        ({"os_auth_url": f"http://127.0.0.1:{free_port()}"}, "unavailable", "connection"),
        ({"os_auth_url": f"{swift.url}/healthcheck"}, "internal", "healthcheck"),
        ({"region": "east"}, "invalid", "north, south"),
        ({"region": None}, "invalid", "several"),
        ({"region": "south", "interface": "admin"}, "invalid", "north"),
        ({"container": "not-there"}, "not found", "create_container"),
    )
    for config, code, words in cases:
        said = refused_at_start(new_gateway(start=False, container=container, config=config)).splitlines()[-1]
        assert code in said and words in said, (config, said)
        assert not any(word in said for word in ("hush", "-secret", dropped_secret)), said
