"""Clients of every front door, for constant load: each sends one mail and reads what becomes of it, to the last byte."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent

from filterd.proto.milter import Reply, render_command
from filterd.proto.milter_commands import EndOfMessage, Macros, Mail, Negotiate, Quit
from filterd.proto.milter_options import Steps
from filterd.proto.milter_replies import Accept, AddHeader, InsertHeader, ReplyCode, TempFail
from tests.support.client import Client
from tests.support.load import Door, Outcome
from tests.support.mta import POSTFIX, Mta, message

__all__ = ["DOORS", "Address", "SmtpDoor"]

Address = tuple[str, int] | str

PATIENCE = 60.0
"""Seconds for each step."""

TRIES = 200
"""How often an MTA's client sends a mail that is refused for now."""

ANSWERS_MAIL = Negotiate(POSTFIX.version, POSTFIX.actions, POSTFIX.steps & ~Steps.SILENT_MAIL)
"""Postfix, but the sender is answered too: so it is seen whether the filter has begun with a message."""


def _called(connect: Callable[[], Any]) -> Any:
    """What `connect` makes, or the outcome of having tried."""
    try:
        return connect()
    except ConnectionRefusedError:
        return Outcome("refused")
    except (OSError, AssertionError) as error:
        return _lost("called", error)


def _lost(when: str, what: object) -> Outcome:
    return Outcome("lost", why=f"{when}: {what!r}")


