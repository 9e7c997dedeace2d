"""Two daemons for the tests with real clients: one that has time, and one that has none."""

from collections.abc import Iterator

import pytest

from tests.support.doors import Doors, running_busy_doors, running_doors


@pytest.fixture(scope="session")
def filterd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A daemon with an HTTP port and one for spamc; its rules do what the subject says."""
    with running_doors(tmp_path_factory.mktemp("doors")) as doors:
        yield doors


@pytest.fixture(scope="session")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """The same, but it refuses every message."""
    with running_busy_doors(tmp_path_factory.mktemp("busy")) as doors:
        yield doors
