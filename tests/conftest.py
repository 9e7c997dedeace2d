"""Fixtures for every test: real partners on loopback, and the watch on the hub."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.certificates import Certificates
from tests.support.hub import watched
from tests.support.partners import RedisServer, ask_redis, running_redis, running_unbound

# A time limit for each example would make tests fail on a busy machine, and on no other.
settings.register_profile("filterd", deadline=None)
settings.load_profile("filterd")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Lone surrogates in what a test has logged, which hostile mail has, cannot be sent from the process it ran in."""
    report = yield
    report.sections = [(title, text.encode("utf-8", "backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(_redis: RedisServer) -> RedisServer:
    """A redis-server (`.port`, `.unix_socket`), empty at the beginning of each test."""
    assert ask_redis(_redis.port, "FLUSHALL") == b"+OK"
    return _redis


@pytest.fixture
def unbound_server(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts an unbound that knows the records given and gives its port: `unbound_server(["mx.test. A 192.0.2.1"])`."""
    with ExitStack() as servers:

        def start(records: Sequence[str], *, zones: Mapping[str, str] | None = None) -> int:
            directory = tmp_path / f"unbound{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            return servers.enter_context(running_unbound(directory, records, zones=zones))

        yield start


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of our own (`.ca_file`) and servers' certificates: good, wrong-name, expired, self-signed."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def hub_free(tmp_path: Path) -> Iterator[None]:
    """Fails the test if it held the hub for more than 50 ms. Name it last, after the fixtures that start servers."""
    with watched(tmp_path / "hub-held.txt"):
        yield
