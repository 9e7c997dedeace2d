"""Dates of mail headers (RFC 5322 3.3 and 4.3, asctime) as datetimes, as far as they can be made out."""

import re
from datetime import UTC, datetime, timedelta, timezone

__all__ = ["parse_date"]

_LIMIT = 256  # characters looked at
_MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
# RFC 5322 4.3; any other name says nothing about the hour and counts as UTC.
_ZONES = {"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "cet": 1, "cest": 2}

_COMMENT = re.compile(r"\([^()]*\)")
_TIME = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?(?:\.\d+)?\s*(?P<half>[ap]m\b)?"
_ZONE = r"(?:(?P<zone>[+-]\d{2}:?\d{2})|(?P<name>[a-z]{1,5}))?"
_DAY_FIRST = re.compile(
    rf"(?<!\d)(?P<day>\d{{1,2}})[\s-]+(?P<month>[a-z]{{3}})[a-z]*[\s,.-]+(?P<year>\d{{2,4}})[\s,]+{_TIME}\s*{_ZONE}",
    re.IGNORECASE | re.ASCII,
)
_ASCTIME = re.compile(
    rf"(?P<month>[a-z]{{3}})[a-z]*\s+(?P<day>\d{{1,2}}),?\s+{_TIME}\s*{_ZONE}\s*(?P<year>\d{{4}})", re.IGNORECASE | re.ASCII
)


def parse_date(text: str) -> datetime | None:
    """The moment `text` names, with its time zone (UTC where none is given or known), or None.

    Years have two digits (RFC 5322 4.3: 00 to 49 are 2000 to 2049), three (1900 is added) or four, from 1900 on.
    """
    text = _COMMENT.sub(" ", text[:_LIMIT])
    found = _DAY_FIRST.search(text) or _ASCTIME.search(text)
    if found is None:
        return None
    month = _MONTHS.get(found["month"].lower(), 0)
    year, hour = int(found["year"]), int(found["hour"])
    if len(found["year"]) < 4:
        year += 2000 if year < 50 else 1900
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].lower() == "pm" else 0)
    # A leap second is no second of Python's.
    second = min(int(found["second"] or 0), 59)
    # Neither end is left to overflow: people convert dates to other zones.
    if not 1900 <= year < 9999:
        return None
    try:
        return datetime(year, month, int(found["day"]), hour, int(found["minute"]), second, tzinfo=_zone_of(found))
    except ValueError:
        return None


def _zone_of(found: re.Match[str]) -> timezone:
    if found["zone"]:
        digits = found["zone"][1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        if offset >= timedelta(days=1):
            return UTC
    else:
        offset = timedelta(hours=_ZONES.get((found["name"] or "").lower(), 0))
        return timezone(offset) if offset else UTC
    return timezone(-offset if found["zone"][0] == "-" else offset) if offset else UTC
