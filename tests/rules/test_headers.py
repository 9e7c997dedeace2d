"""Header sanity, header by header."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.support.rules import mail, verdict_of

NOW = format_datetime(datetime.now(UTC))


def symbols(tmp_path: Path, raw: bytes) -> dict[str, tuple[str, ...]]:
    verdict = verdict_of(tmp_path, "headers", raw)
    assert verdict.failures == ()
    return {name: hit.options for name, hit in verdict.symbols.items()}


def test_a_well_formed_message_hits_nothing(tmp_path: Path) -> None:
    assert symbols(tmp_path, mail(Date=NOW)) == {}


@pytest.mark.parametrize(
    ("header", "symbol"),
    [("Date", "MISSING_DATE"), ("From", "MISSING_FROM"), ("Subject", "MISSING_SUBJECT"), ("Message-ID", "MISSING_MID")],
)
def test_a_missing_header_is_named(tmp_path: Path, header: str, symbol: str) -> None:
    changes = {} if header == "Date" else {"Date": NOW}
    assert set(symbols(tmp_path, mail(without=[header], **changes))) == {symbol}


def test_an_empty_from_is_a_missing_one(tmp_path: Path) -> None:
    assert set(symbols(tmp_path, mail(Date=NOW, From=" "))) == {"MISSING_FROM"}


def test_repeated_headers_are_named_and_count_each(tmp_path: Path) -> None:
    verdict = verdict_of(tmp_path, "headers", mail("subject: again", "To: c@example.net", Date=NOW))
    hit = verdict.symbols["MULTIPLE_UNIQUE_HEADERS"]
    assert (hit.options, hit.score) == (("To", "Subject"), 2 * hit.metric_score)


@pytest.mark.parametrize(
    "written", ["1@example.org", "<>", "<one two@example.org>", "<no-at-sign>", "<a@b> trailing", "<a@@b>"]
)
def test_a_malformed_message_id_is_found(tmp_path: Path, written: str) -> None:
    assert set(symbols(tmp_path, mail(Date=NOW, **{"Message-ID": written}))) == {"INVALID_MSGID"}


@pytest.mark.parametrize("written", ["<a.b+c@x>", "<20261121.1@[192.0.2.1]>", "\r\n <folded@example.org>"])
def test_a_message_id_as_programs_write_them_is_not(tmp_path: Path, written: str) -> None:
    assert symbols(tmp_path, mail(Date=NOW, **{"Message-ID": written})) == {}


@pytest.mark.parametrize("written", ["nobody", "Ann", "<>", "Ann <ann>", "ann@localhost"])
def test_a_from_without_a_usable_address_is_found(tmp_path: Path, written: str) -> None:
    assert "FROM_INVALID" in symbols(tmp_path, mail(Date=NOW, From=written))


def test_several_senders_are_listed(tmp_path: Path) -> None:
    found = symbols(tmp_path, mail(Date=NOW, From="a@example.org, b@example.org"))
    assert found == {"MULTIPLE_FROM": ("a@example.org", "b@example.org")}


@pytest.mark.parametrize(("days", "symbol"), [(-8, {"DATE_IN_PAST"}), (-6, set()), (0.5, set()), (2, {"DATE_IN_FUTURE"})])
def test_dates_far_from_today_are_found(tmp_path: Path, days: float, symbol: set[str]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(days=days))
    assert set(symbols(tmp_path, mail(Date=date))) == symbol


@pytest.mark.parametrize("written", ["yesterday", "31 Foo 2026", "\xff\xfe"])
def test_a_date_that_cannot_be_read_is_found(tmp_path: Path, written: str) -> None:
    assert set(symbols(tmp_path, mail(Date=written))) == {"INVALID_DATE"}


def test_an_address_as_display_name_that_is_not_the_senders_is_found(tmp_path: Path) -> None:
    found = symbols(tmp_path, mail(Date=NOW, From='"boss@example.com" <eve@evil.example>'))
    assert found == {"SPOOF_DISPLAY_NAME": ("boss@example.com", "eve@evil.example")}


@pytest.mark.parametrize(
    "written", ['"ann@example.org" <ann@example.org>', '"ANN@Example.ORG" <x@example.org>', '"Ann @ Work" <ann@example.org>']
)
def test_an_honest_display_name_is_not(tmp_path: Path, written: str) -> None:
    assert symbols(tmp_path, mail(Date=NOW, From=written)) == {}


def test_bad_headers_alone_do_not_reject(tmp_path: Path) -> None:
    verdict = verdict_of(
        tmp_path, "headers", b"x: y\r\nSubject: a\r\nSubject: b\r\nFrom: x, y\r\nDate: z\r\nMessage-ID: w\r\n\r\n"
    )
    assert len(verdict.symbols) >= 4
    assert verdict.score <= 10.0
