"""The gate of a control listener over real connections: trusted addresses, passwords, proxies, pages, guessing."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from filterd.mail.maps import IpMap
from filterd.net.greenlets import Stop
from filterd.net.listen import Listener
from filterd.servers.control import access as access_module
from filterd.servers.control.access import Access, Passwords, Rights
from filterd.servers.control.attempts import Attempts
from tests.support.control import READ, WRITE, Answer, ask, serving_control
from tests.support.many import Started

STRANGER = "127.0.0.2"
BOTH = (READ, WRITE)


def statuses(listener: Listener, headers: dict[str, str] | None = None, source: str = STRANGER) -> tuple[int, int]:
    """What reading and what changing is answered with."""
    return tuple(ask(listener, path, headers, source=source).status for path in ("/stat", "/statreset"))  # type: ignore[return-value]


def test_who_is_trusted_needs_no_password() -> None:
    with serving_control(passwords=BOTH) as listener:
        assert statuses(listener, source="127.0.0.1") == (200, 200)
        assert ask(listener, "/auth").json["read_only"] is False


def test_who_is_trusted_may_give_any_password() -> None:
    with serving_control(passwords=BOTH) as listener:
        assert statuses(listener, {"Password": "nonsense"}, source="127.0.0.1") == (200, 200)


def test_without_a_password_set_nobody_else_gets_in() -> None:
    with serving_control() as listener:
        for password in ("", "q1", "read me"):
            answer = ask(listener, "/stat", {"Password": password}, source=STRANGER)
            assert (answer.status, answer.json, answer.reason) == (401, {"error": "Unauthorized"}, "Unauthorized")


def test_networks_can_be_trusted() -> None:
    with serving_control(trusted=["127.0.0.0/30"]) as listener:
        assert statuses(listener, source="127.0.0.3") == (200, 200)
        assert statuses(listener, source="127.0.0.4") == (401, 401)


def test_who_cannot_get_in_cannot_fill_the_memory() -> None:
    body = b"x" * 100_000
    with serving_control() as listener:
        answer = ask(listener, "/checkv2", body=body, source=STRANGER)
        assert (answer.status, answer.json["error"]) == (413, "Request entity too large: 100000")
        assert ask(listener, "/checkv2", body=body[:60_000], source=STRANGER).status == 401
        assert ask(listener, "/checkv2", body=body).status == 200
    with serving_control(passwords=BOTH) as listener:
        assert ask(listener, "/checkv2", {"Password": "read me"}, body=body, source=STRANGER).status == 200


def test_nobody_is_trusted_when_nobody_is_named() -> None:
    with serving_control(trusted=[]) as listener:
        assert statuses(listener, source="127.0.0.1") == (401, 401)


def test_the_first_password_reads_the_second_changes() -> None:
    with serving_control(passwords=BOTH) as listener:
        assert statuses(listener, {"Password": "read me"}) == (200, 401)
        assert statuses(listener, {"Password": "change me"}) == (200, 200)
        assert statuses(listener, {"Password": "read mE"}) == (401, 401)
        assert statuses(listener) == (401, 401)


def test_the_level_is_told() -> None:
    with serving_control(passwords=BOTH) as listener:
        assert ask(listener, "/auth", {"Password": "read me"}, source=STRANGER).json["read_only"] is True
        assert ask(listener, "/auth", {"Password": "change me"}, source=STRANGER).json["read_only"] is False


def test_one_password_alone_opens_everything() -> None:
    for passwords, word in (((READ, None), "read me"), ((None, WRITE), "change me")):
        with serving_control(passwords=passwords) as listener:
            assert statuses(listener, {"Password": word}) == (200, 200)


def test_the_password_may_stand_in_the_query() -> None:
    with serving_control(passwords=BOTH) as listener:
        assert ask(listener, "/stat?password=read%20me", source=STRANGER).status == 200
        assert ask(listener, "/stat?password=read+me&x=y", source=STRANGER).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "198.51.100.7"},
        {"X-Forwarded-For": "127.0.0.1, 198.51.100.7"},
        {"X-Forwarded-For": "198.51.100.7, 127.0.0.1"},
        {"X-Real-IP": "198.51.100.7"},
        {"X-Real-IP": "198.51.100.7", "X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": "localhost"},
        {"X-Forwarded-For": ""},
        {"Forwarded": "for=127.0.0.1"},
    ],
)
def test_behind_a_trusted_proxy_the_forwarded_address_is_judged(headers: dict[str, str]) -> None:
    with serving_control(passwords=BOTH) as listener:
        assert statuses(listener, headers, source="127.0.0.1") == (401, 401)
        assert statuses(listener, {**headers, "Password": "read me"}, source="127.0.0.1") == (200, 401)


def test_behind_a_trusted_proxy_a_trusted_client_is_trusted() -> None:
    with serving_control(trusted=["127.0.0.1", "10.0.0.0/8"]) as listener:
        assert statuses(listener, {"X-Forwarded-For": "10.1.2.3"}, source="127.0.0.1") == (200, 200)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"])
def test_a_stranger_gains_nothing_by_naming_a_trusted_address(name: str) -> None:
    with serving_control(passwords=BOTH) as listener:
        assert statuses(listener, {name: "127.0.0.1"}) == (401, 401)


def test_a_page_of_another_site_is_not_its_readers_machine() -> None:
    with serving_control(passwords=BOTH) as listener:
        foreign = {"Origin": "https://evil.example"}
        assert statuses(listener, foreign, source="127.0.0.1") == (401, 401)
        assert statuses(listener, {"Sec-Fetch-Site": "cross-site"}, source="127.0.0.1") == (401, 401)
        assert statuses(listener, {"Origin": "http://127.0.0.1"}, source="127.0.0.1") == (200, 200)
        assert statuses(listener, {**foreign, "Password": "change me"}, source="127.0.0.1") == (200, 200)


def test_over_a_unix_socket_everybody_is_trusted_but_not_everybody_behind_a_proxy(tmp_path: Path) -> None:
    with serving_control(trusted=[], address=str(tmp_path / "control.sock")) as listener:
        assert ask(listener, "/statreset").status == 200
        assert ask(listener, "/statreset", {"X-Forwarded-For": "198.51.100.7"}).status == 401


def test_after_ten_wrong_passwords_even_the_right_one_is_not_heard(caplog: pytest.LogCaptureFixture) -> None:
    with serving_control(passwords=BOTH) as listener:
        assert [ask(listener, "/stat", {"Password": f"guess {n}"}, source=STRANGER).status for n in range(10)] == [401] * 10
        for password in ("guess", "read me"):
            answer = ask(listener, "/stat", {"Password": password}, source=STRANGER)
            assert (answer.status, answer.json) == (429, {"error": "Too many authentication failures"})
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        # It is the address that waits, not the others.
        assert ask(listener, "/stat", {"Password": "read me"}, source="127.0.0.3").status == 200
    told = [record.getMessage() for record in caplog.records if record.name == "filterd.control"]
    assert told[0] == f"{STRANGER}: wrong password, number 1"
    assert told[9] == f"{STRANGER}: wrong password, number 10, further ones are not looked at for a while"
    assert len(told) == 10
    assert not any("guess" in line for line in told)


def test_behind_a_proxy_it_is_the_client_that_waits() -> None:
    with serving_control(passwords=BOTH) as listener:
        wrong = {"Password": "guess", "X-Forwarded-For": "127.0.0.1, 198.51.100.7"}
        for _ in range(10):
            ask(listener, "/stat", wrong)
        assert ask(listener, "/stat", wrong).status == 429
        assert ask(listener, "/stat", {**wrong, "X-Forwarded-For": "198.51.100.8"}).status == 401
        assert ask(listener, "/stat").status == 200


def test_asking_without_a_password_is_no_guess() -> None:
    with serving_control(passwords=BOTH) as listener:
        assert {ask(listener, "/stat", source=STRANGER).status for _ in range(20)} == {401}
        assert ask(listener, "/stat", {"Password": "read me"}, source=STRANGER).status == 200


class Slow(Access):
    """Counts comparisons, and holds them until it is let go."""

    def __init__(self, passwords: Passwords, trusted: IpMap, **options: Any) -> None:
        super().__init__(passwords, trusted, compare=self.compare, **options)
        self.go = Event()
        self.begun = self.most = self.now = 0

    def compare(self, passwords: Passwords, password: bytes) -> Rights:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        self.go.wait()
        self.now -= 1
        return passwords.rights(password)


@contextmanager
def slow(**options: Any) -> Iterator[tuple[Slow, Listener]]:
    gates: list[Slow] = []

    def made(passwords: Passwords, trusted: IpMap) -> Access:
        gates.append(Slow(passwords, trusted, **options))
        return gates[0]

    with serving_control(passwords=BOTH, access=made) as listener:
        yield gates[0], listener


def test_only_a_few_passwords_are_compared_at_a_time_and_few_wait() -> None:
    room = access_module.AT_ONCE + access_module.WAITING
    with slow(attempts=Attempts(allowed=1000)) as (gate, listener):
        guesses = [partial(ask, listener, "/stat", {"Password": f"{n}"}, source=STRANGER) for n in range(40)]
        started: Started[Answer] = Started(guesses)
        while sum(job.ready() for job in started._jobs) < 40 - room:
            gevent.sleep(0.01)
        assert (gate.begun, gate.now) == (access_module.AT_ONCE, access_module.AT_ONCE)
        gate.go.set()
        answers = started.values()
    assert sorted(answer.status for answer in answers) == [401] * room + [429] * (40 - room)
    assert (gate.begun, gate.most) == (room, access_module.AT_ONCE)


def test_guesses_at_once_learn_no_more_than_guesses_one_after_the_other() -> None:
    with slow(attempts=Attempts(allowed=3)) as (gate, listener):
        started: Started[Answer] = Started(
            [partial(ask, listener, "/stat", {"Password": f"{n}"}, source=STRANGER) for n in range(16)]
        )
        while gate._comparing + len(gate._gate) < 16:
            gevent.sleep(0.01)
        gate.go.set()
        answers = started.values()
    assert sorted(answer.status for answer in answers) == [401] * 3 + [429] * 13


def test_what_was_right_is_known_for_a_while_without_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    with slow() as (gate, listener):
        gate.go.set()
        assert [ask(listener, "/stat", {"Password": "read me"}, source=STRANGER).status for _ in range(5)] == [200] * 5
        assert ask(listener, "/statreset", {"Password": "read me"}, source=STRANGER).status == 401
        assert gate.begun == 1
        assert b"read me" not in repr(gate._known).encode()
        monkeypatch.setattr(access_module, "monotonic", lambda: 1e9)
        assert ask(listener, "/stat", {"Password": "read me"}, source=STRANGER).status == 200
        assert gate.begun == 2


def test_the_memory_of_right_passwords_is_bounded() -> None:
    gate = Access(Passwords(READ, WRITE), IpMap())
    for number in range(1000):
        gate._remember(b"%d" % number, "read")
    assert 0 < len(gate._known) <= access_module.KNOWN


def test_who_goes_away_while_it_waits_for_its_turn_leaves_it_to_the_next() -> None:
    gate = Slow(Passwords(READ, WRITE), IpMap())
    turns = [gevent.spawn(gate._compared, b"%d" % n) for n in range(5)]
    gevent.sleep(0.05)
    assert gate.begun == 2
    turns[2].kill(Stop("gone", "cancelled"), block=True)
    gate.go.set()
    gevent.sleep(0.01)
    turns[3].kill(block=False)
    gevent.joinall(turns, timeout=5)
    assert gate._compared(b"read me") == "read"
    assert (gate._comparing, gate._gate) == (0, [])


def test_who_goes_away_in_the_moment_its_turn_comes_hands_it_on() -> None:
    gate = Slow(Passwords(READ, WRITE), IpMap())
    gate._comparing = access_module.AT_ONCE
    waiting = gevent.spawn(gate._compared, b"x")
    gevent.sleep(0.01)
    waiting.kill(block=False)
    gate._next()
    waiting.join()
    assert (gate.begun, gate._comparing, gate._gate) == (0, access_module.AT_ONCE - 1, [])


def test_one_password_takes_as_long_as_another() -> None:
    """Both hashes are compared whatever the first says: seen by what is called, not by a clock."""
    compared: list[bytes] = []

    class Counting:
        def fits(self, password: bytes) -> bool:
            compared.append(password)
            return password == b"read me"

    passwords = Passwords(Counting(), Counting())  # type: ignore[arg-type]
    assert (passwords.rights(b"read me"), passwords.rights(b"no")) == ("write", "none")
    assert compared == [b"read me", b"read me", b"no", b"no"]


def test_others_are_answered_while_a_password_is_compared() -> None:
    reading, writing = os.pipe()

    class Waiting:
        def fits(self, password: bytes) -> bool:
            return os.read(reading, 1) == b"y"

    with serving_control(passwords=(Waiting(), None)) as listener:  # type: ignore[arg-type]
        started: Started[Answer] = Started([partial(ask, listener, "/auth", {"Password": "x"}, source=STRANGER)])
        gevent.sleep(0.05)
        assert ask(listener, "/stat").status == 200
        os.write(writing, b"y")
        assert started.values()[0].json["auth"] == "ok"
    os.close(reading)
    os.close(writing)


def test_the_log_of_a_wrong_password_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with serving_control(passwords=BOTH) as listener:
        ask(listener, "/stat?password=oh-no", source=STRANGER)
    assert [record.levelno for record in caplog.records if record.name == "filterd.control"] == [logging.WARNING]
    assert "oh-no" not in caplog.text
