"""DNS messages on a stream (RFC 1035 4.2.2, RFC 7766 8): each has its length in two octets before it.

Promise: `split` gives whole messages only, in their order, and gives back what has begun but not ended: less than 64 KB.
"""

__all__ = ["frame", "split"]


def frame(message: bytes) -> bytes:
    """The message with its length before it. Raises OverflowError for one above 65535 octets."""
    return len(message).to_bytes(2, "big") + message


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The messages at the beginning of `data`, and the rest, which goes before what comes next."""
    messages = []
    position = 0
    last = len(data) - 2
    while position <= last:
        end = position + 2 + (data[position] << 8 | data[position + 1])
        if end > last + 2:
            break
        messages.append(data[position + 2 : end])
        position = end
    return messages, data[position:]
