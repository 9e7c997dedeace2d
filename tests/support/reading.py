"""Everything a rule can read of a message, step by step: each step is one look at one lazy property."""

from collections.abc import Callable, Iterator

from filterd.mail.archive import Archive
from filterd.mail.message import Message

__all__ = ["flags_of", "read_all", "steps"]


def steps(message: Message) -> Iterator[tuple[str, Callable[[], object]]]:
    """The name of each step and what to call for it. Later steps find done what earlier ones did, as in a rule."""
    yield "subject", lambda: message.subject
    yield "fields", lambda: len(message.fields)
    for name in ("message_id", "date", "from_", "to", "cc", "reply_to", "received"):
        yield name, lambda name=name: getattr(message, name)  # type: ignore[misc]
    yield "header texts", lambda: [(header.value, header.decoded) for header in message.fields]
    yield "parts", lambda: message.parts
    for number, part in enumerate(message.parts):
        for name in ("type", "filename", "detected_type", "size", "content", "archive", "digest", "flags"):
            yield f"parts[{number}].{name}", lambda part=part, name=name: getattr(part, name)  # type: ignore[misc]
    yield "attachments", lambda: message.attachments
    yield "text_parts", lambda: message.text_parts
    for number, text in enumerate(message.text_parts):
        for name in ("source", "content", "words", "links", "flags"):
            yield f"text_parts[{number}].{name}", lambda text=text, name=name: getattr(text, name)  # type: ignore[misc]
    yield "urls", lambda: message.urls
    yield "emails", lambda: message.emails
    yield "link_flags", lambda: message.link_flags
    yield "flags", lambda: message.flags
    yield "digest", lambda: message.digest


def read_all(message: Message) -> None:
    """All steps."""
    for _, step in steps(message):
        step()


def flags_of(message: Message) -> set[str]:
    """Every flag of the message, its texts, links, addresses and archives."""
    flags = {*message.flags, *message.link_flags}
    for text in message.text_parts:
        flags |= text.flags
    for url in message.urls:
        flags |= url.flags
    for address in (*message.from_, *message.to, *message.cc, *message.reply_to, *message.emails):
        flags |= address.flags
    for part in message.parts:
        flags |= _archive_flags(part.archive)
    return flags


def _archive_flags(archive: Archive | None) -> set[str]:
    if archive is None:
        return set()
    return set(archive.flags).union(*(_archive_flags(entry.archive) for entry in archive.entries))