class OneByOne:
    """A connection for each mail. A subclass says what to send and how to read the answer, which is all until the end."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def scan(self, mail: bytes) -> Outcome:
        client = _called(lambda: Client(self.address))
        if isinstance(client, Outcome):
            return client
        with client:
            client.sock.settimeout(PATIENCE)
            try:
                answer = client.send(self.request(mail)).read_all()
            except OSError as error:
                return _lost("asked", error)
        return self.read(answer) if answer else _lost("asked", answer)

    def close(self) -> None:
        """Nothing is kept open."""

    def request(self, mail: bytes) -> bytes:
        raise NotImplementedError

    def read(self, answer: bytes) -> Outcome:
        raise NotImplementedError


class HttpDoor(OneByOne):
    """Rspamd's protocol, the connection closed by the server."""

    path = "/checkv2"

    def request(self, mail: bytes) -> bytes:
        return f"POST {self.path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(mail)}\r\n\r\n".encode() + mail

    def read(self, answer: bytes) -> Outcome:
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)^content-length: (\d+)\r?$", head, re.MULTILINE)
        if length is None or len(body) < int(length[1]):
            return _lost("cut off", answer)
        size = int(length[1])
        return self.told(int(head.split()[1]), body[:size], twice=len(body) > size)

    def told(self, status: int, body: bytes, *, twice: bool) -> Outcome:
        if status != 200:
            return Outcome("tempfail", twice=twice)
        hit = self.symbols(json.loads(body)).get("WHOSE")
        return Outcome.told(None if hit is None else " ".join(hit["options"]), twice=twice)

    def symbols(self, reply: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = reply["symbols"]
        return found


class OldHttpDoor(HttpDoor):
    """The shape from before /checkv2."""

    path = "/symbols"

    def symbols(self, reply: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = reply["default"]
        return found


class KeptHttpDoor(HttpDoor):
    """One connection for many mails. If it is closed before a byte of the answer has come, the mail is sent once more on a new
    one, as every HTTP client does (RFC 9112 9.3.1): the server may have closed it while the request was on its way.
    """

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._client: Client | None = None

    def scan(self, mail: bytes) -> Outcome:
        for kept in (self._client, None):
            client = _called(lambda: Client(self.address)) if kept is None else kept
            if isinstance(client, Outcome):
                return client
            self._client = client
            client.sock.settimeout(PATIENCE)
            try:
                client.send(self.request(mail).replace(b"Connection: close", b"Connection: keep-alive"))
                status, headers, body = client.read_reply()
            except (OSError, AssertionError) as error:
                self.close()
                if kept is None:
                    return _lost("asked", error)
                continue
            if headers.get("connection") == "close":
                self.close()
            # A second answer would be read as that of the next mail, and be another's.
            return self.told(status, body, twice=False)
        raise AssertionError("a new connection has an outcome")

    def close(self) -> None:
        if self._client is not None:
            self._client.sock.close()
            self._client = None


class RspamcDoor(OneByOne):
    """RSPAMC/1.3, as Exim speaks it."""

    def request(self, mail: bytes) -> bytes:
        return b"CHECK RSPAMC/1.3\r\nContent-Length: %d\r\n\r\n%b" % (len(mail), mail)

    def read(self, answer: bytes) -> Outcome:
        first = re.match(rb"RSPAMD/1.3 (\d+) .*\r\n", answer)
        if first is None or not answer.endswith(b"\r\n"):
            return _lost("cut off", answer)
        twice = answer.count(b"RSPAMD/1.3 ") > 1
        if first[1] != b"0":
            return Outcome("tempfail", twice=twice)
        told = re.search(rb"^Message: (.*)\r$", answer, re.MULTILINE)
        return Outcome.told(None if told is None or b"\r\nSymbol: WHOSE(" not in answer else told[1].decode(), twice=twice)


class SpamcDoor(OneByOne):
    """SpamAssassin's protocol; the message comes back as it would be delivered."""

    def request(self, mail: bytes) -> bytes:
        return b"PROCESS SPAMC/1.5\r\nContent-length: %d\r\n\r\n%b" % (len(mail), mail)

    def read(self, answer: bytes) -> Outcome:
        head, _, body = answer.partition(b"\r\n\r\n")
        first = re.match(rb"SPAMD/1.[01] (\d+) ", head)
        if first is None:
            return _lost("cut off", answer)
        if first[1] != b"0":
            return Outcome("tempfail", twice=answer.count(b"SPAMD/1.") > 1)
        length = re.search(rb"^Content-length: (\d+)\r?$", head, re.MULTILINE)
        if length is None or len(body) < int(length[1]):
            return _lost("cut off", answer)
        told = re.search(rb"^X-Whose: (.*)\r$", body, re.MULTILINE)
        return Outcome.told(None if told is None else told[1].decode(), twice=len(body) > int(length[1]))


class MilterDoor:
    """The MTA's side of the milter protocol, a connection for each message."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def scan(self, mail: bytes) -> Outcome:
        mta = _called(lambda: Mta(self.address))
        if isinstance(mta, Outcome):
            return mta
        with mta:
            mta.client.sock.settimeout(PATIENCE)
            try:
                replies = mta.say(*message(mail))
            except (OSError, AssertionError) as error:
                return _lost("asked", error)
            rest = b""
            # A worker that ends has closed it already: no MTA minds, it has its answer.
            with suppress(OSError):
                rest = mta.client.send(render_command(Quit())).read_all()
        return judged(replies, twice=rest != b"")

    def close(self) -> None:
        """Nothing is kept open."""


class KeptMilterDoor:
    """One connection for many messages, as an MTA keeps it for all that its client sends."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._mta: Mta | None = None

    def scan(self, mail: bytes) -> Outcome:
        is_kept = self._mta is not None
        mta = self._mta or _called(lambda: Mta(self.address, ANSWERS_MAIL))
        if isinstance(mta, Outcome):
            return mta
        self._mta = mta
        mta.client.sock.settimeout(PATIENCE)
        macros, sender, *rest = message(mail)
        assert isinstance(macros, Macros)
        assert isinstance(sender, Mail)
        try:
            mta.say(macros, sender)
        except (OSError, AssertionError) as error:
            self.close()
            return Outcome("closed") if is_kept else _lost("began", error)
        try:
            assert isinstance(rest[-1], EndOfMessage)
            # A second answer would be read as that to the next message's sender.
            return judged(mta.say(*rest), twice=False)
        except (OSError, AssertionError) as error:
            self.close()
            return _lost("asked", error)

    def close(self) -> None:
        if self._mta is not None:
            self._mta.client.sock.close()
            self._mta = None


def judged(replies: list[Reply], *, twice: bool) -> Outcome:
    """What the replies to the end of a message make of it."""
    last = replies[-1]
    if isinstance(last, TempFail) or (isinstance(last, ReplyCode) and last.code.startswith("4")):
        return Outcome("tempfail", twice=twice)
    told = [reply.value for reply in replies if isinstance(reply, AddHeader | InsertHeader) and reply.name == b"X-Whose"]
    if not isinstance(last, Accept) or len(told) != 1:
        return Outcome("answered", twice=twice)
    return Outcome.told(told[0].strip().decode(), twice=twice)


class SmtpDoor:
    """A client of an MTA, which sends what was refused for now again until it is taken; `most` mails on one connection."""

    def __init__(self, address: Address, *, most: int = 1) -> None:
        self.address = address
        self.most = most
        self._client: Client | None = None
        self._sent = 0

    def scan(self, mail: bytes) -> Outcome:
        for tries in range(TRIES):
            code = self._sent_once(mail)
            if code == 250:
                return Outcome("accepted", tempfails=tries)
            self.close()
            if code == 0:
                return Outcome("lost", tempfails=tries, why="the MTA has hung up")
            if not 400 <= code < 500:
                return Outcome("answered", tempfails=tries)  # refused for good, by nobody's order
            gevent.sleep(0.05)
        return Outcome("tempfail", tempfails=TRIES - 1)

    def _sent_once(self, mail: bytes) -> int:
        """The last reply; 0 when the MTA itself is not there."""
        lines = [b"MAIL FROM:<ann@example.org>", b"RCPT TO:<bob@example.net>", b"DATA", mail + b"."]
        try:
            if self._client is None:
                client = self._client = Client(self.address)
                client.sock.settimeout(PATIENCE)
                self._sent = 0
                code = self._reply(b"")
                lines.insert(0, b"HELO client.example.org")
                if code != 220:
                    return code
            for line in lines:
                code = self._reply(line + b"\r\n")
                if code not in (250, 354):
                    return code
        except OSError:
            return 0
        self._sent += 1
        if self._sent >= self.most:
            self.close()
        return code

    def _reply(self, line: bytes) -> int:
        client = self._client
        assert client is not None
        client.send(line)
        answer = b""
        while not re.search(rb"(?m)^\d{3} .*\r\n\Z", answer):
            piece = client.sock.recv(65536)
            if not piece:
                raise ConnectionResetError
            answer += piece
        return int(answer[:3])

    def close(self) -> None:
        if self._client is not None:
            with suppress(OSError):
                self._client.send(b"QUIT\r\n")
            self._client.sock.close()
            self._client = None


DOORS: dict[str, tuple[str, Callable[[Address], Door]]] = {
    "http": ("http", HttpDoor),
    "http, kept": ("http", KeptHttpDoor),
    "http, old shape": ("http", OldHttpDoor),
    "rspamc": ("http", RspamcDoor),
    "spamc": ("http", SpamcDoor),
    "spamc, own port": ("spamc", SpamcDoor),
    "milter": ("milter", MilterDoor),
    "milter, kept": ("milter", KeptMilterDoor),
    "control": ("control", HttpDoor),
}
"""By a name for the tally: the `protocol` of the listener, and the client."""
