"""Rspamd's HTTP scan protocol as values: which command a request asks for, its headers as text, the verdict as JSON.

The document is Rspamd's own behaviour (3.4, with the fields that 4.x added): commands are whole paths in any case, every
`key=value` of the query counts as one more request header, replies are JSON objects whose fields stand in Rspamd's order.

Promises:

* A verdict always renders: its numbers that are not finite become 0.0, what JSON cannot hold (lone surrogates, bytes, objects
  a rule put into the milter reply) becomes the nearest text.
* Numbers have at most six decimals. All values of `messages` are strings, as strict clients expect: the failures of rules
  stand there together under `rule_failures`.
* An error is never an empty object, and nothing else than `{"error": ...}`.
"""

from collections.abc import Container, Iterable, Mapping
from math import isfinite
from typing import Literal
from urllib.parse import unquote_to_bytes

import orjson

from filterd.mail.hosts import registrable
from filterd.mail.urls import Url
from filterd.mail.verdict import Hit, Verdict
from filterd.proto.http1 import Request

__all__ = [
    "COMMANDS",
    "INVALID_COMMAND",
    "JSON",
    "PLAIN",
    "PONG",
    "Command",
    "command",
    "header_text",
    "render_error",
    "render_old_verdict",
    "render_verdict",
    "scan_headers",
]

Command = Literal["scan", "old scan", "ping"]

COMMANDS: Mapping[str, Command] = {
    "checkv2": "scan",
    "ping": "ping",
    # These get the reply in its old shape, with what was found below "default".
    **dict.fromkeys(("check", "scan", "symbols", "process", "report", "report_ifspam"), "old scan"),
    # To come: skip, metrics and the multipart checkv3.
}

INVALID_COMMAND = "invalid command"  # the error text for every path that is not in COMMANDS; its status is 500
PONG = b"pong\r\n"
PLAIN = "text/plain"
JSON = "application/json"

_DEEPEST = 32  # of what a rule put into a reply, where it has to be made fit for JSON
_SCORES = 6  # decimals


def command(target: str) -> Command | None:
    """What a request target asks for, or None. Absolute form (RFC 9112 3.2.2) is understood as well."""
    path = target.partition("?")[0]
    if not path.startswith("/"):
        path = path.partition("://")[2].partition("/")[2]
    return COMMANDS.get(path.removeprefix("/").lower())


def scan_headers(request: Request) -> dict[str, list[str]]:
    """All headers of a scan request by lower-case name, values in order; those of the query come after the real ones.

    Values are UTF-8, else Latin-1. In the query `+` is a blank, and a key without a value has the value "".
    """
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name.decode(), []).append(header_text(value))
    query = request.target.partition("#")[0].partition("?")[2]
    for pair in query.split("&") if query else ():
        key, _, raw = pair.replace("+", " ").partition("=")
        if key:
            headers.setdefault(header_text(unquote_to_bytes(key)).lower(), []).append(header_text(unquote_to_bytes(raw)))
    return headers


def render_verdict(verdict: Verdict, *, flags: Container[str] = ()) -> bytes:
    """The body of a /checkv2 reply. The request's `flags` may ask for more: `groups` and `profile` (milliseconds by rule)."""
    required = verdict.required_score
    reply: dict[str, object] = {
        "is_skipped": verdict.is_skipped,
        "score": _number(verdict.score),
        "required_score": None if required is None else _number(required),
        "action": verdict.action,
    }
    if verdict.passthrough_module is not None:
        reply["passthrough_module"] = verdict.passthrough_module
    if verdict.subject is not None:
        reply["subject"] = verdict.subject
    if verdict.milter_action is not None:
        reply["reject"] = verdict.milter_action
    if verdict.thresholds:
        reply["thresholds"] = {action: _number(score) for action, score in verdict.thresholds.items()}
    reply["symbols"] = {name: _symbol(hit) for name, hit in verdict.symbols.items()}
    if "groups" in flags:
        reply["groups"] = _groups(verdict)
    _add_message_parts(reply, verdict, flags)
    if verdict.milter:
        reply["milter"] = verdict.milter
    return _json(reply)


