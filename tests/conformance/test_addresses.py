"""Rspamd's functional cases for what a message's headers say, told as behaviour: the daemon real, messages of our own.

From its suite: 104_get_from (display names), 106_mid (Message-IDs, by the shipped rules/headers.py and the shipped scores) and
281_fnames (file names of parts).
"""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import ROOT, Daemon, running_daemon

RULES = Path(__file__).parent / "rules"
SHIPPED = ROOT / "rules" / "headers.py"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    rules = {name: (RULES / f"{name}.py").read_text() for name in ("get_from", "fname", "mid")}
    toml = (
        ROOT / "conf" / "scores.toml"
    ).read_text() + '\n[modules.mid]\n"odd.example" = "[0-9A-F-]{36}"\n"none.example" = ""\n'
    folder = tmp_path_factory.mktemp("addresses")
    with running_daemon(folder, {**rules, "headers": SHIPPED.read_text()}, toml) as daemon:
        yield daemon


def symbols(daemon: Daemon, raw: bytes, *names: str, **headers: str) -> dict[str, Any]:
    """The symbols of a message on which only the named rules run."""
    reply = daemon.scan(raw, Settings=f"{{symbols_enabled = [{', '.join(names)}]}}", **headers)
    assert "rule_failures" not in reply["messages"], reply["messages"]
    found: dict[str, Any] = reply["symbols"]
    return found


# -- display names


@pytest.mark.parametrize(
    ("written", "name"),
    [
        pytest.param("user@example.org", "", id="address only"),
        pytest.param("<user@example.org>", "", id="address in angles"),
        pytest.param("First Last <user@example.org>", "First Last", id="display name"),
        pytest.param("=?UTF-8?B?0JrQuNGA0LjQu9C70LjRhtCw?= <user@example.org>", "Кириллица", id="display name in Base64"),
        pytest.param("First Last <user@example.org> (a comment)", "First Last", id="display name and comment"),
        pytest.param('"First M. Last" <user@example.org>', "First M. Last", id="quoted"),
        pytest.param('"First M. Last" <user@example.org> (a comment)', "First M. Last", id="quoted, and comment"),
        pytest.param('First "M." Last <user@example.org>', "First M. Last", id="quoted in the middle, blanks outside"),
        pytest.param('First" M. "Last <user@example.org>', "First M. Last", id="quoted in the middle, blanks inside"),
        # Rspamd gives no name here. That a comment behind a bare address is the name is the older custom (RFC 822 A.1.4),
        # which mail programs still follow: what readers see is what rules shall judge.
        pytest.param("user@example.org (A Comment)", "A Comment", id="comment only"),
    ],
)
def test_104_get_from(daemon: Daemon, written: str, name: str) -> None:
    found = symbols(daemon, f"From: {written}\r\n\r\n".encode(), "GET_FROM")
    assert found["GET_FROM"]["options"] == [f"{name},user@example.org,user,example.org"]


def test_104_get_from_without_an_author_there_is_none(daemon: Daemon) -> None:
    assert symbols(daemon, b"To: user@example.org\r\n\r\n", "GET_FROM") == {}


# -- Message-IDs


MID_RULES = ("INVALID_MSGID", "INVALID_MSGID_ALLOWED", "MISSING_MID", "MISSING_MID_ALLOWED")
ODD = "Message-ID: <4C0D9E11-72A3-4B7E-8F4C-0B1A4F4D2E77>\r\n"


@pytest.mark.parametrize(
    ("field", "signer", "expected"),
    [
        ("Message-ID: <1@example.org>\r\n", "odd.example", {}),
        (ODD, None, {"INVALID_MSGID": 1.70}),
        (ODD, "odd.example", {"INVALID_MSGID_ALLOWED": 0.00}),
        (ODD, "other.example", {"INVALID_MSGID": 1.70}),
        ("Message-ID: <another kind of odd>\r\n", "odd.example", {"INVALID_MSGID": 1.70}),
        ("", None, {"MISSING_MID": 2.50}),
        ("", "none.example", {"MISSING_MID_ALLOWED": 0.00}),
        ("", "odd.example", {"MISSING_MID": 2.50}),
    ],
)
def test_106_mid(daemon: Daemon, field: str, signer: str | None, expected: dict[str, float]) -> None:
    raw = f"From: user@example.org\r\n{field}Subject: hello\r\n\r\nHi\r\n".encode()
    headers = {} if signer is None else {"Signed_By": signer}
    found = symbols(daemon, raw, *MID_RULES, **headers)
    assert {name: symbol["score"] for name, symbol in found.items()} == expected


# -- file names


KOREAN = "[보고서]2024.03.05 주간 소식.pdf"
LONG = "00417_203355_81204_ABC01234_PQR220XY_20240305_114500.pdf"


def words(text: str) -> list[str]:
    """Encoded words of at most 18 bytes of text each, cut between characters."""
    pieces = [""]
    for character in text:
        if len((pieces[-1] + character).encode()) > 18:
            pieces.append("")
        pieces[-1] += character
    return [f"=?UTF-8?B?{b64encode(piece.encode()).decode()}?=" for piece in pieces]


def test_281_fnames_encoded_words_in_quotes_over_two_lines_and_without_quotes(daemon: Daemon) -> None:
    (long,) = [f"=?utf-8?B?{b64encode(LONG.encode()).decode()}?="]
    folded = "\r\n ".join(words(KOREAN))
    assert folded.count("\r\n") >= 1
    raw = "\r\n".join(
        [
            "From: user@example.org",
            'Content-Type: multipart/mixed; boundary="of parts"',
            "",
            "--of parts",
            "Content-Type: application/octet-stream",
            f'Content-Disposition: attachment;\r\n    filename="{folded}"',
            "Content-Transfer-Encoding: base64",
            "",
            "AAAA",
            "--of parts",
            f"Content-Type: application/pdf;\r\n  name={long}",
            f"Content-Disposition: attachment;\r\n  filename={long}",
            "Content-Transfer-Encoding: base64",
            "",
            "AAAA",
            "--of parts--",
            "",
        ]
    )
    assert symbols(daemon, raw.encode(), "TEST_FNAME")["TEST_FNAME"]["options"] == [KOREAN, LONG]
