"""A verdict as an MTA is to carry it out: the replies of the milter protocol, in the order in which they must be sent.

The order and the meaning of the reply object are Rspamd's: headers are removed, then added, then sender and recipients change,
then body and subject, and the last reply decides. Where Rspamd keeps a message's reply flags for the whole connection, here
they are the message's own.

Promises:

* The places of removed and added headers are what the rule meant, whatever else is changed: removals count in the message as it
  came and go from the last to the first; places from the end count in the message as it has become.
* What the MTA does not let us do is left out and told in `undone`; if that would deliver what must not be delivered, the
  message is refused for now instead.
* Nothing a rule says breaks a frame or a header: CR, LF and NUL never get through.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from filterd.mail.verdict import Verdict
from filterd.proto.milter_options import Actions, Terms
from filterd.proto.milter_replies import (
    CHUNK,
    Accept,
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    DeleteRecipient,
    Discard,
    InsertHeader,
    Quarantine,
    ReplaceBody,
    Reply,
    render_reply,
    reply_code,
)

__all__ = ["Answer", "Texts", "answer", "try_later"]

_BEYOND = 1_000_000
_LONGEST = 60_000  # bytes of a name and value: sendmail reads frames of 64 KiB
_FRAME = 5 + CHUNK  # length and code, and what sendmail takes at most
_REASON = 480  # bytes of a reason for the quarantine: it is one line in a log


@dataclass(frozen=True, slots=True)
class Texts:
    """What the administrator has chosen: the texts where a rule gave none, and what becomes of what is rejected."""

    reject: str = "Spam message rejected"
    tempfail: str = "Try again later"
    quarantine: str = "Spam message quarantined"
    spam_header: str = "X-Spam"
    discard_rejected: bool = False
    quarantine_rejected: bool = False


@dataclass(slots=True)
class Answer:
    """`replies` to send, the last of which decides, and in `undone` what the MTA cannot do, in words."""

    replies: list[Reply] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)


def try_later(texts: Texts, text: str | None = None) -> Reply:
    """The message is not taken now."""
    return reply_code("451", "4.7.1", text or texts.tempfail)


def answer(verdict: Verdict, names: Sequence[bytes], terms: Terms, texts: Texts) -> Answer:
    """What to send; `names` are those of the message's header fields, in lower case and in order."""
    made = Answer()
    action = _action(verdict, texts)
    said = verdict.messages.get("smtp_message")
    if action == "reject":
        made.replies.append(reply_code("554", "5.7.1", said or texts.reject))
    elif action == "soft reject":
        made.replies.append(try_later(texts, said))
    elif action == "discard":
        made.replies.append(Discard())
    elif action == "quarantine" and not terms.may(Actions.QUARANTINE):
        made.undone.append("the message cannot be quarantined, it was refused for now")
        made.replies.append(try_later(texts))
    else:
        edits = _Edits(made, list(names), terms)
        edits.apply(verdict, action, texts)
        if action == "quarantine":
            reason = (said or texts.quarantine).encode("ascii", "replace")
            made.replies.append(Quarantine(_one_line(reason)[:_REASON]))
        made.replies.append(Accept())
    return made


def _action(verdict: Verdict, texts: Texts) -> str:
    """What happens to the message: an action, or "quarantine", "discard" or "none"."""
    reply = verdict.milter
    if reply.get("no_action"):
        return "none"
    if verdict.action == "reject":
        asked = reply.get("reject")
        if asked == "discard" or (asked != "quarantine" and texts.discard_rejected):
            return "discard"
        return "quarantine" if asked == "quarantine" or texts.quarantine_rejected else "reject"
    if verdict.action in ("discard", "quarantine"):
        return verdict.action
    return verdict.milter_action or verdict.action


