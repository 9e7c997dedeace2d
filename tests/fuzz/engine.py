"""Targets: what administrators and rules write: expressions, and the configuration."""

import random
import tempfile
from functools import cache, partial
from pathlib import Path

from filterd.daemon import units
from filterd.daemon.config import ConfigError, load_config
from filterd.daemon.origins import Unreadable, parse_set
from filterd.engine.expressions import Compiler, ExpressionError
from filterd.engine.expressions.expression import ExpressionKind
from filterd.engine.scan import Scan
from filterd.mail.map_lines import new_map
from tests.fuzz.target import Target
from tests.support.expressions import task_of

__all__ = ["TARGETS"]


@cache
def _task() -> Scan:
    return task_of(symbols={"A": 1.0, "B": -2.0, "BAYES_SPAM": 3.0})


@cache
def _compiler() -> Compiler:
    return Compiler(maps={"friends": new_map("set")}, symbols=("A", "B", "BAYES_SPAM"))


def _expression(data: bytes, kind: ExpressionKind) -> object:
    text = data.decode("utf-8", "replace")
    try:
        expression = _compiler().compile(text, kind)
    except ExpressionError as error:
        assert error.sentence
        assert error.picture
        raise
    value = expression(_task())
    if kind in ("condition", "composite"):
        assert isinstance(value, bool)
    if kind == "template":
        assert isinstance(value, str)
    assert _compiler().compile(text, kind)(_task()) == value or value != value
    return type(value).__name__


_WORDS = (
    b"from('smtp')", b"rcpts", b"header('Subject')", b".lower", b".first", b".last", b".nth(2)", b".join(',')", b".digest('hex')", b".re('a(b)')",
    b"ip", b".ipmask(24)", b"urls", b".domain", b"words", b"symbol('A')", b".score", b"in friends", b" and ", b" or ", b"not ", b"!", b"&", b"|",
    b"==", b"!=", b"<", b">=", b"matches /a/i", b"(", b")", b"[", b"]", b"{", b"}", b"'", b'"', b",", b";", b"~A", b"^B", b"-A", b"A[x]", b"g:*",
    b"+", b"1e9", b"10k", b"id('x')", b".default('-')", b".inverse", b"list('a','b')", b".uniq", b".take_n(1)", b".substring(1,2)", b"/x/", b"\\",
)  # fmt: skip
_SELECTORS = (
    b"from('smtp').lower; ip.ipmask(24)", b"header('Subject').lower.first", b"urls:get_host", b"rcpts.user.uniq.join(', ')",
    b"list('a', \"b\").nth(1).digest('base64', 'md5')", b"attachments('hex','md5')", b"time('message', '%Y')", b"received:by_hostname",
)  # fmt: skip
_CONDITIONS = (
    b"from('smtp') == '' and BAYES_SPAM and not A",
    b"ip in friends or header('Subject') matches /x/i",
    b"A + B > 1 & (A | !B)",
    b"A.score >= 2.5",
)
_COMPOSITES = (b"A & !B", b"~A | ^B & -BAYES_SPAM", b"A[a, /b/, 'c'] | g:*", b"(A + B + BAYES_SPAM) >= 2")
_TEMPLATES = (b"{ip} helo={helo.default('-')} {{x}}", b"a{from('mime').user}b")


def _make_expression(dice: random.Random) -> bytes:
    return b"".join(dice.choices(_WORDS, k=dice.randint(1, 12)))


# ----------------------------------------------------------------------------------------------------------- configuration

_CONFIG = (
    b'[listen.scan]\nprotocol = "http"\nbind = ["127.0.0.1:0", "unix:/x mode=0660"]\ntimeout = "5s"\n[limits]\ntask_timeout = 8\n'
    b'[actions]\nreject = 15\n"add header" = 6\n[symbols]\nA = 1\nB = {score = 2, group = "g"}\n',
    b'[maps.M]\nsource = "file:m"\ntype = "ip"\nkey = "ip"\nsymbol = "S"\n[composites.C]\nexpression = "A & B"\n'
    b'[redis]\nservers = "127.0.0.1"\n[redis.bulk]\ndb = 1\n[modules.x]\na = [1, {b = 2}]\n',
    b'[settings.a]\npriority = "high"\n[force_actions.f]\naction = "reject"\nexpression = "A"\n[[dns.fake_records]]\nname = "a"\n',
)
_CONFIG_WORDS: tuple[bytes, ...] = (
    b"[",
    b"]",
    b"[[",
    b"]]",
    b"=",
    b'"',
    b"'''",
    b'"""',
    b"{",
    b"}",
    b"\n",
    b".",
    b"true",
    b"1979-05-27",
    b"inf",
    b"nan",
    b"-1",
    b'"8s"',
)
_CONFIG_WORDS += (
    b"[listen.x]",
    b"[limits]",
    b"[dns]",
    b"[http]",
    b"[redis]",
    b"[log]",
    b"[results]",
    b"[groups.g]",
    b"protocol",
    b"bind",
    b"servers",
)


@cache
def _folder() -> Path:
    kept = tempfile.TemporaryDirectory()
    _KEPT.append(kept)
    return Path(kept.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _config(data: bytes) -> object:
    path = _folder() / "filterd.toml"
    path.write_bytes(data)
    try:
        config = load_config(path)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            str(problem).encode()
        return sorted({problem.text for problem in error.problems})[:2]
    return config.model_fields_set


_UNITS = (units.duration, units.size, units.absolute, units.address, units.bind)


def _units(data: bytes) -> object:
    text = data.decode("utf-8", "replace")
    outcomes = []
    for read in (*_UNITS, partial(units.address, default_port=53)):
        try:
            outcomes.append(type(read(text)).__name__)
        except ValueError as error:
            assert str(error).startswith(("is ", "has ", "does "))
            outcomes.append("")
    try:
        parse_set(text)
    except Unreadable:
        outcomes.append("unreadable")
    return outcomes


TARGETS = (
    Target(
        "selector", partial(_expression, kind="selector"), _SELECTORS, _WORDS, (ExpressionError,), _make_expression, 12 * 1024
    ),
    Target(
        "condition",
        partial(_expression, kind="condition"),
        _CONDITIONS,
        _WORDS,
        (ExpressionError,),
        _make_expression,
        12 * 1024,
    ),
    Target(
        "composite",
        partial(_expression, kind="composite"),
        _COMPOSITES,
        _WORDS,
        (ExpressionError,),
        _make_expression,
        12 * 1024,
    ),
    Target(
        "template", partial(_expression, kind="template"), _TEMPLATES, _WORDS, (ExpressionError,), _make_expression, 12 * 1024
    ),
    Target("config", _config, _CONFIG, _CONFIG_WORDS, largest=16 * 1024, cpu=0.5),
    Target(
        "units",
        _units,
        (b"500ms", b"50MiB", b"[::1]:25", b"unix:/a mode=0660 owner=x", b"limits.tasks=4"),
        (b"s", b":", b".", b"0", b"[", b"mode="),
        largest=1024,
    ),
)
