"""What a client may say with a message, in the spellings clients use, garbage included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.envelope import Envelope

TEXTS = {
    "helo": "helo",
    "hostname": "hostname",
    "user": "user",
    "queue_id": "queue-id",
    "mta_name": "mta-name",
    "mta_tag": "mta-tag",
    "log_tag": "log-tag",
    "filename": "filename",
    "settings": "settings",
    "settings_id": "settings-id",
}


@pytest.mark.parametrize(("attribute", "header"), TEXTS.items())
def test_texts_are_none_when_absent_and_kept_when_empty(attribute: str, header: str) -> None:
    assert getattr(Envelope({}), attribute) is None
    assert getattr(Envelope({header: [""]}), attribute) == ""
    assert getattr(Envelope({header: ["first", "second"]}), attribute) == "first"


@pytest.mark.parametrize(
    ("values", "sender", "is_broken"),
    [
        ([], None, False),
        ([""], "", False),
        (["<>"], "", False),
        (["<a@B>"], "a@b", False),
        (["a@b"], "a@b", False),
        (["a@b", "c@d"], "a@b", False),
        (["root"], "root", False),
        (["[object Object]"], None, True),
    ],
)
def test_sender(values: list[str], sender: str | None, is_broken: bool) -> None:
    envelope = Envelope({"from": values} if values else {})
    assert envelope.mail_from == sender
    assert envelope.broken == ({"from"} if is_broken else set())


@pytest.mark.parametrize(
    ("values", "rcpts", "is_broken"),
    [
        ([], [], False),
        (["<a@b>", "<c@d>"], ["a@b", "c@d"], False),
        (["<a@b>, c@d", '"x,y"@z'], ["a@b", "c@d", '"x,y"@z'], False),
        (["a@b", "[object Object]"], ["a@b"], True),
        (["<>"], [], True),
        ([""], [], False),
    ],
)
def test_recipients(values: list[str], rcpts: list[str], is_broken: bool) -> None:
    envelope = Envelope({"rcpt": values})
    assert envelope.rcpts == rcpts
    assert envelope.broken == ({"rcpt"} if is_broken else set())


def test_recipients_are_counted() -> None:
    assert len(Envelope({"rcpt": ["a@b," * 20_000]}).rcpts) == 10_000


@pytest.mark.parametrize(
    ("values", "ip", "is_broken"),
    [
        ([], None, False),
        ([""], None, False),
        (["192.0.2.1"], "192.0.2.1", False),
        (["[2001:DB8::1]"], "2001:db8::1", False),
        (["nonsense"], None, True),
    ],
)
def test_client_address(values: list[str], ip: str | None, is_broken: bool) -> None:
    envelope = Envelope({"ip": values})
    assert envelope.ip == ip
    assert envelope.broken == ({"ip"} if is_broken else set())


@pytest.mark.parametrize(
    ("headers", "flags"),
    [
        ({}, set()),
        ({"flags": ["pass_all, no_log", "Groups,,"]}, {"pass_all", "no_log", "groups"}),
        ({"pass": ["All"]}, {"pass_all"}),
        ({"pass": ["some"]}, set()),
        ({"log": ["no"]}, {"no_log"}),
        ({"url-format": ["extended"]}, {"ext_urls"}),
        ({"milter": ["Yes"]}, {"milter"}),
        ({"profile": [""]}, {"profile"}),
        ({"tls-cipher": ["TLS_AES"]}, {"ssl"}),
    ],
)
def test_flags_by_any_of_their_names(headers: dict[str, list[str]], flags: set[str]) -> None:
    assert Envelope(headers).flags == flags


@pytest.mark.parametrize(
    ("headers", "tls"),
    [({}, False), ({"flags": ["ssl"]}, True), ({"tls-cipher": ["x"]}, True), ({"tls-version": ["x"]}, False)],
)
def test_tls(headers: dict[str, list[str]], tls: bool) -> None:
    assert Envelope(headers).tls is tls


@pytest.mark.parametrize(
    ("value", "raw_mode"), [(None, False), ("yes", True), ("True", True), ("1", True), ("no", False), ("", False)]
)
def test_raw_mode(value: str | None, raw_mode: bool) -> None:
    assert Envelope({} if value is None else {"raw": [value]}).raw_mode is raw_mode


@pytest.mark.parametrize(("value", "user"), [(None, None), ("", ""), ("a@b", "a@b"), (" <a@b> ", "a@b")])
def test_the_final_user_has_no_angles(value: str | None, user: str | None) -> None:
    assert Envelope({} if value is None else {"deliver-to": [value]}).deliver_to == user


def test_any_header_can_be_read() -> None:
    envelope = Envelope({"x-mine": ["a", "b"], "x-empty": [""]})
    assert (envelope.get("X-Mine"), envelope.get("X-EMPTY"), envelope.get("X-None")) == ("a", "", None)
    assert (envelope.get_all("X-Mine"), envelope.get_all("X-None")) == (["a", "b"], [])


def test_an_envelope_can_be_made_without_headers() -> None:
    envelope = Envelope.of(
        ip="192.0.2.1",
        mail_from="",
        rcpts=["a@b", "c@d"],
        helo="h",
        hostname="n",
        user="u",
        queue_id="Q",
        headers=[("X-Mine", "1"), ("x-mine", "2"), ("Flags", "skip")],
    )
    assert (envelope.ip, envelope.mail_from, envelope.rcpts) == ("192.0.2.1", "", ["a@b", "c@d"])
    assert (envelope.helo, envelope.hostname, envelope.user, envelope.queue_id) == ("h", "n", "u", "Q")
    assert (envelope.get_all("X-Mine"), set(envelope.flags)) == (["1", "2"], {"skip"})
    assert Envelope.of().headers == {}


NAMES = ["from", "rcpt", "ip", "flags", "pass", "deliver-to", "raw", *TEXTS.values()]


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.text(max_size=30), min_size=1, max_size=3)))
def test_garbage_is_never_an_exception(headers: dict[str, list[str]]) -> None:
    envelope = Envelope(headers)
    for name in [name for name in dir(Envelope) if not name.startswith("_") and name not in {"of", "get", "get_all"}]:
        getattr(envelope, name)
    assert envelope.broken <= {"from", "rcpt", "ip"}
