"""RFC 2047: words of other character sets within headers."""

import re
from binascii import a2b_qp

from filterd.mail.charset import decode
from filterd.mail.transfer import decode_base64

__all__ = ["decode_words"]

_LIMIT = 64 * 1024  # characters looked at; what follows stays as it is
_OPENING = re.compile(r"=\?([^?\s]{1,64})\?([bBqQ])\?")


def decode_words(value: str) -> str:
    """`value` with its encoded words decoded; whatever is no complete encoded word stays as it is.

    Tolerant where mail programs are: words within quotes and without blanks around them, blanks within words. The *bytes*
    of neighbouring words of one set are joined before they are decoded, as senders do cut characters in two.
    """
    at = value.find("=?", 0, _LIMIT)
    if at < 0:
        return value
    pieces: list[str] = []
    position = 0  # how far `value` has been taken over
    label, data = "", b""  # the words collected so far
    while at >= 0:
        opening = _OPENING.match(value, at)
        if opening is None:
            at = value.find("=?", at + 2, _LIMIT)
            continue
        end = value.find("?=", opening.end(), _LIMIT)
        if end < 0:
            break  # nor is there an end for any later word
        between = value[position:at]
        word_label = opening[1].partition("*")[0].lower()  # RFC 2231 5: a language may follow
        # RFC 2047 6.2: blanks between two words are not shown.
        if word_label != label or not (between == "" or between.isspace()):
            pieces.append(decode(data, label)[0])
            if not (data and between.isspace()):
                pieces.append(between)
            label, data = word_label, b""
        encoded = value[opening.end() : end].encode()
        data += decode_base64(encoded)[0] if opening[2] in "bB" else a2b_qp(encoded, header=True)
        position = end + 2
        at = value.find("=?", position, _LIMIT)
    pieces.append(decode(data, label)[0])
    pieces.append(value[position:])
    return "".join(pieces)
