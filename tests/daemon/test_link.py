"""The worker's side of the line, against the real bytes of the other side."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from filterd.daemon import link as link_module
from filterd.daemon.link import Link
from filterd.net.plain import pair
from filterd.net.stream import Stream
from filterd.outcome import RequestFailed
from filterd.proto.json_lines import JsonLines, ProtocolError, render
from tests.support.console import until


class Other:
    """The supervisor's end."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.heard: list[dict[str, Any]] = []
        self._channel = JsonLines()
        self._reading = gevent.spawn(self._read)

    def say(self, **message: Any) -> None:
        self.stream.write(render(message))

    def of(self, what: str) -> list[dict[str, Any]]:
        return [message for message in self.heard if message["what"] == what]

    def _read(self) -> None:
        while not self._channel.closed:
            try:
                self.heard += self._channel.feed(self.stream.read())
            except RequestFailed:
                return


@contextmanager
def linked(**options: Any) -> Iterator[tuple[Link, Other]]:
    ours, theirs = pair()
    link, other = Link(os.dup(ours.fileno()), **options), Other(Stream(theirs, "the worker"))
    ours.close()
    try:
        yield link, other
    finally:
        link.close()
        other.stream.close()


def test_the_first_message_begins_and_what_follows_it_is_not_lost() -> None:
    with linked() as (link, other):
        done: list[str] = []
        link.orders = {"accept": lambda order: done.append(order["do"])}
        other.stream.write(render({"do": "serve", "number": 3}) + render({"do": "accept"}))
        assert link.begin(5.0) == {"do": "serve", "number": 3}
        link.start()
        until(lambda: done == ["accept"])


def test_no_first_message_is_an_error() -> None:
    with linked() as (link, other):
        with pytest.raises(RequestFailed, match="timeout: read from the supervisor"):
            link.begin(0.02)
        other.stream.close()
        with pytest.raises(ProtocolError, match="hung up without a word"):
            link.begin(5.0)


def test_there_are_signs_of_life_and_now_and_then_the_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "BEAT", 0.01)
    monkeypatch.setattr(link_module, "REPORT", 3)
    with linked(snapshot=lambda: {"scanned": 5}) as (link, other):
        link.count = lambda: (2, 7)
        link.start()
        until(lambda: other.of("snapshot"))
        assert other.of("heartbeat")[0] == {"what": "heartbeat", "under_way": 2, "messages": 7}
        assert len(other.of("heartbeat")) >= 3
        assert other.of("snapshot")[0] == {"what": "snapshot", "id": None, "statistics": {"scanned": 5}}


def test_a_snapshot_is_sent_when_it_is_asked_for() -> None:
    with linked(snapshot=lambda: {"scanned": 5}) as (link, other):
        link.start()
        other.say(do="snapshot", id=9)
        until(lambda: other.of("snapshot") == [{"what": "snapshot", "id": 9, "statistics": {"scanned": 5}}])
    with linked() as (link, other):
        link.start()
        other.say(do="snapshot", id=9)
        until(lambda: other.of("snapshot") == [{"what": "snapshot", "id": 9, "statistics": None}])
        link.report()
        assert len(other.of("snapshot")) == 1


def test_a_collection_is_asked_for_and_answered() -> None:
    with linked() as (link, other):
        link.start()
        one, two = gevent.spawn(link.collect), gevent.spawn(link.collect)
        until(lambda: len(other.of("collect")) == 2)
        other.say(do="collected", id=77, found=[{"nobody": "asked"}])
        for question in reversed(other.of("collect")):
            other.say(do="collected", id=question["id"], found=[{"answer": question["id"]}])
        assert [one.get(timeout=5), two.get(timeout=5)] == [[{"answer": 1}], [{"answer": 2}]]


def test_without_an_answer_a_collection_is_what_this_worker_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "PATIENCE", 0.02)
    with linked(snapshot=lambda: {"scanned": 5}) as (link, _):
        link.start()
        assert link.collect() == [{"scanned": 5}]
    with linked() as (link, _):
        link.start()
        assert link.collect() == []
    assert "the supervisor does not tell" in caplog.text


def test_a_reset_goes_to_the_supervisor_and_comes_back_as_an_order() -> None:
    with linked() as (link, other):
        done: list[int] = []
        link.orders = {"reset": lambda order: done.append(1)}
        link.start()
        link.reset()
        until(lambda: other.of("reset") == [{"what": "reset"}])
        other.say(do="reset")
        until(lambda: done == [1])


def test_the_worker_is_told_when_the_supervisor_is_gone() -> None:
    with linked() as (link, other):
        told: list[int] = []
        link.ended = lambda: told.append(1)
        link.start()
        other.stream.close()
        until(lambda: told == [1])


@pytest.mark.parametrize("nonsense", [b"nonsense\n", b"[]\n"])
def test_nonsense_is_the_end_of_the_line(nonsense: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with linked() as (link, other):
        told: list[int] = []
        link.ended = lambda: told.append(1)
        link.start()
        other.stream.write(nonsense)
        until(lambda: told == [1])
    assert "the line to the supervisor is broken: a line is no JSON object" in caplog.text


def test_an_order_that_nobody_knows_is_logged_and_the_next_is_obeyed(caplog: pytest.LogCaptureFixture) -> None:
    with linked() as (link, other):
        done: list[int] = []
        link.orders = {"accept": lambda order: done.append(1)}
        link.start()
        other.say(do="dance")
        other.say(do="accept")
        until(lambda: done == [1])
    assert "something nobody understands: {'do': 'dance'}" in caplog.text


def test_what_several_say_at_once_arrives_in_whole_lines() -> None:
    with linked() as (link, other):
        link.start()
        # Far more than the line holds, so that writing waits.
        jobs = [gevent.spawn(link.tell, "much", number=number, text="x" * 100_000) for number in range(30)]
        gevent.joinall(jobs, raise_error=True)
        until(lambda: len(other.of("much")) == 30)
        assert [message["number"] for message in other.of("much")] == list(range(30))


def test_a_supervisor_that_does_not_listen_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "PATIENCE", 0.05)
    ours, theirs = pair()
    link = Link(os.dup(ours.fileno()))
    ours.close()
    told: list[int] = []
    link.ended = lambda: told.append(1)
    link.start()
    link.tell("much", text="x" * 10_000_000)
    until(lambda: told == [1])
    link.tell("more")
    link.close()
    theirs.close()
