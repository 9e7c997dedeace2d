"""Targets: what the processes of one daemon read: control requests, compressed bodies, their own lines, passwords, settings."""

import gzip
import json
import random
import tomllib
import zlib
from functools import cache, partial
from itertools import chain
from typing import Any, Literal

import zstandard

from filterd.daemon.settings import SettingsReader
from filterd.engine.expressions import Compiler
from filterd.engine.matching import Element, element_of
from filterd.engine.settings import Settings, SettingsError
from filterd.mail.map_lines import MapBroken
from filterd.mail.results import Scoring
from filterd.proto import compression, control, control_shapes, http1, json_lines, passwords
from filterd.proto.ucl import parse
from tests.fuzz.target import Target, in_pieces, pieces

__all__ = ["TARGETS"]

# ------------------------------------------------------------------------------------------------------------ the controller

_NAMES = (b"password", b"x-forwarded-for", b"x-real-ip", b"forwarded", b"origin", b"host", b"sec-fetch-site", b"map")


def _control(data: bytes) -> object:
    """The target, then header fields in lines, as they come from the parser of HTTP: names in lower case."""
    first, *lines = data.replace(b"\0", b"").split(b"\n")
    headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    request = http1.Request("GET", first.decode("ascii", "replace").replace("\ufffd", "?"), "1.1", headers, b"", True)
    path = control.path(request)
    assert path == path.lower()
    password = control.password(request)
    bare = control.without_password(request)
    # Nothing is left of any password, and the path is the same one.
    assert control.password(bare) is None
    assert control.argument(bare, "password") is None
    assert control.path(bare) == path
    assert password != b""
    for address in control.forwarded(request):
        assert address is None or control.host_of(f"[{address}]:25" if ":" in address else f"{address}:25") == address
    foreign = control.is_foreign_page(request)
    for name in ("map", "rows", "password"):
        (control.argument(request, name) or "").encode()
    text = data.decode("utf-8", "surrogateescape")
    error = control.error(400, text)
    assert json.loads(error.body)["error"] == error.reason
    return path in control.ENDPOINTS, password is not None, foreign, min(len(control.forwarded(request)), 3)


def _shapes(data: bytes) -> object:
    """Counts with any names."""
    words = data.decode("utf-8", "replace").split("\n")
    count = {word: len(word) for word in words}
    totals: dict[str, Any] = {
        "started": float(len(words)), "messages": len(data), "actions": {**count, "reject": 1}, "recent": [0.1] * len(words),
        "symbols": count, "rules": {word: (len(word) % 3, 0.5) for word in words},
        "listeners": {word: {"open": 1, "accepted": 2} for word in words}, "reset": {"messages": 1, "actions": count},
    }  # fmt: skip
    stat = control_shapes.stat(totals, version="1", config_id="x", now=5.0, read_only=False, control=frozenset(words[:1]))
    facts = [control_shapes.SymbolFacts(word, 1.0, words[:2], word or None) for word in words]
    made: list[Any] = [
        stat,
        control_shapes.auth(stat),
        control_shapes.counters(totals, facts, now=5.0),
        control_shapes.symbols(totals, facts, now=5.0),
        control_shapes.actions({word: float(len(word)) for word in words}),
        control_shapes.pie(totals),
    ]
    for one in made:
        json.loads(control.as_json(one).body)
    assert len(made[2]) == len(words)
    return min(len(words), 4)


# -------------------------------------------------------------------------------------------------------------- compression

_LIMIT = 300_000
_BODY = b"Subject: a\r\n\r\n" + b"hello, world " * 30


def _decompressed(data: bytes) -> object:
    outcomes = []
    codings: tuple[compression.Coding, ...] = ("zstd", "gzip", "zlib")
    for coding in codings:
        try:
            body = compression.decompress(data, coding, _LIMIT)
        except compression.BadCompression as error:
            outcomes.append(str(error)[:20] if not error.too_large else "large")
            continue
        assert len(body) <= _LIMIT
        outcomes.append("made")
        if not data:
            continue
        # A body whose end is cut off is none, and so is one that something else follows.
        for other in (data[:-1], data + b"x"):
            try:
                again = compression.decompress(other, coding, _LIMIT)
            except compression.BadCompression:
                continue
            # Frames of zstd may follow each other: what is left of the last may be nothing.
            assert not other or coding == "zstd", coding
            assert again in body
    assert compression.decompress(compression.compress(data), "zstd", len(data)) == data
    return outcomes


