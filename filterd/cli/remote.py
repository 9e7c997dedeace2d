"""`filterd scan --connect`: the same question, asked of a running daemon over HTTP.

Promises: whatever goes wrong with one message (nobody there, an error, an answer that is none) is told in words with the daemon's
address, and raises nothing but `NoAnswer`.
"""

import socket  # noqa: TID251 - http.client does the talking, but knows no unix sockets
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

import orjson

from filterd.mail.verdict import Hit, Verdict

__all__ = ["Daemon", "NoAnswer", "verdict_of"]

PORT = 11333
PATIENCE = 60.0
"""Seconds for one answer: more than a daemon takes with any sensible task timeout."""


class NoAnswer(Exception):
    """The daemon did not judge the message; the text says why."""


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


class Daemon:
    """Where a daemon listens: `http://HOST[:PORT]` (11333 if none) or `unix:/path`. Raises ValueError for anything else."""

    def __init__(self, url: str) -> None:
        self.url = url
        scheme, _, path = url.partition(":")
        self.unix = path if scheme == "unix" and path else None
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", PORT if parts.port is None else parts.port
        self.target = parts.path if self.unix is None and parts.path.strip("/") else "/checkv2"
        if self.unix is None and (parts.scheme != "http" or not self.host or parts.username is not None):
            raise ValueError(f"{url!r} is not the address of a daemon (http://HOST:PORT or unix:/PATH)")

    def ask(self, raw: bytes, headers: Mapping[str, list[str]]) -> bytes:
        """The /checkv2 object for a message, in one line. Raises NoAnswer."""
        connection = HTTPConnection(self.host, self.port, timeout=PATIENCE) if self.unix is None else _UnixConnection(self.unix)
        try:
            connection.putrequest("POST", self.target)
            for name, values in headers.items():
                for value in values:
                    connection.putheader(name.title(), value.encode("utf-8", "surrogateescape"))
            connection.putheader("Content-Length", str(len(raw)))
            connection.endheaders(raw)
            answer = connection.getresponse()
            body, status = answer.read(), answer.status
        except (OSError, HTTPException) as error:
            raise NoAnswer(f"{self.url}: {getattr(error, 'strerror', None) or error or type(error).__name__}") from None
        finally:
            connection.close()
        if status != 200:
            raise NoAnswer(f"{self.url}: {status} {_reason(body) or answer.reason}")
        # A line break in JSON can only be blank space.
        return body.replace(b"\r", b" ").replace(b"\n", b" ").strip()


def _reason(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return ""


def verdict_of(reply: bytes) -> Verdict:
    """What a /checkv2 object says, as far as a person is shown it. Raises NoAnswer for what is none."""
    try:
        found = orjson.loads(reply)
        return Verdict(
            action=str(found["action"]),
            score=float(found["score"]),
            required_score=None if found.get("required_score") is None else float(found["required_score"]),
            thresholds={str(action): float(score) for action, score in found.get("thresholds", {}).items()},
            symbols={name: _hit(name, symbol) for name, symbol in found["symbols"].items()},
            messages={str(category): str(text) for category, text in found.get("messages", {}).items()},
            seconds=float(found.get("time_real", 0.0)),
            timings={str(rule): float(milliseconds) / 1000 for rule, milliseconds in found.get("profile", {}).items()},
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise NoAnswer("the answer is not that of a scan (/checkv2)") from None


def _hit(name: str, symbol: Mapping[str, object]) -> Hit:
    score, configured = float(str(symbol["score"])), float(str(symbol.get("metric_score", 0.0)))
    options = symbol.get("options") or ()
    description = symbol.get("description")
    return Hit(
        name,
        score,
        configured,
        score / configured if configured else 1.0,
        tuple(map(str, options if isinstance(options, list) else ())),
        None if description is None else str(description),
    )
