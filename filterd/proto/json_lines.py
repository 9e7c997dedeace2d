"""Messages between the supervisor, its workers and `filterd reload`: one JSON object a line, each way.

The document that defines it is this module. A line ends with LF and holds a JSON object in UTF-8, at most `limit` bytes long;
an empty line is skipped. What an object means is the business of who sends it.
"""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["LIMIT", "JsonLines", "ProtocolError", "render"]

LIMIT = 16 * 2**20
"""Bytes of one line: the statistics of a worker with thousands of rules are some hundred kilobytes."""


class ProtocolError(Exception):
    """The other side sent what is no message. The channel is `closed` then."""


class JsonLines:
    """What one side receives. `closed` after the end of the stream, or after a fault."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        self.limit = limit
        self.closed = False
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The objects that are complete now; b"" is the end of the stream. Raises ProtocolError."""
        if self.closed:
            raise ProtocolError("data after the end")
        if not data:
            self.closed = True
            if self._rest:
                raise ProtocolError(f"the stream ended inside a line, after {len(self._rest)} bytes of it")
            return []
        begin = len(self._rest)
        self._rest += data
        # What was there before holds no LF.
        end = self._rest.rfind(b"\n", begin) + 1
        if len(self._rest) - end > self.limit:
            self.closed = True
            raise ProtocolError(f"a line is longer than {self.limit} bytes")
        if not end:
            return []
        lines = bytes(self._rest[:end])
        del self._rest[:end]
        return [self._read(line) for line in lines.split(b"\n") if line]

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            if len(line) > self.limit:
                raise ProtocolError(f"a line is longer than {self.limit} bytes")
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        except ProtocolError:
            self.closed = True
            raise
        if not isinstance(found, dict):
            self.closed = True
            raise ProtocolError(f"a line is no JSON object: {line[:80]!r}")
        return found


def render(message: Mapping[str, Any]) -> bytes:
    """The line for one message. Values that JSON does not know are told as text."""
    return json.dumps(message, default=str, separators=(",", ":")).encode() + b"\n"
