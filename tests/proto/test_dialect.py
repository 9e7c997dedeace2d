"""Which protocol a client speaks: the first bytes of real clients, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.dialect import ENOUGH, Dialect, dialect

FIRST: dict[bytes, Dialect] = {
    b"POST /checkv2 HTTP/1.0\r\n": "http",
    b"GET /ping HTTP/1.1\r\n": "http",
    b"REPORT /checkv2 HTTP/1.1\r\n": "http",
    b"CHECK /SPAMC/ HTTP/1.1\r\n": "http",
    b"\r\nGET / HTTP/1.1\r\n": "http",
    b"PROPFIND / HTTP/1.1\r\n": "http",
    b"CHECK RSPAMC/1.3\r\n": "rspamc",
    b"SYMBOLS RSPAMC/1.2\r\n": "rspamc",
    b"PROCESS SPAMC/1.5\r\n": "spamc",
    b"REPORT_IFSPAM SPAMC/1.2\r\n": "spamc",
    b"PING SPAMC/1.2\n": "spamc",
    b"check  spamc/1.2\n": "spamc",
    b"NONSENSE SPAMC/1.2\n": "spamc",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": "tls",
    b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff": "milter",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "http/2",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n": "proxy",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c": "proxy",
    b"EHLO mx.example.org\r\n": "smtp",
    b"helo mx\r\n": "smtp",
    b"LHLO mx\r\n": "smtp",
    b"mail from:<a@example.org>\r\n": "smtp",
    b"QUIT\r\n": "smtp",
    b"\x16\x02": "http",
    b"\0\0\0\x0dX": "http",
    b"\xff\xfe": "http",
    b"ALONGWORDTHATISNOVERB": "http",
}


@pytest.mark.parametrize(("data", "expected"), FIRST.items())
def test_the_first_bytes_tell_the_protocol(data: bytes, expected: Dialect) -> None:
    assert dialect(data) == expected


@pytest.mark.parametrize(("data", "expected"), FIRST.items())
def test_it_does_not_matter_where_the_bytes_are_cut(data: bytes, expected: Dialect) -> None:
    seen = [dialect(data[:end]) for end in range(len(data) + 1)]
    undecided = seen.index(expected)
    assert seen == [None] * undecided + [expected] * (len(seen) - undecided)


@given(st.binary(max_size=80) | st.text("CHEKRSPAM/_ ", max_size=60).map(str.encode))
def test_whatever_comes_is_decided_soon_and_for_good(data: bytes) -> None:
    seen = [dialect(data[:end]) for end in range(len(data) + 1)]
    decided = [each for each in seen if each is not None]
    assert len(set(decided)) <= 1
    assert decided == seen[len(seen) - len(decided) :]
    assert None not in seen[ENOUGH:]
