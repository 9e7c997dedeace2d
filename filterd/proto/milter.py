"""The milter protocol between an MTA and a filter, both sides, as bytes in and values out.

There is no document but sendmail's sources (`libmilter`) and what Postfix does; version 6, down to version 2. Commands are in
`milter_commands`, replies in `milter_replies`, what both agree on in `milter_options`, the frames in `milter_frames`.

Promises:

* Filter side: `FilterSide.feed(bytes) -> [Command, …]`, and what the MTA waits for by `owes_reply`. MTA side, for tests and
  probes: `MtaSide.feed(bytes) -> [Reply, …]`.
* How the bytes were cut never matters. The peer's faults raise `ProtocolError` and nothing else; what came before a fault is
  delivered first. After one, close.
* Commands come in an order that makes sense: nothing before the negotiation, nothing of a message before its sender.
"""

from filterd.proto.milter_commands import (
    Abort,
    Body,
    Command,
    Data,
    EndOfHeaders,
    EndOfMessage,
    Header,
    Mail,
    Negotiate,
    Quit,
    QuitNewConnection,
    Rcpt,
    code_of,
    parse_command,
    render_command,
)
from filterd.proto.milter_frames import MAX_FRAME, Frames, ProtocolError
from filterd.proto.milter_options import Terms, agree
from filterd.proto.milter_replies import Reply, parse_reply, render_reply

__all__ = ["Command", "FilterSide", "MtaSide", "ProtocolError", "Reply", "Terms", "render_command", "render_reply"]

_OF_A_MESSAGE = (Rcpt, Data, Header, EndOfHeaders, Body, EndOfMessage)
_NAMES = {
    "Rcpt": "a recipient",
    "Data": "DATA",
    "Header": "a header",
    "EndOfHeaders": "the end of the headers",
    "Body": "a body",
    "EndOfMessage": "the end of a message",
}


class FilterSide:
    """What a filter reads of one connection. `max_frame` is bytes.

    `terms` holds what was agreed once the MTA has made its offer; `in_message` is true between a sender and the end of the
    message, or its abort. `closed`: nothing more is to be expected.
    """

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        self._frames = Frames(max_frame=max_frame)
        self.terms: Terms | None = None
        self.in_message = False
        self.closed = False
        self.fault: ProtocolError | None = None

    @property
    def is_partial(self) -> bool:
        """Has a command begun that is not here yet?"""
        return self._frames.is_partial

    def feed(self, data: bytes) -> list[Command]:
        """The commands that are complete; b"" is the end of the stream. Raises ProtocolError when nothing comes before it."""
        if self.fault is not None:
            raise self.fault
        if self.closed:
            return []
        found: list[Command] = []
        if data:
            try:
                for code, payload in self._frames.feed(data):
                    found.append(self._checked(parse_command(code, payload)))
                    if isinstance(found[-1], Quit):
                        break  # nobody answers what comes after a goodbye
                else:
                    self.fault = self._frames.fault
            except ProtocolError as error:
                self.fault = error
        else:
            self.closed = True
            if self.is_partial or self.in_message:
                where = "a command" if self.is_partial else "a message"
                self.fault = ProtocolError(f"the connection ended in the middle of {where}", kind="closed")
        if self.fault is not None:
            self.closed = True
            if not found:
                raise self.fault
        return found

    def owes_reply(self, command: Command) -> bool:
        """Does the MTA wait for an answer?"""
        return self.terms is not None and self.terms.owes_reply(code_of(command))

    def _checked(self, command: Command) -> Command:
        if isinstance(command, Negotiate):
            self.terms = agree(command)
            self.in_message = False
        elif self.terms is None:
            raise ProtocolError(f"the first command is {code_of(command)!r}, not a negotiation")
        elif isinstance(command, Mail):
            self.in_message = True
        elif isinstance(command, _OF_A_MESSAGE):
            if not self.in_message:
                raise ProtocolError(f"{_NAMES[type(command).__name__]} before a sender")
            self.in_message = not isinstance(command, EndOfMessage)
        elif isinstance(command, Abort | Quit | QuitNewConnection):
            self.in_message = False
            self.closed = isinstance(command, Quit)
        return command


class MtaSide:
    """What an MTA reads of one connection."""

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        self._frames = Frames(max_frame=max_frame)

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete. Raises ProtocolError."""
        found = [parse_reply(*one) for one in self._frames.feed(data)]
        if self._frames.fault is not None and not found:
            raise self._frames.fault
        return found
