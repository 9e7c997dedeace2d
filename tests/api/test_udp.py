"""udp.sendto: straight and by callback, with the documented results."""

from types import SimpleNamespace
from typing import Any

import pytest

from filterd.api import udp
from filterd.net.greenlets import Crew
from filterd.net.udp import UdpClient
from filterd.outcome import RequestFailed
from tests.support.peers import LOOPBACK, Names, serving_udp
from tests.support.scopes import run_in_scope


@pytest.fixture
def network() -> Any:
    names: Any = Names()
    return SimpleNamespace(crew=Crew(), udp=UdpClient(resolver=names))


def test_straight(network: Any) -> None:
    with serving_udp(lambda data: [data]) as peer:

        def rule() -> None:
            assert udp.sendto(LOOPBACK, peer.port, ["hello", b"world"]) == (True, b"helloworld")

        run_in_scope(rule, network=network)


def test_without_an_answer(network: Any) -> None:
    with serving_udp(lambda data: []) as peer:

        def rule() -> None:
            with pytest.raises(RequestFailed) as caught:
                udp.sendto(LOOPBACK, peer.port, "x", timeout=0.02, retransmits=1).unwrap()
            assert (caught.value.failure, caught.value.failure.kind) == ("read timeout", "timeout")
            assert udp.sendto(LOOPBACK, peer.port, "x", read=False) == (True, b"")

        run_in_scope(rule, network=network)


def test_by_callback_the_message_waits_for_it(network: Any) -> None:
    told: list[Any] = []
    with serving_udp(lambda data: [data] if data == b"yes" else []) as peer:

        def rule() -> None:
            for data in ("yes", "no"):
                assert udp.sendto(
                    LOOPBACK, peer.port, data, timeout=0.05, callback=lambda is_ok, answer: told.append((is_ok, answer))
                )
            assert udp.sendto(LOOPBACK, peer.port, "yes", callback=lambda is_ok: told.append(is_ok))
            assert told == []

        run_in_scope(rule, network=network)
    assert sorted(told, key=str) == [(False, "read timeout"), (True, b"yes"), True]


def test_arguments_that_cannot_be(network: Any) -> None:
    with pytest.raises(ValueError, match="needs a port from 1 to 65535, not 0"):
        run_in_scope(lambda: udp.sendto(LOOPBACK, 0, "x"), network=network)
    with pytest.raises(RuntimeError, match=r"udp\.sendto was called outside of any rule"):
        udp.sendto(LOOPBACK, 9, "x")
