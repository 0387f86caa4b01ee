"""Fixtures of the integration tests. What they give stands in support/; images come from tests/images/tiny.py.

    registry            a docker-registry, one for all tests: give each test repositories of its own
    new_registry        makes another: new_registry(auth="basic"), closed with the test
    fake_registry       one that serves what no real registry would
    stowage             an installation with two workers, or as the module's INSTALLATION says, one for all its tests
    new_stowage         makes another: new_stowage(workers=1, config={...}), closed with the test
    new_catalog         makes a catalog whose workers are played by the test: new_catalog(replicas=1, lease="2s")
    postgres            a private PostgreSQL with an empty database
    unique              a word that no other test has, for names of repositories and accounts

STOWAGE_BIN names the directory of the executables (default build/release/bin).
"""

import itertools
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "images")]

from support.catalog import Catalog  # noqa: E402
from support.fake_registry import FakeRegistry  # noqa: E402
from support.installation import Installation  # noqa: E402
from support.postgres import Postgres  # noqa: E402
from support.registry import Registry  # noqa: E402

_installations = []
_numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "chaos_long: kill -9 at length; only make chaos runs it")
    # So that no proxy of the environment stands between a test and a server of its own.
    os.environ["no_proxy"] = "127.0.0.1,localhost"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the end of the logs of what was up at that moment."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for installation in _installations:
            report.sections.append((f"logs of {installation.dir}", installation.logs()))


@pytest.fixture(scope="session")
def registry():
    server = Registry()
    yield server
    server.close()


@pytest.fixture
def new_registry():
    made = []

    def make(auth=None):
        made.append(Registry(auth))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def fake_registry():
    server = FakeRegistry()
    yield server
    server.close()


@pytest.fixture
def new_catalog():
    made = []

    def make(replicas=1, **settings):
        made.append(Catalog(replicas, **settings))
        return made[-1]

    yield make
    for catalog in made:
        catalog.close()


@pytest.fixture
def postgres():
    server = Postgres()
    yield server
    server.close()


def _close(installation):
    _installations.remove(installation)
    said = installation.close()
    if said:
        pytest.fail(f"a sanitizer or an assertion spoke up:\n{said}", pytrace=False)


@pytest.fixture(scope="module")
def stowage(request):
    installation = Installation(**{"workers": 2, **getattr(request.module, "INSTALLATION", {})})
    _installations.append(installation)
    yield installation
    _close(installation)


@pytest.fixture
def new_stowage():
    made = []

    def make(workers=1, config=None):
        made.append(Installation(workers, config))
        _installations.append(made[-1])
        return made[-1]

    yield make
    for installation in made:
        _close(installation)


@pytest.fixture
def unique():
    return f"t{os.getpid()}-{next(_numbers)}"
