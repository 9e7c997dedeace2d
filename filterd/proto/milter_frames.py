"""Frames of the milter protocol, sendmail's `mfdef.h`: four bytes of length, a code of one byte, and its payload.

Promises: how the bytes were cut never matters; a frame that says it is longer than the limit is refused before it is read; who
speaks another protocol on this port is recognised by the first four bytes.
"""

from filterd.outcome import Kind

__all__ = ["MAX_FRAME", "Frame", "Frames", "ProtocolError", "frame", "strings"]

MAX_FRAME = 1024 * 1024 + 4096
"""Bytes. MTAs send a body in pieces of 64 KiB (sendmail may be built for 1 MiB), a header field is rarely beyond 100 KiB."""

Frame = tuple[bytes, bytes]
"""A code of one byte and its payload."""

_SPOKEN = {
    **dict.fromkeys((b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"DELE", b"PATC", b"CONN", b"TRAC", b"PRI "), "HTTP"),
    **dict.fromkeys((b"EHLO", b"HELO", b"LHLO", b"MAIL", b"QUIT"), "SMTP"),
    **dict.fromkeys((b"CHEC", b"SYMB", b"PROC", b"REPO", b"PING", b"TELL"), "SPAMC"),
    **dict.fromkeys((b"PROX", b"\r\n\r\n"), "PROXY"),
    **dict.fromkeys((b"\x16\x03\x00\x01", b"\x16\x03\x01\x00", b"\x16\x03\x01\x01", b"\x16\x03\x01\x02"), "TLS"),
}


class ProtocolError(Exception):
    """The peer broke the protocol or a limit: say "try again later" where it waits for an answer, and close.

    `kind` is the class of `Failure`: `protocol`, `limit`, or `closed` for an end in the middle. `spoken` is the protocol it
    speaks instead, "HTTP" for one, or "".
    """

    def __init__(self, text: str, *, kind: Kind = "protocol", spoken: str = "") -> None:
        super().__init__(text)
        self.kind: Kind = kind
        self.spoken = spoken


def frame(code: bytes, payload: bytes = b"") -> bytes:
    """One frame as bytes."""
    return (len(payload) + 1).to_bytes(4, "big") + code + payload


def strings(payload: bytes, what: str, *, least: int, most: int | None = None) -> list[bytes]:
    """The strings of a payload, each ended by a NUL, which may be lacking behind the last; raises for another number."""
    found = payload.removesuffix(b"\0").split(b"\0") if payload else []
    if len(found) < least or (most is not None and len(found) > most):
        raise ProtocolError(f"{what} with {len(found)} strings")
    return found


class Frames:
    """Bytes in, frames out. `max_frame` bounds code and payload together."""

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        self.max_frame = max_frame
        self.is_first = True
        self.fault: ProtocolError | None = None
        self._held = bytearray()

    @property
    def is_partial(self) -> bool:
        """Has a frame begun that is not here yet?"""
        return bool(self._held)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete. A fault behind them is kept in `fault`, and is for the caller to raise."""
        held = self._held
        held += data
        frames: list[Frame] = []
        at = 0
        with memoryview(held) as view:
            while self.fault is None and len(held) - at >= 4:
                length = int.from_bytes(view[at : at + 4], "big")
                if not 0 < length <= self.max_frame:
                    self.fault = self._refuse(bytes(view[at : at + 4]), length)
                    break
                end = at + 4 + length
                if len(held) < end:
                    break
                self.is_first = False
                frames.append((bytes(view[at + 4 : at + 5]), bytes(view[at + 5 : end])))
                at = end
        del held[:at]
        if self.fault is not None:
            held.clear()
        return frames

    def _refuse(self, word: bytes, length: int) -> ProtocolError:
        spoken = _SPOKEN.get(word, "") if self.is_first else ""
        if spoken:
            return ProtocolError(f"that is {spoken}, and this port speaks the milter protocol", spoken=spoken)
        if not length:
            return ProtocolError("a frame without a command")
        return ProtocolError(f"a frame of {length} bytes, {self.max_frame} are allowed", kind="limit")
