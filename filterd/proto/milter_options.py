"""What MTA and filter agree on when they meet: the version, what the filter may change, which steps it is asked about.

The numbers are those of sendmail's `mfapi.h` and `mfdef.h` (`SMFIF_…`, `SMFIP_…`, `SMFIM_…`), version 6; version 2 is the
oldest that is still spoken (Net::Milter, and with it qpsmtpd). A filter may ask only for what the MTA has offered.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from filterd.proto.milter_frames import ProtocolError

__all__ = ["OLDEST", "VERSION", "WANTED_MACROS", "Actions", "Negotiate", "Stage", "Steps", "Terms", "agree"]

VERSION = 6
OLDEST = 2


class Actions(IntFlag):
    """What a filter may do to a message (`SMFIF_…`)."""

    ADD_HEADERS = 0x1
    CHANGE_BODY = 0x2
    ADD_RECIPIENTS = 0x4
    DELETE_RECIPIENTS = 0x8
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    CHANGE_SENDER = 0x40
    ADD_RECIPIENTS_WITH_ARGUMENTS = 0x80
    CHOOSE_MACROS = 0x100


class Steps(IntFlag):
    """What is left out, and how the rest is spoken (`SMFIP_…`)."""

    NO_CONNECT = 0x1
    NO_HELO = 0x2
    NO_MAIL = 0x4
    NO_RCPT = 0x8
    NO_BODY = 0x10
    NO_HEADERS = 0x20
    NO_END_OF_HEADERS = 0x40
    SILENT_HEADER = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    SKIP = 0x400
    REJECTED_RECIPIENTS = 0x800
    SILENT_CONNECT = 0x1000
    SILENT_HELO = 0x2000
    SILENT_MAIL = 0x4000
    SILENT_RCPT = 0x8000
    SILENT_DATA = 0x10000
    SILENT_UNKNOWN = 0x20000
    SILENT_END_OF_HEADERS = 0x40000
    SILENT_BODY = 0x80000
    LEADING_SPACE = 0x100000


class Stage(IntEnum):
    """Where macros are sent (`SMFIM_…`)."""

    CONNECT = 0
    HELO = 1
    MAIL = 2
    RCPT = 3
    DATA = 4
    END_OF_MESSAGE = 5
    END_OF_HEADERS = 6


_WANTED_ACTIONS = Actions(0x1FF)
# Nothing has to be answered before the end of the message, so nothing is: one turn of the line instead of forty.
_SILENT = {
    b"L": Steps.SILENT_HEADER,
    b"C": Steps.SILENT_CONNECT,
    b"H": Steps.SILENT_HELO,
    b"M": Steps.SILENT_MAIL,
    b"R": Steps.SILENT_RCPT,
    b"T": Steps.SILENT_DATA,
    b"U": Steps.SILENT_UNKNOWN,
    b"N": Steps.SILENT_END_OF_HEADERS,
    b"B": Steps.SILENT_BODY,
}
_WANTED_STEPS = Steps.NO_UNKNOWN | Steps.NO_DATA | Steps.LEADING_SPACE
for _step in _SILENT.values():
    _WANTED_STEPS |= _step

_TLS = "{tls_version} {cipher} {cert_subject} {cert_issuer}"
WANTED_MACROS: dict[Stage, str] = {
    Stage.CONNECT: "j v {daemon_name} {client_addr} {client_name} {client_ptr}",
    Stage.HELO: _TLS,
    # Postfix knows its queue id late, for the first recipient or after DATA: it is asked for wherever it may come.
    Stage.MAIL: "i {auth_type} {auth_authen} {auth_author} {mail_addr} {client_addr} {client_name} " + _TLS,
    Stage.RCPT: "i {rcpt_addr} {rcpt_mailer}",
    Stage.DATA: "i",
    # None for the end of the headers: Postfix would send them before each header.
    Stage.END_OF_MESSAGE: "i {msg_id} {auth_authen}",
}
"""What is asked for where the MTA lets a filter choose; an MTA then sends no others."""


@dataclass(frozen=True, slots=True)
class Negotiate:
    """SMFIC_OPTNEG, from either side. `macros` are names with blanks between, by stage; only a filter sends them."""

    version: int
    actions: int
    steps: int
    macros: tuple[tuple[int, bytes], ...] = ()

    def payload(self) -> bytes:
        """As bytes."""
        numbers = b"".join((number & 0xFFFFFFFF).to_bytes(4, "big") for number in (self.version, self.actions, self.steps))
        return numbers + b"".join(stage.to_bytes(4, "big") + names + b"\0" for stage, names in self.macros)

    @classmethod
    def parse(cls, payload: bytes) -> "Negotiate":
        """From bytes. Raises ProtocolError."""
        if len(payload) < 12:
            raise ProtocolError(f"a negotiation of {len(payload)} bytes, 12 are needed")
        version, actions, steps = (int.from_bytes(payload[at : at + 4], "big") for at in (0, 4, 8))
        macros = []
        at = 12
        while at < len(payload):
            end = payload.find(b"\0", at + 4)
            if end < 0:
                raise ProtocolError("a list of macros without its end")
            macros.append((int.from_bytes(payload[at : at + 4], "big"), payload[at + 4 : end]))
            at = end + 1
        return cls(version, actions, steps, tuple(macros))


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds on a connection."""

    version: int
    actions: Actions
    steps: Steps

    @property
    def answer(self) -> Negotiate:
        """What the filter says to the MTA's offer."""
        macros: tuple[tuple[int, bytes], ...] = ()
        if self.may(Actions.CHOOSE_MACROS):
            macros = tuple((int(stage), names.encode()) for stage, names in WANTED_MACROS.items())
        return Negotiate(self.version, int(self.actions), int(self.steps), macros)

    def may(self, action: Actions) -> bool:
        """Did the MTA grant this?"""
        return action in self.actions

    def owes_reply(self, code: bytes) -> bool:
        """Does the MTA wait for an answer to a command, by its code? The end of a message always is answered."""
        step = _SILENT.get(code)
        return code in (b"O", b"E") if step is None else step not in self.steps

    @property
    def keeps_space(self) -> bool:
        """Header values come, and go, with the blank behind the colon."""
        return Steps.LEADING_SPACE in self.steps

    @property
    def lacking(self) -> list[str]:
        """The changes that this MTA lets no filter make, in words."""
        optional = Actions.ADD_RECIPIENTS_WITH_ARGUMENTS | Actions.CHOOSE_MACROS
        return [
            action.name.lower().replace("_", " ") for action in Actions if action.name and action not in self.actions | optional
        ]


def agree(offer: Negotiate) -> Terms:
    """The terms for an MTA's offer: the newest version both know, and of what is wanted that which is offered."""
    if offer.version < OLDEST:
        raise ProtocolError(f"milter version {offer.version} is offered, {OLDEST} is the oldest spoken here")
    return Terms(min(offer.version, VERSION), _WANTED_ACTIONS & offer.actions, _WANTED_STEPS & offer.steps)
