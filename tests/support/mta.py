"""The MTA's side of a milter connection, played by a test: it says commands and reads replies."""

from types import TracebackType

from filterd.proto.milter import MtaSide, Reply, render_command
from filterd.proto.milter_commands import (
    Body,
    Command,
    Connect,
    EndOfHeaders,
    EndOfMessage,
    Header,
    Helo,
    Macros,
    Mail,
    Negotiate,
    Rcpt,
)
from filterd.proto.milter_options import Terms, agree
from filterd.proto.milter_replies import Accept, Continue, Discard, Reject, ReplyCode, TempFail
from tests.support.client import Client

__all__ = ["POSTFIX", "QPSMTPD", "Mta", "message"]

POSTFIX = Negotiate(6, 0x1FF, 0x1FFFFF)
QPSMTPD = Negotiate(2, 0x3F, 0x7F)
CHUNK = 65535
_LAST = (Accept, Continue, Discard, Reject, ReplyCode, TempFail)


def message(
    raw: bytes = b"Subject: hello\r\n\r\nHi\r\n",
    *,
    queue_id: str = "4X",
    sender: bytes = b"<a@example.org>",
    recipients: tuple[bytes, ...] = (b"<b@example.net>",),
    keeps_space: bool = True,
) -> list[Command]:
    """The commands by which an MTA hands over one message."""
    head, _, body = raw.partition(b"\r\n\r\n")
    told: list[Command] = [Macros(b"M", ((b"i", queue_id.encode()),)), Mail(sender)]
    told += [Rcpt(recipient) for recipient in recipients]
    for line in head.removesuffix(b"\r\n").replace(b"\r\n\t", b"\n\t").replace(b"\r\n ", b"\n ").split(b"\r\n"):
        name, _, value = line.partition(b":")
        told.append(Header(name, value if keeps_space else value.removeprefix(b" ")))
    told.append(EndOfHeaders())
    told += [Body(body[at : at + CHUNK]) for at in range(0, len(body), CHUNK)]
    return [*told, EndOfMessage()]


class Mta:
    """One connection that has been negotiated, and in which the client has been announced."""

    def __init__(
        self,
        address: tuple[str, int] | str,
        offer: Negotiate = POSTFIX,
        *,
        ip: bytes = b"192.0.2.1",
        helo: bytes = b"helo.example.org",
    ) -> None:
        self.client = Client(address)
        self.terms: Terms = agree(offer)
        self._side = MtaSide()
        self._read: list[Reply] = []
        assert self.say(offer) == [self.terms.answer]
        self.say(Connect(b"client.example.org", b"4", 4711, ip), Helo(helo))

    def __enter__(self) -> "Mta":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.client.sock.close()

    def say(self, *commands: Command) -> list[Reply]:
        """Send commands, each when the one before is answered where that is owed; the replies to the last that is."""
        replies: list[Reply] = []
        unsent = b""
        for command in commands:
            data = render_command(command)
            unsent += data
            if self.terms.owes_reply(data[4:5]):
                self.client.send(unsent)
                unsent, replies = b"", self.read(is_end=isinstance(command, EndOfMessage))
        self.client.send(unsent)
        return replies

    def read(self, *, is_end: bool = True) -> list[Reply]:
        """The replies to one command; at the end of a message all up to the one that decides."""
        replies: list[Reply] = []
        while True:
            while not self._read:
                data = self.client.sock.recv(65536)
                assert data, f"closed after {replies}"
                self._read = self._side.feed(data)
            replies.append(self._read.pop(0))
            if not is_end or isinstance(replies[-1], _LAST):
                return replies
