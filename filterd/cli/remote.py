"""`filterd scan --connect`: the same question, asked of a running daemon over HTTP.

Promises: whatever goes wrong with one message (nobody there, an error, an answer that is none) is told in words with the
daemon's address, and raises nothing but `Unscanned`.
"""

import socket  # noqa: TID251 - http.client does the talking, but knows no unix sockets
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import orjson

from filterd.cli.judge import Judgement, Unscanned
from filterd.engine.registry import Rule
from filterd.mail.envelope import Envelope
from filterd.mail.verdict import Hit, Verdict

__all__ = ["Daemon"]

PORT = 11333
PATIENCE = 60.0
"""Seconds for one answer: more than a daemon takes with any sensible task timeout."""


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
    """A judge somewhere else, at `http://HOST[:PORT]` (11333 if none) or `unix:/path`. Raises ValueError for anything else.

    Its settings and rules are its own, and not known here. With `profile` it is asked how long each rule took.
    """

    limit: int | None = None
    rules: Mapping[str, Rule] = MappingProxyType({})

    def __init__(self, url: str, *, profile: bool = False) -> None:
        self.url = url
        self.profile = profile
        scheme, _, path = url.partition(":")
        self.unix = path if scheme == "unix" and path else None
        self.host, self.port, self.target = "", PORT, "/checkv2"
        if self.unix is None:
            self._parse(url)

    def _parse(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme != "http" or not parts.hostname or parts.username is not None:
            raise ValueError("is not the address of a daemon (http://HOST:PORT or unix:/PATH)")
        self.host = parts.hostname
        if port is not None:
            self.port = port
        if parts.path.strip("/"):
            self.target = parts.path

    def judge(self, raw: bytes, envelope: Envelope) -> Judgement:
        headers = [(name.title(), value) for name, values in envelope.headers.items() for value in values]
        if self.profile:
            headers.append(("Profile", "yes"))
        connection = HTTPConnection(self.host, self.port, timeout=PATIENCE) if self.unix is None else _UnixConnection(self.unix)
        try:
            connection.putrequest("POST", self.target)
            for name, value in headers:
                connection.putheader(name, value.encode("utf-8", "surrogateescape"))
            connection.putheader("Content-Length", str(len(raw)))
            connection.endheaders(raw)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise Unscanned(f"{self.url}: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise Unscanned(f"{self.url}: {answer.status} {_reason(body) or answer.reason}")
        try:
            # A line break in JSON can only be blank space.
            return Judgement(_verdict(body), body.replace(b"\r", b" ").replace(b"\n", b" ").strip())
        except (ValueError, LookupError, TypeError, AttributeError):
            raise Unscanned(f"{self.url}: the answer is not that of a scan (/checkv2)") from None

    def close(self) -> None:
        """Nothing is kept open."""


def _reason(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"])
    except (ValueError, LookupError, TypeError):
        return ""


def _verdict(reply: bytes) -> Verdict:
    """What a /checkv2 object says, as far as a person is shown it."""
    found = orjson.loads(reply)
    required = found.get("required_score")
    return Verdict(
        action=str(found["action"]),
        score=float(found["score"]),
        required_score=None if required is None else float(required),
        thresholds={action: float(score) for action, score in found.get("thresholds", {}).items()},
        symbols={name: _hit(name, symbol) for name, symbol in found["symbols"].items()},
        messages={category: str(text) for category, text in found.get("messages", {}).items()},
        seconds=float(found.get("time_real", 0.0)),
        timings={rule: float(milliseconds) / 1000 for rule, milliseconds in found.get("profile", {}).items()},
    )


def _hit(name: str, symbol: Mapping[str, Any]) -> Hit:
    score, configured = float(symbol["score"]), float(symbol.get("metric_score", 0.0))
    # The weight is not told: this is what it was, but for group caps.
    weight = score / configured if configured else 1.0
    return Hit(name, score, configured, weight, tuple(map(str, symbol.get("options", ()))), symbol.get("description"))
