"""The messages that `filterd scan` is pointed at: files, folders of them, mailboxes, the standard input.

Promises:

* What cannot be read is told as a Source with its error, and the others come all the same.
* Bytes are handed over as they are: only the blank line that ends a message in a mailbox is no part of it.
* No more of a message than its limit is held in memory, and of a mailbox one message at a time.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

__all__ = ["STDIN", "Source", "files", "messages"]

STDIN = "-"

# RFC 4155: "From ", an address, a date as asctime() writes it. A line of text that merely begins with "From " is no separator.
_SEPARATOR = re.compile(rb"From .*\b\d{1,2}:\d{2}(?::\d{2})?\b.*\b\d{4}\s*$")
_BLANK = (b"\n", b"\r\n")
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Source:
    """One message, and what to call it: the file, with `#3` for the third of a mailbox. `error` says why it is not read."""

    name: str
    raw: bytes = b""
    error: str = ""


def files(paths: Iterable[str]) -> list[Source]:
    """The files to read, in order, with nothing in them yet; a folder is all files below it, sorted, without hidden ones."""
    found: list[Source] = []
    for path in paths:
        if path == STDIN or not Path(path).is_dir():
            found.append(Source(path))
        else:
            found += _below(path)
    return found


def _below(folder: str) -> list[Source]:
    found: list[Source] = []
    unreadable: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unreadable.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # As text, so that a name stays as it was written ("./mail"). No sockets and pipes: nobody named them.
        inside = [f"{place.rstrip('/')}/{name}" for name in names if not name.startswith(".")]
        found += [Source(file) for file in inside if Path(file).is_file()]
    found += [Source(str(error.filename), error=error.strerror or str(error)) for error in unreadable]
    return sorted(found, key=lambda file: file.name.split("/"))


def messages(file: Source, limit: int | None) -> Iterator[Source]:
    """The messages in a file: one, or those of a mailbox. `limit` is bytes for each; None is no limit."""
    if file.error:
        yield file
        return
    try:
        with nullcontext(sys.stdin.buffer) if file.name == STDIN else Path(file.name).open("rb") as stream:
            yield from _split(file.name, stream, sys.maxsize - 1 if limit is None else limit)
    except OSError as error:
        yield Source(file.name, error=error.strerror or str(error))


def _split(name: str, stream: IO[bytes], limit: int) -> Iterator[Source]:
    # `limit + 1`: enough to see that it is too much.
    lines = iter(partial(stream.readline, limit + 1), b"")
    first = next(lines, b"")
    if not _SEPARATOR.match(first):
        yield _source(name, [first, *_pieces(stream, limit - len(first))], limit)
        return
    kept, size, number, after_blank = [first], len(first), 1, False
    for line in lines:
        if after_blank and _SEPARATOR.match(line):
            yield _source(f"{name}#{number}", kept[:-1] if size <= limit else kept, limit)
            kept, size, number = [], 0, number + 1
        after_blank = line in _BLANK
        if size <= limit:
            kept.append(line)
        size += len(line)
    if number > 1 and after_blank and size <= limit:
        kept.pop()
    yield _source(name if number == 1 else f"{name}#{number}", kept, limit)


def _pieces(stream: IO[bytes], rest: int) -> Iterator[bytes]:
    while rest >= 0 and (piece := stream.read(_PIECE)):
        rest -= len(piece)
        yield piece


def _source(name: str, pieces: list[bytes], limit: int) -> Source:
    raw = b"".join(pieces)
    if len(raw) > limit:
        return Source(name, error=f"larger than {limit} bytes (limits.message)")
    return Source(name, raw)
