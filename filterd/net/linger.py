"""The end of a connection whose client may still be sending.

Closing while there is unread data resets the connection, and a reset can take an answer away that was sent before it (RFC 9112
9.6). So after the last answer we say that nothing more will come, and listen until the client has closed too.

Promises: it is not listened to for longer than `LINGER` seconds or `LINGER_BYTES`, and what fails then is nobody's concern.
"""

from contextlib import suppress
from time import monotonic

from filterd.net.stream import Stream
from filterd.outcome import RequestFailed

__all__ = ["LINGER", "answer_and_end", "hang_up"]

LINGER = 2.0
LINGER_BYTES = 16 * 1024 * 1024


def answer_and_end(stream: Stream, answer: bytes) -> None:
    """Send a last, short answer, then hang up; also where nobody listens any more."""
    with suppress(RequestFailed):
        stream.write(answer, until=monotonic() + LINGER)
        hang_up(stream)


def hang_up(stream: Stream) -> None:
    """Say that nothing more will come and wait for the client to close. The connection is left for its owner to close."""
    with suppress(RequestFailed):
        stream.shutdown()
        until = monotonic() + LINGER
        # The answer is on its way yet: to look before waiting would find nothing.
        read = len(stream.read(until=until, expect_wait=True))
        while 0 < read < LINGER_BYTES and (data := stream.read(until=until)):
            read += len(data)
