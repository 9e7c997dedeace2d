"""What a filter answers an MTA, as values and as bytes: the replies of the milter protocol (sendmail's `SMFIR_…`).

Promises: `parse_reply` makes of the frame that `render_reply` made the same reply again; a text by `reply_code` is always legal
SMTP (RFC 5321 4.2): printable ASCII, at most 32 lines, none too long, every line with the same code, percent signs doubled as
sendmail wants them.
"""

from dataclasses import dataclass

from filterd.proto.milter_frames import ProtocolError, frame, strings
from filterd.proto.milter_options import Negotiate

__all__ = [
    "CHUNK",
    "Accept",
    "AddHeader",
    "AddRecipient",
    "ChangeHeader",
    "ChangeSender",
    "Continue",
    "DeleteRecipient",
    "Discard",
    "HangUp",
    "InsertHeader",
    "Negotiate",
    "Progress",
    "Quarantine",
    "Reject",
    "ReplaceBody",
    "Reply",
    "ReplyCode",
    "Shutdown",
    "Skip",
    "TempFail",
    "parse_reply",
    "render_reply",
    "reply_code",
]

CHUNK = 65535
"""Bytes of a new body in one frame; sendmail takes no more."""

_LINES = 32  # libmilter's MAXREPLIES
_LINE = 480  # RFC 5321 4.5.3.1.5: 512 with code and CRLF


@dataclass(frozen=True, slots=True)
class Continue:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Take the message, as it has been changed."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse it for good, in the MTA's words."""


@dataclass(frozen=True, slots=True)
class Discard:
    """Tell the client that it was taken, and drop it."""


@dataclass(frozen=True, slots=True)
class TempFail:
    """Refuse it for now, in the MTA's words."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Send no more of the body."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Still at work."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """Refuse the client with 421 and hang up on it."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Hang up on the client without a word."""


@dataclass(frozen=True, slots=True)
class ReplyCode:
    """Refuse in our words: `code` of three digits, `status` as in RFC 3463, and lines of text. Made by `reply_code`."""

    code: str
    status: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AddHeader:
    """A header at the end."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class InsertHeader:
    """A header at a place: 0 is above all, the MTA's own Received included."""

    index: int
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class ChangeHeader:
    """Another value for the occurrence `index`, from 1, of a header; the empty value removes it."""

    index: int
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class ChangeSender:
    """Another envelope sender, with parameters perhaps."""

    path: bytes
    arguments: bytes = b""


@dataclass(frozen=True, slots=True)
class AddRecipient:
    """One more recipient; with parameters only where the MTA grants that."""

    path: bytes
    arguments: bytes = b""


@dataclass(frozen=True, slots=True)
class DeleteRecipient:
    """One recipient less."""

    path: bytes


@dataclass(frozen=True, slots=True)
class ReplaceBody:
    """A piece of the new body, CHUNK bytes at most; the first one drops the old body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Hold the message in the queue."""

    reason: bytes


Reply = (
    Negotiate
    | Continue
    | Accept
    | Reject
    | Discard
    | TempFail
    | Skip
    | Progress
    | Shutdown
    | HangUp
    | ReplyCode
    | AddHeader
    | InsertHeader
    | ChangeHeader
    | ChangeSender
    | AddRecipient
    | DeleteRecipient
    | ReplaceBody
    | Quarantine
)

_BARE: dict[bytes, Reply] = {
    b"c": Continue(),
    b"a": Accept(),
    b"r": Reject(),
    b"d": Discard(),
    b"t": TempFail(),
    b"s": Skip(),
    b"p": Progress(),
    b"4": Shutdown(),
    b"f": HangUp(),
}
_BARE_CODES = {type(reply): code for code, reply in _BARE.items()}