def _zstd(**options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(_BODY)


def _make_compressed(dice: random.Random) -> bytes:
    body = dice.choice((_BODY, bytes(dice.choice((10, 299_999, 300_000, 300_001, 2_000_000))), dice.randbytes(500)))
    made = dice.choice(
        (_zstd, lambda: gzip.compress(body, mtime=0), lambda: zlib.compress(body), lambda: zstandard.compress(body))
    )()
    at = dice.randrange(len(made))
    return made + made if dice.random() < 0.2 else made[:at] if dice.random() < 0.3 else made


# ------------------------------------------------------------------------------------------------- lines between processes

_LINES = in_pieces(partial(json_lines.JsonLines, limit=2000), json_lines.ProtocolError)


def _json_lines(data: bytes) -> object:
    outcome = _LINES(data)
    lines = json_lines.JsonLines(limit=2000)
    try:
        for message in chain.from_iterable(map(lines.feed, pieces(data))):
            rendered = json_lines.render(message)
            assert rendered.count(b"\n") == 1
            (again,) = json_lines.JsonLines().feed(rendered)
            assert repr(again) == repr(message)
    except json_lines.ProtocolError:
        assert lines.closed
    return outcome


def _password(data: bytes) -> object:
    line = passwords.read_hash(data.decode("utf-8", "replace"))
    again = passwords.read_hash(str(line))
    assert again == line
    assert 128 * line.block * (2**line.cost + line.lanes) <= passwords.MAX_MEMORY
    if line.cost <= 10 and line.block <= 8 and line.lanes == 1:
        assert not line.fits(b"another")
    assert "digest" not in repr(line)
    return line.cost, line.block, line.lanes


# ----------------------------------------------------------------------------------------------------------------- settings


@cache
def _compiler() -> Compiler:
    return Compiler(symbols=("A", "B"))


def _use(settings: Settings) -> object:
    """Whatever was read can be laid over others, applied and shown."""
    usual = Scoring(symbols={}, thresholds={"reject": 15.0})
    scoring = settings.of_scoring(usual)
    scoring.action(3.0)
    laid = settings.over(Settings.of_text("scores {A = 1}; actions {reject = 3}; symbols_enabled = [A]"))
    laid.over(settings).of_scoring(usual)
    settings.as_table()
    return sorted(name for name in settings.as_table() if name.isascii())[:3]


def _settings(data: bytes) -> object:
    return _use(Settings.of_text(data.decode("utf-8", "surrogateescape")))


def _limits(data: bytes) -> object:
    first, _, second = data.decode("utf-8", "replace").partition("\n")
    return _use(Settings.of_limits(first or None, second or None))


def _element(data: bytes, format: Literal["toml", "ucl"]) -> object:
    """The elements of a settings map, as SettingsReader takes them."""
    outcomes = []
    for parts in ([data], list(pieces(data))):
        reader = SettingsReader(_compiler(), format)
        for part in parts:
            reader.feed(part)
        try:
            elements: tuple[Element, ...] = reader.close()
        except MapBroken as error:
            assert error.problems
            for problem in error.problems:
                str(problem).encode()
            outcomes.append(str(error))
            continue
        outcomes.append(repr([element.id for element in elements]))
    assert outcomes[0] == outcomes[1]
    return outcomes[0][:40], _kinds(data, format)


def _kinds(data: bytes, format: Literal["toml", "ucl"]) -> object:
    """Each table by itself: what is wrong with one of them does not hide the others from this."""
    try:
        text = data.decode("utf-8-sig")
        table = tomllib.loads(text) if format == "toml" else parse(text)
    except (ValueError, RecursionError):  # with all their kinds
        return None
    kinds = []
    for name, one in list(table.items())[:5]:
        if isinstance(one, dict):
            faults: list[SettingsError] = []
            kinds.append(element_of(name, one, _compiler(), faults) is None)
            assert not kinds[-1] or faults
    return kinds


_UCL_WORDS = (
    *(
        b"scores {",
        b"actions {",
        b"symbols_enabled = [",
        b"groups_disabled",
        b"apply {",
        b"symbols [",
        b"flags",
        b"}",
        b"]",
        b";",
    ),
    *(
        b"=",
        b",",
        b'"',
        b"null",
        b"true",
        b"1e999",
        b"nan",
        b"9" * 400,
        b"subject",
        b"messages {",
        b"policy",
        b"implicit_allow",
    ),
    *(b"options", b"score", b"from", b"rcpt", b"ip", b"priority", b"high", b"id", b"header {", b"expression", b"/a/i", b"@b.c"),
)
_TOML_WORDS = (
    *(
        b"[a]\n",
        b"[a.apply]\n",
        b"scores = {",
        b"}",
        b"[",
        b"]",
        b"\n",
        b"=",
        b'"',
        b"A = 1",
        b"inf",
        b"1979-05-27",
        b"9" * 400,
    ),
    *(b"priority", b"from", b"ip", b"rcpt", b"'10.0.0.0/8'", b"expression", b"'/x/i'", b"header = {", b"'@b.c'", b"apply = {"),
)

TARGETS = (
    Target(
        "control",
        _control,
        (
            b"/stat?password=a&x=y\nPassword: q1\nX-Forwarded-For: 192.0.2.1, [::1]:25, x\nX-Real-IP: 10.0.0.1:80",
            b"http://h/GetMap/?map=1#password=3\nMap: 5\nForwarded: for=1\nOrigin: http://h\nHost: h\nSec-Fetch-Site: none",
            b"/savemap?pass%77ord=a&PASSWORD=b+c\nhost: x",
        ),
        (*_NAMES, b"?", b"&", b"=", b"#", b"%70", b"/", b"://", b",", b"::", b"[", b"]", b"\n", b": ", b"password=", b"+"),
        largest=16 * 1024,
    ),
    Target("control-shapes", _shapes, (b"A\nB\n\nreject\nno action",), (b"\n", b"reject", b"greylist"), largest=16 * 1024),
    Target(
        "compression",
        _decompressed,
        (
            _zstd(), _zstd(write_checksum=True, level=3), _zstd(write_content_size=False), _zstd() + _zstd(),
            gzip.compress(_BODY, mtime=0), zlib.compress(_BODY), zlib.compress(bytes(1_000_000)),
            zstandard.compress(bytes(1_000_000)), b"\x50\x2a\x4d\x18\4\0\0\0skip" + _zstd(),
        ),
        (b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\x1f\x8b\x08", b"\x78\x9c", b"\0\0\xff\xff", b"\1\0\0", b"\xff\xff\xff\xff"),
        make=_make_compressed,
    ),
    Target(
        "json-lines",
        _json_lines,
        (b'{"a": 1}\n\n{"b": [1, null, "\\u00e9", {"c": NaN}]}\n{"', b'{"what": "ready"}\n[]\n'),
        (b"\n", b"{", b"}", b"[", b'"', b"\\ud800", b"1e999", b"NaN", b"9" * 5000, b":"),
        largest=16 * 1024,
    ),
    Target(
        "passwords",
        _password,
        (
            b"$scrypt$ln=14,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b" $scrypt$ln=10,r=1,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        ),
        (b"$", b"=", b",", b"A", b"+", b"/", b"99", b"00", b"\xd9\xa1", b"ln=", b"r=", b"p="),
        (passwords.BadHash,),
        largest=1024,
    ),
    Target(
        "settings",
        _settings,
        (
            b"scores {A = 1.5; B = -2}; actions {reject = 5; greylist = null; own = 3}; symbols_enabled = [A, B]; flags = [x]",
            b'{"symbols": {"A": 1, "B": {"score": 2, "options": ["x"]}}, "add_headers": {"X": "y"}, "subject": "%s", "whitelist": true}',
            b"apply {MISSING_DATE = 3; policy = implicit_deny; messages {smtp_message = no}; groups_disabled = g; symbols_enabled {A = 3}}",
        ),
        _UCL_WORDS,
        (SettingsError,),
        largest=32 * 1024,
    ),
    Target("settings-limits", _limits, (b"5\n3", b"1e5\n-1"), (b"\n", b"nan", b"inf", b"1e999", b"_"), largest=1024),
    Target(
        "settings-toml",
        partial(_element, format="toml"),
        (
            b"[a]\npriority = 'high'\nfrom = '@b.c'\nip = ['10.0.0.0/8', '::1']\n[a.apply]\nscores = {A = 1}\n[b]\nrcpt = '/x/i'\n"
            b"expression = 'from and !rcpt'\n[b.apply]\nactions = {reject = 3}\n",
            b"[settings.c]\nid = 'd'\nheader = {X = '/y/'}\nauthenticated = true\napply = {whitelist = true}\n",
        ),
        _TOML_WORDS,
        largest=15 * 1024,  # SettingsReader takes another thread for more
    ),
    Target(
        "settings-ucl",
        partial(_element, format="ucl"),
        (
            b'a {priority = high; from = "@b.c"; ip = ["10.0.0.0/8"]; apply {scores {A = 1}; symbols [B]}}\nb {rcpt = "/x/i"; apply {}}',
            b'settings {c {id = d; header {X = "/y/"}; request_header {Y = "z"}; hostname = h; user = u; apply {actions {reject = 1}}}}',
        ),
        _UCL_WORDS,
        largest=15 * 1024,
    ),
)  # fmt: skip