class _Edits:
    """The message's header as the MTA has it while the replies go out."""

    def __init__(self, made: Answer, names: list[bytes], terms: Terms) -> None:
        self.made = made
        self.names = names
        self.terms = terms
        self.space = b" " if terms.keeps_space else b""

    def apply(self, verdict: Verdict, action: str, texts: Texts) -> None:
        reply = verdict.milter
        for name, places in _table(reply.get("remove_headers")):
            self.remove(name, _listed(places))
        for name, values in _table(reply.get("add_headers")):
            for value in _listed(values):
                self.add(name, value)
        for sender in _texts(reply.get("change_from"))[:1]:
            self._change(ChangeSender(*_path(sender)), Actions.CHANGE_SENDER, "the sender cannot be changed")
        for recipient in _texts(reply.get("add_rcpt")):
            self.add_recipient(*_path(recipient))
        for recipient in _texts(reply.get("del_rcpt")):
            path = DeleteRecipient(_path(recipient)[0])
            self._change(path, Actions.DELETE_RECIPIENTS, "recipients cannot be deleted")
        if verdict.body is not None:
            self.replace_body(verdict.body)
        if action == "none":
            self.add("X-Rspamd-Action", verdict.action)
        elif action == "add header":
            mark = reply.get("spam_header", "Yes")
            for name, value in _table(mark if isinstance(mark, Mapping) else {texts.spam_header: mark}):
                self.remove(name, [0])
                self.add(name, value)
        elif verdict.subject is not None:
            self.replace("Subject", verdict.subject)

    def remove(self, name: str, places: Sequence[object]) -> None:
        wanted = _name(name)
        found = [at for at, one in enumerate(self.names) if wanted and one == wanted.lower()]
        gone: set[int] = set()
        for place in places:
            number = _number(place)
            if number == 0:
                gone.update(range(1, len(found) + 1))
            elif number is not None and -len(found) <= number <= len(found):
                gone.add(number if number > 0 else len(found) + number + 1)
        if gone and not self.terms.may(Actions.CHANGE_HEADERS):
            self.made.undone.append(f"{name} cannot be removed")
            return
        self.made.replies += [ChangeHeader(number, wanted, b"") for number in sorted(gone, reverse=True)]
        # Made anew, not cut one by one: a message may have come with thousands of them.
        dropped = {found[number - 1] for number in gone}
        self.names = [one for at, one in enumerate(self.names) if at not in dropped]

    def add(self, name: str, value: object) -> None:
        order: int | None = -1
        if isinstance(value, Mapping):
            order = _number(value.get("order", -1))
            value = value.get("value", "")
        key, text = _name(name), self.space + _value(value)
        if not key or len(key) + len(text) > _LONGEST:
            self.made.undone.append(f"{name[:80]!r} is no header, or one of more than {_LONGEST} bytes")
            return
        # The MTA's own Received, which no filter is shown, is above all the others: place 0 is above it, place 1 below.
        end = len(self.names) + 1
        index = end if order in (-1, None) else order if order >= 0 else max(end + order + 1, 0)
        index = min(index, end)
        header: Reply = InsertHeader(index, key, text)
        if index == end:
            # Sendmail adds above a header of the same name where there is one, so that needs a place: beyond all there are.
            header = InsertHeader(_BEYOND, key, text) if key.lower() in self.names else AddHeader(key, text)
        if self._change(header, Actions.ADD_HEADERS, f"{name} cannot be added"):
            self.names.insert(max(index - 1, 0), key.lower())

    def replace(self, name: str, value: str) -> None:
        if _name(name).lower() not in self.names:
            self.add(name, value)
            return
        # The empty value would remove it.
        text = self.space + _value(value) or b" "
        self._change(ChangeHeader(1, _name(name), text), Actions.CHANGE_HEADERS, f"{name} cannot be changed")

    def add_recipient(self, path: bytes, arguments: bytes = b"") -> None:
        if arguments and not self.terms.may(Actions.ADD_RECIPIENTS_WITH_ARGUMENTS):
            self.made.undone.append("recipients cannot be added with parameters, these were left out")
            arguments = b""
        self._change(AddRecipient(path, arguments), Actions.ADD_RECIPIENTS, "recipients cannot be added")

    def replace_body(self, body: bytes) -> None:
        body = body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        for at in range(0, max(len(body), 1), CHUNK):
            if not self._change(ReplaceBody(body[at : at + CHUNK]), Actions.CHANGE_BODY, "the body cannot be replaced"):
                return

    def _change(self, reply: Reply, action: Actions, otherwise: str) -> bool:
        if not self.terms.may(action):
            self.made.undone.append(otherwise)
            return False
        if len(render_reply(reply)) > _FRAME:
            self.made.undone.append(f"{otherwise}: it is longer than {CHUNK} bytes")
            return False
        self.made.replies.append(reply)
        return True


def _table(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((str(name), item) for name, item in value.items())


def _listed(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


def _texts(value: object) -> list[str]:
    return [str(item) for item in _listed(value) if item is not None]


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and abs(value) < 2**31 else None


def _name(name: str) -> bytes:
    # What edits.py does to a name: what is printable, and neither a colon nor a blank.
    return "".join(c for c in name if c.isprintable() and c not in ": ").encode("utf-8", "replace")


def _value(value: object) -> bytes:
    lines = (line.strip() for line in str(value).replace("\0", "").splitlines())
    return b"\n ".join(line.encode("utf-8", "replace") for line in lines if line)


def _one_line(text: bytes) -> bytes:
    return b" ".join(text.replace(b"\0", b"").split())


def _path(text: str) -> tuple[bytes, bytes]:
    """A path in angles, and the parameters behind it."""
    line = _one_line(text.encode("utf-8", "replace"))
    if not line.startswith(b"<"):
        path, _, arguments = line.partition(b" ")
        return b"<%b>" % path, arguments
    path, end, arguments = line.rpartition(b">")
    return (path + end, arguments.strip()) if end else (line + b">", b"")
