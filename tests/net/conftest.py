"""What the tests of greenlets share."""

import pytest

from filterd.net.greenlets import Crew
from tests.support.batches import Work


@pytest.fixture
def crew() -> Crew:
    """Greenlets that have done nothing yet."""
    return Crew()


@pytest.fixture
def batch(crew: Crew) -> Work:
    """Jobs for them."""
    return Work(crew)
