"""What an MTA tells a filter, as values and as bytes: the commands of the milter protocol (sendmail's `SMFIC_…`).

Promises: `parse_command` makes of the frame that `render_command` made the same command again; what cannot be understood raises
`ProtocolError` and nothing else. Texts stay bytes: SMTP does not say what they are encoded in.
"""

from collections.abc import Callable
from dataclasses import dataclass

from filterd.proto.milter_frames import ProtocolError, frame, strings
from filterd.proto.milter_options import Negotiate

__all__ = [
    "Abort",
    "Body",
    "Command",
    "Connect",
    "Data",
    "EndOfHeaders",
    "EndOfMessage",
    "Header",
    "Helo",
    "Macros",
    "Mail",
    "Negotiate",
    "Quit",
    "QuitNewConnection",
    "Rcpt",
    "Unknown",
    "code_of",
    "parse_command",
    "render_command",
]


@dataclass(frozen=True, slots=True)
class Macros:
    """Names and values, sent before the command whose code is `stage`. Names of more than a letter are in braces."""

    stage: bytes
    values: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Connect:
    """A client has connected to the MTA. `family` is b"4", b"6", b"L" (a unix socket) or b"U" (no port, no address)."""

    hostname: bytes
    family: bytes = b"U"
    port: int = 0
    address: bytes = b""


@dataclass(frozen=True, slots=True)
class Helo:
    """HELO or EHLO."""

    name: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM, the path as the client wrote it, and its parameters."""

    path: bytes
    arguments: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO, one recipient."""

    path: bytes
    arguments: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Data:
    """DATA, from version 4 on."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An SMTP command that the MTA does not know, from version 3 on."""

    line: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """One header field; lines of a folded value end in LF."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class EndOfHeaders:
    """The empty line."""


@dataclass(frozen=True, slots=True)
class Body:
    """A piece of the body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EndOfMessage:
    """The whole message is here, with its last piece perhaps in `data`; now the filter answers."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Abort:
    """Forget the message; the client stays."""


@dataclass(frozen=True, slots=True)
class Quit:
    """The connection ends."""


@dataclass(frozen=True, slots=True)
class QuitNewConnection:
    """The client has gone, another one comes on this connection."""


Command = (
    Negotiate
    | Macros
    | Connect
    | Helo
    | Mail
    | Rcpt
    | Data
    | Unknown
    | Header
    | EndOfHeaders
    | Body
    | EndOfMessage
    | Abort
    | Quit
    | QuitNewConnection
)

_FAMILIES = (b"4", b"6", b"L")
_MOST_MACROS = 1000  # in one frame; sendmail stops at 50


_CODES: dict[type[Command], bytes] = {
    Negotiate: b"O",
    Macros: b"D",
    Connect: b"C",
    Helo: b"H",
    Mail: b"M",
    Rcpt: b"R",
    Data: b"T",
    Unknown: b"U",
    Header: b"L",
    EndOfHeaders: b"N",
    Body: b"B",
    EndOfMessage: b"E",
    Abort: b"A",
    Quit: b"Q",
    QuitNewConnection: b"K",
}


def code_of(command: Command) -> bytes:
    """The command's code, one byte."""
    return _CODES[type(command)]


def render_command(command: Command) -> bytes:
    """The frame an MTA sends."""
    return frame(code_of(command), _payload(command))


def _payload(command: Command) -> bytes:
    match command:
        case Negotiate():
            return command.payload()
        case Macros(stage, values):
            return stage + b"".join(b"%b\0%b\0" % pair for pair in values)
        case Connect(hostname, family, port, address):
            return hostname + b"\0" + family + (port.to_bytes(2, "big") + address + b"\0" if family in _FAMILIES else b"")
        case Helo(text) | Unknown(text):
            return text + b"\0"
        case Mail(path, arguments) | Rcpt(path, arguments):
            return b"".join(text + b"\0" for text in (path, *arguments))
        case Header(name, value):
            return b"%b\0%b\0" % (name, value)
        case Body(data) | EndOfMessage(data):
            return data
        case _:
            return b""


def parse_command(code: bytes, payload: bytes) -> Command:
    """The command in a frame. Raises ProtocolError."""
    parser = _PARSERS.get(code)
    if parser is None:
        raise ProtocolError(f"a command that is not known: {code!r}")
    return parser(payload)


def _macros(payload: bytes) -> Macros:
    if not payload:
        raise ProtocolError("macros without the command they are for")
    words = payload[1:].removesuffix(b"\0").split(b"\0") if len(payload) > 1 else []
    if len(words) % 2:
        raise ProtocolError("a macro without a value")
    if len(words) > 2 * _MOST_MACROS:
        raise ProtocolError(f"{len(words) // 2} macros at once, {_MOST_MACROS} are allowed", kind="limit")
    return Macros(payload[:1], tuple(zip(words[::2], words[1::2], strict=True)))


def _connect(payload: bytes) -> Connect:
    hostname, end, rest = payload.partition(b"\0")
    if not end or not rest:
        raise ProtocolError("a connect without an address family")
    family, rest = rest[:1], rest[1:]
    if family == b"U":
        return Connect(hostname)
    if family not in _FAMILIES or len(rest) < 2:
        raise ProtocolError(f"a connect with address family {family!r} and {len(rest)} bytes of address")
    (address,) = strings(rest[2:], "a connect", least=1, most=1) if rest[2:] else (b"",)
    return Connect(hostname, family, int.from_bytes(rest[:2], "big"), address)


def _mail(payload: bytes) -> Mail:
    path, *arguments = strings(payload, "a sender", least=1)
    return Mail(path, tuple(arguments))


def _rcpt(payload: bytes) -> Rcpt:
    path, *arguments = strings(payload, "a recipient", least=1)
    return Rcpt(path, tuple(arguments))


def _header(payload: bytes) -> Header:
    name, end, value = payload.partition(b"\0")
    value = value.removesuffix(b"\0")
    if not end or not name or b"\0" in value:
        raise ProtocolError("a header without a name, or not of a name and a value")
    return Header(name, value)


def _bare(command: Command) -> Callable[[bytes], Command]:
    # Some MTAs send a few bytes where none belong; nobody looks at them.
    return lambda payload: command


_PARSERS: dict[bytes, Callable[[bytes], Command]] = {
    b"O": Negotiate.parse,
    b"D": _macros,
    b"C": _connect,
    b"H": lambda payload: Helo(payload.removesuffix(b"\0")),
    b"M": _mail,
    b"R": _rcpt,
    b"T": _bare(Data()),
    b"U": lambda payload: Unknown(payload.removesuffix(b"\0")),
    b"L": _header,
    b"N": _bare(EndOfHeaders()),
    b"B": Body,
    b"E": EndOfMessage,
    b"A": _bare(Abort()),
    b"Q": _bare(Quit()),
    b"K": _bare(QuitNewConnection()),
}