def reply_code(code: str, status: str, text: str) -> ReplyCode:
    """The reply for any text: lines of it are lines of the reply, what SMTP cannot say becomes a blank or a question mark."""
    lines: list[str] = []
    for line in text.splitlines():
        plain = "".join(c if " " <= c <= "~" else "?" if c.isprintable() else " " for c in line).rstrip()
        # Doubled percent signs count twice on the wire.
        room = max(_LINE - len(code) - len(status) - 2 - plain.count("%"), _LINE // 2)
        lines += [plain[at : at + room] for at in range(0, len(plain), room)] or [""]
    lines = lines or [""]
    if len(lines) > _LINES:
        lines[_LINES - 1 :] = ["..."]
    return ReplyCode(code, status, tuple(lines))


def render_reply(reply: Reply) -> bytes:
    """The frame a filter sends."""
    code = _BARE_CODES.get(type(reply))
    return frame(code) if code is not None else _render(reply)


def _render(reply: Reply) -> bytes:
    match reply:
        case Negotiate():
            return frame(b"O", reply.payload())
        case ReplyCode(code, status, lines):
            ahead = [f"{code}-{status} {line}" for line in lines[:-1]]
            text = "\r\n".join([*ahead, f"{code} {status} {lines[-1]}"])
            return frame(b"y", text.replace("%", "%%").encode("ascii") + b"\0")
        case AddHeader(name, value):
            return frame(b"h", b"%b\0%b\0" % (name, value))
        case InsertHeader(index, name, value):
            return frame(b"i", index.to_bytes(4, "big") + b"%b\0%b\0" % (name, value))
        case ChangeHeader(index, name, value):
            return frame(b"m", index.to_bytes(4, "big") + b"%b\0%b\0" % (name, value))
        case ChangeSender(path, arguments):
            return frame(b"e", path + b"\0" + (arguments + b"\0" if arguments else b""))
        case AddRecipient(path, b""):
            return frame(b"+", path + b"\0")
        case AddRecipient(path, arguments):
            return frame(b"2", b"%b\0%b\0" % (path, arguments))
        case DeleteRecipient(path):
            return frame(b"-", path + b"\0")
        case ReplaceBody(data):
            return frame(b"b", data)
        case Quarantine(reason):
            return frame(b"q", reason + b"\0")
        case _:  # pragma: no cover - every other reply is a bare one
            raise TypeError(f"no reply: {reply!r}")


def parse_reply(code: bytes, payload: bytes) -> Reply:
    """The reply in a frame, for who plays the MTA. Raises ProtocolError."""
    bare = _BARE.get(code)
    if bare is not None:
        return bare
    match code:
        case b"O":
            return Negotiate.parse(payload)
        case b"y":
            return _reply_code(payload)
        case b"h":
            return AddHeader(*strings(payload, "a header", least=2, most=2))
        case b"i" | b"m":
            index, (name, value) = int.from_bytes(payload[:4], "big"), strings(payload[4:], "a header", least=2, most=2)
            return InsertHeader(index, name, value) if code == b"i" else ChangeHeader(index, name, value)
        case b"e":
            return ChangeSender(*strings(payload, "a sender", least=1, most=2))
        case b"+" | b"2":
            return AddRecipient(*strings(payload, "a recipient", least=1, most=1 if code == b"+" else 2))
        case b"-":
            return DeleteRecipient(*strings(payload, "a recipient", least=1, most=1))
        case b"b":
            return ReplaceBody(payload)
        case b"q":
            return Quarantine(*strings(payload, "a quarantine", least=1, most=1))
    raise ProtocolError(f"a reply that is not known: {code!r}")


def _reply_code(payload: bytes) -> ReplyCode:
    text = payload.removesuffix(b"\0").replace(b"%%", b"%").decode("latin-1")
    code, lines, statuses = text[:3], [], set()
    for line in text.split("\r\n"):
        status, _, words = line[4:].partition(" ")
        lines.append(words)
        statuses.add((line[:3], status))
    if len(statuses) != 1 or not (code.isascii() and code.isdecimal() and code[0] in "45"):
        raise ProtocolError(f"a reply code that is none: {text[:80]!r}")
    return ReplyCode(code, status, tuple(lines))
