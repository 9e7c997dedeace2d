"""Bytes of a declared or unknown character set to text.

Promises:

* Nothing raises, whatever the bytes and whatever the label; the text never holds a lone surrogate, so that it can always be
  written as UTF-8.
* Labels are matched against a closed table of the sets that mail programs show. A label from a message is never handed to
  `codecs.lookup`: `hex`, `rot13` and `unicode_escape` are codecs too, and Python remembers every unknown label for ever.
* Narrow sets are read as the wider ones that mail programs use for them (WHATWG Encoding 4.2): latin-1 as windows-1252,
  GB 2312 as GB 18030, EUC-KR as code page 949.
"""

import codecs
import encodings
from encodings.aliases import aliases
from functools import cache
from importlib import import_module

import cchardet

__all__ = ["codec_for", "decode", "text_of"]

# Python's module name -> the codec used.
_CODECS = {
    name: name
    for name in (
        "utf_8 utf_16 utf_16_le utf_16_be utf_32 utf_7 koi8_r koi8_u koi8_t mac_roman mac_cyrillic cp437 cp850 cp852 "
        "cp855 cp857 cp866 cp874 cp932 cp949 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 iso8859_2 "
        "iso8859_3 iso8859_4 iso8859_5 iso8859_6 iso8859_7 iso8859_8 iso8859_10 iso8859_13 iso8859_14 iso8859_15 "
        "iso8859_16 gb18030 hz big5hkscs euc_jp iso2022_jp iso2022_kr johab"
    ).split()
} | {
    "ascii": "ascii",
    "latin_1": "cp1252",
    "iso8859_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "big5": "big5hkscs",
    "cp950": "big5hkscs",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "iso2022_jp_2": "iso2022_jp",
}
# Labels seen in mail that Python does not know.
_LABELS = {
    "windows_874": "cp874",
    "windows_31j": "cp932",
    "windows_949": "cp949",
    "x_sjis": "cp932",
    "x_gbk": "gb18030",
    "x_mac_roman": "mac_roman",
    "x_mac_cyrillic": "mac_cyrillic",
    "x_user_defined": "ascii",
    "iso_8859_8_i": "iso8859_8",
    "unicode": "utf_16",
    "utf8mb4": "utf_8",
}
# In these sets a byte below 0x80 may be something else than the ASCII character.
_STATEFUL = frozenset({"utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_7", "hz", "iso2022_jp", "iso2022_kr"})

# SUB, the character that ASCII has in place of what cannot be shown, for each byte that is not ASCII.
_SUBSTITUTED = bytes(range(128)) + b"\x1a" * 128

_LABEL_LENGTH = 40
_SAMPLE = 4096  # what the detector is shown: it takes 0.1 to 0.2 ms a KB
_HALF_CHARACTER = 8  # no set uses more bytes for one character


def codec_for(label: str | None) -> str | None:
    """The Python codec to read `label` with, or None for a label that is absent, unknown or no set of characters."""
    if not label or len(label) > _LABEL_LENGTH:
        return None
    name = encodings.normalize_encoding(label.strip(" \t'\"").lower())
    name = _LABELS.get(name) or aliases.get(name, name)
    # The last resort is for `win-1251`, `windows1251` and `cp-1251`.
    return _CODECS.get(name) or _CODECS.get("cp" + name.lstrip("cpwindos_"))


def text_of(data: bytes) -> str:
    """Undeclared bytes of a header as text: UTF-8 (RFC 6532), else latin-1, in which every byte is a character."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def decode(data: bytes, label: str | None = None, *, is_cut: bool = False, may_guess: bool = False) -> tuple[str, str]:
    """`data` as text, and what was wrong: "" or `unknown_charset` or `bad_charset` (the label did not fit the bytes).

    The declared set comes first, then UTF-8, then with `may_guess` what the detector says (it takes up to half a
    millisecond); at the end the declared set (else windows-1252) with U+FFFD for what does not fit. `is_cut`: the data ends
    anywhere, and half a character there is dropped.
    """
    codec = codec_for(label)
    trouble = "unknown_charset" if label and codec is None else ""
    if codec not in _STATEFUL and data.isascii():
        return data.decode("ascii"), trouble  # a copy of memory, where most codecs go byte by byte
    if codec == "ascii":
        codec, trouble = None, "bad_charset"
    if codec is not None:
        text = _strictly(data, codec, is_cut=is_cut)
        if text is not None:
            return text, ""
        trouble = "bad_charset"
    text = _strictly(data, "utf_8", is_cut=is_cut)
    if text is not None:
        return text, trouble
    if codec is not None:
        # Mail programs stay with the declared set when only a few characters are broken.
        text = _replaced(data, codec)
        if text.count("\ufffd") * 50 <= len(text):
            return _writable(text, codec), trouble
    guessed = _guessed(data, is_cut=is_cut) if may_guess else None
    return guessed or _writable(_replaced(data, "cp1252") if text is None else text, codec), trouble


def _strictly(data: bytes, codec: str, *, is_cut: bool) -> str | None:
    try:
        return _writable(data.decode(codec), codec)
    except UnicodeDecodeError as error:
        if is_cut and error.start > len(data) - _HALF_CHARACTER:
            return _strictly(data[: error.start], codec, is_cut=False)
        return None


def _replaced(data: bytes, codec: str) -> str:
    if codec == "utf_7":  # it has seven bits; the codec would take 0.2 µs for each other byte
        return data.translate(_SUBSTITUTED).decode(codec, "replace").replace("\x1a", "\ufffd")
    table = _table(codec)
    return data.decode(codec, "replace") if table is None else codecs.charmap_decode(data, "strict", table)[0]


@cache
def _table(codec: str) -> str | None:
    """The characters of a set with one byte for each, U+FFFD where it has none: bytes that fit nowhere then cost nothing."""
    table: str | None = getattr(import_module(f"encodings.{codec}"), "decoding_table", None)
    return None if table is None else table.replace("\ufffe", "\ufffd").ljust(256, "\ufffd")


def _guessed(data: bytes, *, is_cut: bool) -> str | None:
    start = next(at for at, byte in enumerate(data) if byte > 0x7F)
    codec = codec_for(cchardet.detect(data[start : start + _SAMPLE])["encoding"])
    return None if codec is None or codec == "ascii" else _strictly(data, codec, is_cut=is_cut)


def _writable(text: str, codec: str | None) -> str:
    # UTF-7 alone can spell lone surrogates.
    return text.encode("utf_8", "replace").decode() if codec == "utf_7" else text