def _add_message_parts(reply: dict[str, object], verdict: Verdict, flags: Container[str]) -> None:
    messages: Mapping[str, str] = verdict.messages
    if verdict.failures:
        messages = {**messages, "rule_failures": "; ".join(map(str, verdict.failures))}
    reply["messages"] = messages
    if verdict.urls:
        reply["urls"] = _urls(verdict.urls, extended="ext_urls" in flags)
    if verdict.emails:
        reply["emails"] = verdict.emails
    if "profile" in flags:
        reply["profile"] = {rule: _number(seconds * 1000.0) for rule, seconds in verdict.timings.items()}
    if verdict.message_id is not None:
        reply["message-id"] = verdict.message_id
    reply["time_real"] = _number(verdict.seconds)


def render_old_verdict(verdict: Verdict, *, flags: Container[str] = ()) -> bytes:
    """The body of a reply to the old commands: symbols stand among the numbers they are summed up in."""
    required = verdict.required_score
    found: dict[str, object] = {
        # In Rspamd's order of actions this one is stricter than those that mark.
        "is_spam": verdict.is_spam or verdict.action == "soft reject",
        "is_skipped": verdict.is_skipped,
        "score": _number(verdict.score),
        "required_score": None if required is None else _number(required),
        "action": verdict.action,
    }
    if verdict.subject is not None:
        found["subject"] = verdict.subject
    for name, hit in verdict.symbols.items():
        symbol = _symbol(hit)
        del symbol["metric_score"]
        found.setdefault(name, symbol)  # no symbol goes over the sum
    reply: dict[str, object] = {"default": found}
    _add_message_parts(reply, verdict, flags)
    if verdict.milter:
        reply["rmilter"] = verdict.milter
    return _json(reply)


def render_error(text: str) -> bytes:
    """The body of an error reply; Rspamd puts the text into the status line too.

    Without Rspamd's `error_domain`: Haraka's plugin looks at no status, and takes all but a lone `error` for a verdict, and a
    clean one.
    """
    return _json({"error": text})


def _symbol(hit: Hit) -> dict[str, object]:
    score, metric = hit.score, hit.metric_score
    # Rounding is a quarter of a microsecond, and the common hit is worth exactly its configured score.
    metric = metric if isfinite(metric) else 0.0
    symbol: dict[str, object] = {
        "name": hit.name,
        "score": metric if score == metric else _number(score),
        "metric_score": metric,
    }
    if hit.description is not None:
        symbol["description"] = hit.description
    if hit.options:
        symbol["options"] = hit.options
    return symbol


def _urls(urls: Iterable[Url], *, extended: bool) -> list[object]:
    if not extended:
        return list(dict.fromkeys(url.host for url in urls))
    return [_extended(url) for url in urls]


def _extended(url: Url) -> dict[str, object]:
    told: dict[str, object] = {"url": str(url), "tld": url.domain, "host": url.host, "flags": sorted(url.flags)}
    if url.phished is not None:
        # What the reader sees instead.
        told["linked_url"] = {"url": url.shown, "tld": registrable(url.phished), "host": url.phished, "flags": []}
    return told


def _groups(verdict: Verdict) -> dict[str, dict[str, float]]:
    scores: dict[str, float] = {}
    for hit in verdict.symbols.values():
        for group in hit.groups:
            scores[group] = scores.get(group, 0.0) + hit.score
    return {group: {"score": _number(score)} for group, score in scores.items()}


def _number(value: float) -> float:
    return round(value, _SCORES) if isfinite(value) else 0.0


def header_text(value: bytes) -> str:
    """A header's value as text: UTF-8, else Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _json(reply: Mapping[str, object]) -> bytes:
    try:
        return orjson.dumps(reply, default=_known)
    except TypeError:  # orjson.JSONEncodeError is one
        return orjson.dumps(_fit(reply, _DEEPEST))


def _known(value: object) -> object:
    """The cheap case of what orjson does not know: another mapping than dict."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _fit(value: object, depth: int) -> object:
    """`value` as JSON can hold it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else 0.0
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    if depth and isinstance(value, Mapping):
        return {str(_fit(str(key), 0)): _fit(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_fit(item, depth - 1) for item in value]
    text = header_text(value) if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "replace").decode()
