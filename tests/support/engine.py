"""An engine around a few functions, as a test needs it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from filterd.engine.registry import Rule, make_rule
from filterd.engine.scheduler import Engine
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.results import GroupCap, Scoring
from filterd.mail.verdict import Verdict
from filterd.net.greenlets import Crew
from filterd.net.network import Network
from filterd.task import Environment

__all__ = ["MAIL", "engine_of", "rule_of", "scan_with"]

MAIL = b"From: A <a@example.org>\r\nTo: b@example.net\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n\r\nHi\r\n"
THRESHOLDS = {"reject": 15.0, "add header": 6.0, "greylist": 4.0}


def rule_of(function: Callable[..., Any] | None, name: str | None = None, **keywords: Any) -> Rule:
    """A rule named after its function, in upper case, with score 1."""
    code = getattr(function, "__code__", None)
    place = (code.co_filename, code.co_firstlineno) if code else (__file__, 1)
    keywords.setdefault("score", 1.0)
    return make_rule(name or getattr(function, "__name__", "").upper(), function, *place, **keywords)


def engine_of(
    *rules: Rule | Callable[..., Any],
    task_timeout: float = 8.0,
    caps: Mapping[str, GroupCap] | None = None,
    network: Network | None = None,
    files: Iterable[str] = (),
    thresholds: Mapping[str, float] = THRESHOLDS,
    **keywords: Any,
) -> Engine:
    """An engine with these rules; a plain function becomes one."""
    made = [one if isinstance(one, Rule) else rule_of(one) for one in rules]
    scoring = Scoring({one.name: one.symbol_score for one in made}, caps or {}, thresholds)
    environment = Environment(network or Network(), Crew(), scoring, {}, task_timeout)
    files = set(files) | {one.file for one in made}
    return Engine(made, environment, files=files, **keywords)


def scan_with(
    *rules: Rule | Callable[..., Any], raw: bytes = MAIL, envelope: Envelope | None = None, **keywords: Any
) -> Verdict:
    """Scan one message with these rules."""
    return engine_of(*rules, **keywords).scan(ScanRequest(Message(raw), envelope or Envelope({})))
