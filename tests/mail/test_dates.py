"""Dates as senders write them."""

import email.utils
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.mail.dates import parse_date


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("Tue, 1 Oct 2024 09:59:57 +0200", "2024-10-01T09:59:57+02:00"),
        ("1 Oct 2024 09:59 -0130", "2024-10-01T09:59:00-01:30"),
        ("Tue,  1 Oct 2024 09:59:57 +0000 (UTC)", "2024-10-01T09:59:57+00:00"),
        ("Tuesday, 01-October-24 09:59:57 GMT", "2024-10-01T09:59:57+00:00"),
        ("Tue, 8 Oct 91 07:29:39 PDT", "1991-10-08T07:29:39-07:00"),
        ("8 Oct 101 07:29:39", "2001-10-08T07:29:39+00:00"),
        ("8 Oct 2024 07.29.39 +02:00", "2024-10-08T07:29:39+02:00"),
        ("8 Oct 2024 07:29:39.123 XYZ", "2024-10-08T07:29:39+00:00"),
        ("8 Oct 2024 12:05 AM", "2024-10-08T00:05:00+00:00"),
        ("8 Oct 2024 1:05 pm EST", "2024-10-08T13:05:00-05:00"),
        ("Tue Oct  1 09:59:57 2024", "2024-10-01T09:59:57+00:00"),
        ("Tue Oct  1 09:59:57 CEST 2024", "2024-10-01T09:59:57+02:00"),
        ("Tue, 31 Dec 2024 23:59:60 +0000", "2024-12-31T23:59:59+00:00"),
        ("1 Oct 2024 09:59:57 +9900", "2024-10-01T09:59:57+00:00"),
    ],
)
def test_the_moment_is_made_out(text: str, iso: str) -> None:
    date = parse_date(text)
    assert date is not None
    assert date.isoformat() == iso


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "32 Oct 2024 09:59:57",
        "30 Feb 2024 09:59:57",
        "1 Foo 2024 09:59:57",
        "1 Oct 2024 25:00:00",
        "1 Oct 0001 00:00:00",
        "1 Oct 1899 00:00:00",
        "31 Dec 9999 00:00:00",
        "2024-10-01T09:59:57Z",
        " " * 256 + "1 Oct 2024 09:59",
    ],
)
def test_what_is_no_moment_is_none(text: str) -> None:
    assert parse_date(text) is None


@given(
    st.datetimes(min_value=datetime(1901, 1, 2), max_value=datetime(9998, 12, 30)),  # noqa: DTZ001 - zones are added below
    st.integers(-1439, 1439),
)
def test_what_the_standard_library_writes_is_read_back(moment: datetime, minutes: int) -> None:
    date = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    read = parse_date(email.utils.format_datetime(date))
    assert read == date
    assert read is not None
    assert read.astimezone(UTC) == date


@given(st.text(st.sampled_from("0123456789 :+-,()aOctpmEST"), max_size=60))
def test_anything_is_a_moment_with_a_zone_or_none(text: str) -> None:
    date = parse_date(text)
    assert date is None or date.utcoffset() is not None
