"""The message that an MTA tells a filter piece by piece, put together again: its bytes, and what is known of its way.

Promises:

* Header fields are written as they stood in the message, folds included; no value of one can end the header or begin another.
* Nothing of one message is left for the next: envelope, bytes and the macros that came with them go with it. What is known of
  the client stays until another client is announced.
* Memory is bounded: a message above a limit is dropped as it comes, and `refusal` says which limit it was.
"""

import re

from filterd.mail.charset import text_of
from filterd.mail.headers import find_header_end
from filterd.proto.milter_commands import (
    Abort,
    Body,
    Command,
    Connect,
    EndOfMessage,
    Header,
    Helo,
    Macros,
    Mail,
    Negotiate,
    QuitNewConnection,
    Rcpt,
)

__all__ = ["Conversation"]

_ORDER = b"OCHMRTLNBE"  # in which commands, and the macros before them, come
_BARE_LINE = re.compile(rb"\n(?![ \t])")
_UNKNOWN = ("", "unknown")
_REPEATED = 512 * 1024  # bytes of a header that is looked for in the body as well


class Conversation:
    """What one connection has told so far: `take` every command; at the end of a message read `raw`, `headers` and `names`.

    `max_message` is bytes, headers and body; `max_envelope` bytes of sender, recipients and their parameters. `max_fields`
    counts header fields, `max_recipients` recipients. `keeps_space`: values of headers come with the blank behind the colon.
    """

    def __init__(
        self,
        *,
        max_message: int,
        max_envelope: int = 4 * 1024 * 1024,
        max_fields: int = 10_000,
        max_recipients: int = 10_000,
    ) -> None:
        self.max_message = max_message
        self.max_envelope = max_envelope
        self.max_fields = max_fields
        self.max_recipients = max_recipients
        self.keeps_space = False
        self.forget()

    def forget(self) -> None:
        """Another client comes."""
        self._connect: Connect | None = None
        self._helo: Helo | None = None
        self._macros: dict[int, dict[str, str]] = {}
        self.reset()

    def reset(self) -> None:
        """The message is over, or was taken back."""
        self._mail: Mail | None = None
        self._rcpts: list[Rcpt] = []
        self._head = bytearray()
        self._pieces: list[bytes] = []
        self._size = self._envelope_size = 0
        self.names: list[bytes] = []
        """The names of the header fields, in lower case, in their order."""
        self.has_content = False
        """Has the MTA begun to hand over the message itself? From here on it does not wait for the client any more."""
        self.refusal = ""
        """Which limit the message is above; "" for none."""
        self._keep_macros_before(b"M")

    def take(self, command: Command) -> None:
        """Learn from one command."""
        match command:
            case Header(name, value):
                self._take_header(name, value)
            case Body(data) | EndOfMessage(data):
                self._take_body(data)
            case Macros(stage, values):
                self._take_macros(stage, values)
            case Rcpt():
                self._take_recipient(command)
            case Mail():
                macros = self._macros.get(_ORDER.index(b"M"))
                self.reset()
                if macros is not None:
                    self._macros[_ORDER.index(b"M")] = macros
                self._mail = command
                self._measure(command)
            case Helo():
                self._helo = command
            case Connect():
                self._connect = command
            case Abort():
                self.reset()
            case QuitNewConnection() | Negotiate():
                self.forget()
            case _:  # what tells nothing
                pass

    # -- the way

    def macro(self, name: str) -> str:
        """The value of a macro, its name without braces; "" where it is not set. What came last counts."""
        for stage in sorted(self._macros, reverse=True):
            value = self._macros[stage].get(name)
            if value is not None:
                return value
        return ""

    @property
    def queue_id(self) -> str:
        """The MTA's name for the message, "" as long as there is none."""
        return self.macro("i")

    @property
    def headers(self) -> dict[str, list[str]]:
        """All of it as the headers of Rspamd's scan request, names in lower case."""
        found = {
            "ip": self._ip(),
            "hostname": self._hostname(),
            "helo": "" if self._helo is None else text_of(self._helo.name),
            "user": self.macro("auth_authen"),
            "queue-id": self.queue_id,
            "user-agent": self.macro("v"),
            "tls-cipher": self.macro("cipher"),
            "tls-version": self.macro("tls_version"),
            "tls-cert-issuer": self.macro("cert_issuer"),
            "mailer": self.macro("rcpt_mailer"),
            "mta-name": self._mta_name(),
        }
        headers = {name: [value] for name, value in found.items() if value}
        if self._mail is not None:
            headers["from"] = [_path(self._mail.path)]
            if self._mail.arguments:
                headers["x-rspamd-mail-esmtp-args"] = [text_of(argument) for argument in self._mail.arguments]
        if self._rcpts:
            headers["rcpt"] = [_path(rcpt.path) for rcpt in self._rcpts]
            arguments = [
                f"{number}:{text_of(argument)}" for number, rcpt in enumerate(self._rcpts) for argument in rcpt.arguments
            ]
            if arguments:
                headers["x-rspamd-rcpt-esmtp-args"] = arguments
        headers["flags"] = ["milter,body_block"]
        return headers

    def _ip(self) -> str:
        connect = self._connect
        if connect is not None and connect.family in (b"4", b"6"):
            address = text_of(connect.address)
        else:
            address = self.macro("client_addr")
        if address[:5].lower() == "ipv6:":
            address = address[5:]
        return "" if address in _UNKNOWN else address

    def _hostname(self) -> str:
        told = "" if self._connect is None else text_of(self._connect.hostname)
        for name in (told, self.macro("client_name")):
            # Sendmail says [192.0.2.1] for a client without a name.
            if name not in _UNKNOWN and not name.startswith("["):
                return name
        return ""

    def _mta_name(self) -> str:
        # With Postfix {daemon_name} is a host name, and may be set for this very purpose; with sendmail it is "MTA".
        daemon = self.macro("daemon_name")
        return daemon if "." in daemon else self.macro("j") or daemon

    def _take_macros(self, stage: bytes, values: tuple[tuple[bytes, bytes], ...]) -> None:
        place = _ORDER.find(stage)
        if place < 0:
            return  # of a command without meaning for us
        self._keep_macros_before(stage)
        self._macros[place] = {_macro_name(name): text_of(value) for name, value in values}

    def _keep_macros_before(self, stage: bytes) -> None:
        end = _ORDER.index(stage)
        self._macros = {place: macros for place, macros in self._macros.items() if place < end}

    def _take_recipient(self, rcpt: Rcpt) -> None:
        self._measure(rcpt)
        if len(self._rcpts) >= self.max_recipients:
            self._refuse(f"more than {self.max_recipients} recipients")
        elif not self.refusal:
            self._rcpts.append(rcpt)

    def _measure(self, command: Mail | Rcpt) -> None:
        self._envelope_size += len(command.path) + sum(map(len, command.arguments))
        if self._envelope_size > self.max_envelope:
            self._refuse(f"an envelope of more than {self.max_envelope} bytes")

    # -- the message

    @property
    def raw(self) -> bytes:
        """The message."""
        if not self._head and not self._pieces:
            return b""
        body = b"".join(self._pieces)
        return b"".join((self._head, b"\r\n", body[self._repeated(body) :]))

    def _repeated(self, body: bytes) -> int:
        """How many bytes at the beginning of the body are the header once more, as Stalwart up to 0.13 sends it."""
        if not 0 < len(self._head) <= _REPEATED or body[: len(self.names[0])].lower() != self.names[0]:
            return 0
        end = find_header_end(body, 0, len(body))
        is_the_same = b"".join(body[: end.fields].lower().split()) == b"".join(self._head.lower().split())
        return end.body if end.is_found and is_the_same else 0

    def _take_header(self, name: bytes, value: bytes) -> None:
        self.has_content = True
        name = name.translate(None, b"\r\n")
        if b"\n" in value:
            value = _BARE_LINE.sub(b"\n ", value.replace(b"\r\n", b"\n").rstrip(b"\n")).replace(b"\n", b"\r\n")
        line = b"%b:%b%b\r\n" % (name, b"" if self.keeps_space else b" ", value)
        if len(self.names) >= self.max_fields:
            self._refuse(f"more than {self.max_fields} header fields")
        elif self._has_room(len(line)):
            self._head += line
            self.names.append(name.lower())

    def _take_body(self, data: bytes) -> None:
        self.has_content = True
        if data and self._has_room(len(data)):
            self._pieces.append(data)

    def _has_room(self, size: int) -> bool:
        self._size += size
        if self._size > self.max_message and not self.refusal:
            self._refuse(f"more than {self.max_message} bytes")
        return not self.refusal

    def _refuse(self, why: str) -> None:
        self.refusal = self.refusal or why
        self._rcpts.clear()
        self._head.clear()
        self._pieces.clear()
        self.names.clear()


def _macro_name(name: bytes) -> str:
    plain = text_of(name).removeprefix("{").removesuffix("}")
    return plain.lower() if len(plain) > 1 else plain


def _path(path: bytes) -> str:
    """A path as one entry of a list: without a route, and with no comma that would separate it."""
    text = text_of(path).strip()
    text = text if text.startswith("<") else f"<{text}>"
    if text.startswith("<@") and ":" in text:
        text = "<" + text.partition(":")[2]  # RFC 5321 C: a route is to be ignored
    return text if '"' in text else text.replace(",", "\\,")
