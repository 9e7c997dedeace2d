"""The lines between supervisor and workers, whole and in pieces."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterd.proto.json_lines import JsonLines, ProtocolError, render

TEXT = b'{"what":"ready"}\n\n{"what":"heartbeat","under_way":3}\n'
MESSAGES = [{"what": "ready"}, {"what": "heartbeat", "under_way": 3}]


def test_lines_are_messages() -> None:
    channel = JsonLines()
    assert channel.feed(TEXT) == MESSAGES
    assert not channel.closed
    assert channel.feed(b"") == []
    assert channel.closed


def test_it_does_not_matter_where_the_stream_is_cut() -> None:
    for cut in range(len(TEXT)):
        channel = JsonLines()
        assert channel.feed(TEXT[:cut] or b"\n") + channel.feed(TEXT[cut:]) == MESSAGES
    channel = JsonLines()
    assert [message for byte in TEXT for message in channel.feed(bytes([byte]))] == MESSAGES


@given(
    st.lists(
        st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.floats(allow_nan=False)))
    )
)
def test_what_is_rendered_is_read(messages: list[dict[str, Any]]) -> None:
    assert JsonLines().feed(b"".join(map(render, messages)) or b"\n") == messages


def test_what_json_does_not_know_is_text() -> None:
    assert render({"a": {1}, "ü": "\n"}) == b'{"a":"{1}","\\u00fc":"\\n"}\n'


@pytest.mark.parametrize("line", [b"[1]", b"1", b"nonsense", b'{"a":', b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    channel = JsonLines()
    with pytest.raises(ProtocolError, match="a line is no JSON object"):
        channel.feed(line + b"\n")
    assert channel.closed
    with pytest.raises(ProtocolError, match="data after the end"):
        channel.feed(b"{}\n")


def test_a_stream_that_ends_inside_a_line_is_a_fault() -> None:
    channel = JsonLines()
    channel.feed(b'{"a"')
    with pytest.raises(ProtocolError, match="ended inside a line, after 4 bytes"):
        channel.feed(b"")
    assert channel.closed


@pytest.mark.parametrize("data", [b'"' * 21, b'{"a": "bcdefghijklmno"}\n'])
def test_a_line_has_a_limit(data: bytes) -> None:
    channel = JsonLines(limit=20)
    assert channel.feed(b'{"a": "bcdefghijkl"}\n') == [{"a": "bcdefghijkl"}]
    with pytest.raises(ProtocolError, match="longer than 20 bytes"):
        channel.feed(data)
    assert channel.closed


@given(st.lists(st.binary()))
def test_random_bytes_raise_only_protocol_errors(pieces: list[bytes]) -> None:
    channel = JsonLines(limit=50)
    try:
        for piece in pieces:
            channel.feed(piece)
    except ProtocolError:
        assert channel.closed
