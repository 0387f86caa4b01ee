"""What a client of the gateway sees when the HTTP server behind it, a real OpenStack Swift, has a bad day.

What the drivers themselves make of each answer is in tests/unit/object-store-gateway/{s3,swift}_fault_test.c, row by row;
here it is the whole way, from the answer on the wire to the error that a client gets, and to what is left behind.
"""

import os

import pytest
from support.bad_proxy import BadProxy
from support.postgres import psql
from support.swift import Swift
from test_gateway import STORE, Gateway, Refused, postgres, sha  # noqa: F401
from test_gateway_s3 import Bucket
from test_gateway_swift import nothing_half_there

FOR_EVER = None

# What happens, to which request, how often; what a client sees of it with s3 and with swift, "" is success.
TABLE = [
    ("truncated body", "GET", 1, "", ""),
    ("truncated body", "GET", FOR_EVER, "unavailable", "unavailable"),
    ("wrong bytes", "GET", 1, "", ""),
    ("wrong bytes", "GET", FOR_EVER, "corrupt", "corrupt"),
    ("storm", "GET", 2, "", ""),
    ("storm", "GET", FOR_EVER, "unavailable", "unavailable"),
    ("storm", "PUT", 2, "", ""),
    ("storm", "PUT", FOR_EVER, "unavailable", "unavailable"),
    ("slow drip", "GET", 1, "", ""),
    ("slow drip", "GET", FOR_EVER, "deadline exceeded", "deadline exceeded"),
    ("slow answer", "PUT", 1, "", ""),
    ("error in 200", "PUT", 1, "", "internal"),
    ("error in 200", "PUT", FOR_EVER, "unavailable", "internal"),
    ("error in 200", "GET", 1, "", ""),
    ("error in 200", "GET", FOR_EVER, "corrupt", "corrupt"),
    ("stale 404", "GET", 1, "", ""),
    ("stale 404", "GET", FOR_EVER, "corrupt", "corrupt"),
    ("reset in the middle", "GET", 1, "", ""),
    ("reset in the middle", "PUT", 1, "", ""),
    ("reset in the middle", "PUT", FOR_EVER, "unavailable", "unavailable"),
    ("reset before the answer", "PUT", 1, "", ""),
    ("redirect", "GET", 1, "", "internal"),
    ("redirect", "PUT", 1, "", "internal"),
]


@pytest.fixture(scope="module")
def swift():
    server = Swift()
    yield server
    server.close()


@pytest.fixture(scope="module")
def proxy(swift):
    made = BadProxy(swift.port)
    yield made
    made.close()


def driver_of(name, swift, proxy):
    container = swift.new_container()
    if name == "s3":
        config = {**Bucket(swift, container).config(), "url": proxy.url, "prefix": "", "timeout": "700ms"}
    else:
        config = {
            "auth": f"{proxy.url}/auth/v1.0", "user": swift.user, "key": swift.key, "container": container,
            "timeout": "700ms", "retry_budget": "2s",
        }  # fmt: skip
    return container, {"name": name, "config": config}


@pytest.fixture(scope="module", params=["s3", "swift"])
def gateway(request, postgres, swift, proxy):  # noqa: F811
    psql(postgres.sockets, "DROP SCHEMA IF EXISTS objects CASCADE")
    proxy.heals()
    made = Gateway(postgres)
    made.swift = swift
    made.container, made.driver = driver_of(request.param, swift, proxy)
    yield made.start()
    proxy.heals()
    made.close()


def seen(act):
    """(code, message) that a client gets; ("", "") if it gets what it asked for."""
    try:
        act()
    except Refused as refused:
        return refused.code, refused.message
    return "", ""


@pytest.mark.parametrize(("fault", "method", "times", "with_s3", "with_swift"), TABLE)
def test_what_a_client_sees(gateway, proxy, fault, method, times, with_s3, with_swift):
    wanted = with_s3 if gateway.driver["name"] == "s3" else with_swift
    content, key = os.urandom(5000), f"day/{fault}-{method}-{times}"

    def get():
        assert gateway.get(key) == content

    if method == "GET":
        gateway.put(key, content)
    proxy.breaks(method, fault, times)
    code, message = seen(get if method == "GET" else lambda: gateway.put(key, content))
    met = proxy.met
    proxy.heals()
    assert code == wanted, message
    assert met == times if times else met > 0
    if code == "corrupt":
        assert sha(content) in message and f"b/{key}" in message
    elif code:
        assert gateway.container in message
    if code and method == "PUT":
        assert gateway.refuses("object_get", store=STORE, bucket="b", key=key).code == "not found"
    # The day after all is well, and of the bad one nothing is left.
    gateway.put(key, content)
    get()
    assert gateway("store_scrub", store=STORE).get("marked", 0) == 0


def test_nothing_is_left_of_all_that(gateway):
    nothing_half_there(gateway)
    gateway("object_delete_prefix", store=STORE, bucket="b", prefix="day/")
    nothing_half_there(gateway)
    assert gateway.swift.names(gateway.container) == []


@pytest.mark.parametrize("fault", ["storm", "reset before the answer", "redirect", "error in 200"])
def test_a_sweep_on_a_bad_day_is_repeated_on_the_next(gateway, proxy, fault):
    for number in range(5):
        gateway.put(f"gone-{number}", os.urandom(100 + number))
    gateway.put("kept", b"kept")
    gateway("object_delete_prefix", store=STORE, bucket="b", prefix="gone-")
    for method in ("POST", "DELETE"):
        proxy.breaks(method, fault, path="")
        seen(gateway.sweep)
        proxy.heals()
        held = len(gateway.swift.names(gateway.container))
        assert held >= int(gateway.sql("SELECT count(*) FROM objects.chunk WHERE state = 'live'"))
    gateway.sweep()
    assert gateway.get("kept") == b"kept"
    nothing_half_there(gateway)
    assert len(gateway.swift.names(gateway.container)) == 1
