"""Messages made to hurt are read completely: nothing raises, and CPU and memory stay within what their size deserves."""

import gc
import time
import tracemalloc

import pytest

from filterd.mail.hosts import load_suffixes
from filterd.mail.message import Message
from tests.support.hostile import HOSTILE, Hostile
from tests.support.reading import flags_of, read_all, steps

SECONDS = 1.0
"""Of CPU of this process, not of the clock: what else the machine does matters little."""

TIMES = 10
"""How often its own size a message may take."""

ROOM = 16 * 2**20
"""Bytes any message may take beside that: what the caps allow is much for a message of some kilobytes."""


@pytest.fixture(autouse=True, scope="module")
def _suffixes() -> None:
    load_suffixes()  # is not the first message's fault


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_message_is_read_completely(hostile: Hostile) -> None:
    raw = hostile.make()
    message = Message(raw)
    began = time.process_time()
    read_all(message)
    spent = time.process_time() - began
    assert hostile.flags <= flags_of(message), flags_of(message)
    texts = [text.content for text in message.text_parts] + [str(url) for url in message.urls]
    texts += [message.subject or "", *(name for part in message.parts for name in [part.filename or "", part.type])]
    for text in texts:
        text.encode()  # no lone surrogate in it
    del message, texts
    assert spent < SECONDS
    gc.collect()
    tracemalloc.start()
    try:
        read_all(Message(raw))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < TIMES * len(raw) + ROOM


def test_everything_a_rule_can_read_is_among_the_steps() -> None:
    """But what takes an argument or is a view of something else: `header`, `raw`, `size`, `body`."""
    names = {name for name, _ in steps(Message(b"a: b\n\nc"))}
    public = {name for name in vars(Message) if not name.startswith("_")}
    assert public - names == {"size", "is_mime", "body", "header", "header_raw", "headers", "has_header"}
