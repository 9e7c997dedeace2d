"""Which protocol a client speaks, told from the first bytes it sends.

Promises: `dialect` gives the same answer however the bytes were cut, asks for more only while more can change it, and never
needs more than `ENOUGH` bytes. What is none of the others is taken for HTTP, whose parser says what is wrong with it.

Scan clients of three kinds come to one port, as they do to Rspamd's: HTTP, and the request lines `CHECK RSPAMC/1.3` (Exim) and
`PROCESS SPAMC/1.5` (spamc). The others came to the wrong port.
"""

import re
from typing import Literal

__all__ = ["ENOUGH", "Dialect", "dialect"]

Dialect = Literal["http", "rspamc", "spamc", "milter", "smtp", "tls", "http/2", "proxy"]

ENOUGH = 32

_USUAL = (b"POST /", b"GET /")
_LEGACY = re.compile(rb"[A-Z_]{1,16} {1,4}(R?)SPAMC/", re.IGNORECASE)
_MAY_BE_LEGACY = re.compile(rb"[A-Z_]{1,16}(?: {1,4}(?:R|R?S|R?SP|R?SPA|R?SPAM|R?SPAMC)?)?", re.IGNORECASE)
_STARTS: dict[bytes, Dialect] = {
    b"\x16\x03": "tls",  # RFC 8446 5.1: a handshake record
    b"\0\0\0\x0dO": "milter",  # the offer that every milter conversation begins with, 13 bytes
    b"PRI * HTTP/2": "http/2",  # RFC 9113 3.4
    b"PROXY ": "proxy",  # HAProxy's protocol, version 1
    b"\r\n\r\n\0\r\nQUIT\n": "proxy",  # and version 2
    # Who begins to speak SMTP without having waited for a greeting.
    b"EHLO ": "smtp",
    b"HELO ": "smtp",
    b"LHLO ": "smtp",
    b"MAIL FROM:": "smtp",
    b"QUIT\r\n": "smtp",
}


def dialect(first: bytes) -> Dialect | None:
    """What begins with these bytes; None while that depends on what follows."""
    if first.startswith(_USUAL):
        return "http"
    start = first[:ENOUGH]
    for known, name in _STARTS.items():
        if start[: len(known)].upper() == known:
            return name
    match = _LEGACY.match(start)
    if match is not None:
        return "rspamc" if match[1] else "spamc"
    is_open = any(known.startswith(start.upper()) for known in _STARTS) or _MAY_BE_LEGACY.fullmatch(start) is not None
    return None if is_open else "http"
