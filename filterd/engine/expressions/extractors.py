"""What expressions read from a message: Rspamd's extractors, as far as a task can answer them, and a few names of our own.

Promises: none waits, none raises; where there is nothing it is None, also for an empty list.
"""

import hashlib
from base64 import b32encode, b64encode
from calendar import timegm
from collections.abc import Callable, Sequence
from os import environ
from time import gmtime, monotonic, strftime, time
from typing import Any, Final, Literal

from filterd.engine.expressions.kinds import ATTRIBUTES
from filterd.engine.expressions.vocabulary import Extractor
from filterd.mail.address import Address
from filterd.mail.mime import Part
from filterd.mail.received import Received
from filterd.mail.urls import Url
from filterd.mail.verdict import Hit
from filterd.task import Task

__all__ = ["EXTRACTORS", "HASHES", "Encoding", "HashName", "encoded"]

Side = Literal["smtp", "mime", "any", "orig"]
Encoding = Literal["hex", "base32", "base64"]
HashName = Literal["blake2", "sha256", "sha1", "sha512", "md5"]
WordForm = Literal["raw", "norm"]

HASHES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "blake2": lambda data: hashlib.blake2b(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}


def encoded(digest: bytes, encoding: str) -> str:
    """A digest as text."""
    if encoding == "base64":
        return b64encode(digest).decode()
    return b32encode(digest).decode().rstrip("=").lower() if encoding == "base32" else digest.hex()


def _from(task: Task, side: Side = "any", _orig: Literal["orig"] = "orig") -> Address | None:
    # "orig" is Rspamd's word for what an alias was before; nothing is rewritten here.
    if side != "mime" and task.mail_from is not None:
        return task.mail_from
    authors = task.message.from_ if side != "smtp" else []
    return authors[0] if authors else None


def _rcpts(task: Task, side: Side = "any", _orig: Literal["orig"] = "orig") -> Sequence[Address] | None:
    if side != "mime" and task.rcpts:
        return task.rcpts
    return ([*task.message.to, *task.message.cc] or None) if side != "smtp" else None


def _to(task: Task) -> str | None:
    """The principal recipient."""
    if task.deliver_to:
        return task.deliver_to
    rcpts = _rcpts(task)
    return rcpts[0] if rcpts else None


def _header(task: Task, name: str, *flags: Literal["full", "strong"]) -> Any:
    if not flags:
        return task.message.header(name)
    fields = [one for one in task.message.headers(name) if "strong" not in flags or one.name == name]
    texts = [one.decoded for one in fields]
    return (texts or None) if "full" in flags else texts[0] if texts else None


def _headers(task: Task, name: str) -> list[str] | None:
    return [one.decoded for one in task.message.headers(name)] or None


def _attachments(task: Task, encoding: Encoding = "hex", hash: HashName = "sha256") -> list[str] | None:
    return [encoded(HASHES[hash](part.content), encoding) for part in task.message.attachments] or None


def _received(task: Task, field: str = "") -> list[Any] | None:
    hops = task.message.received
    if not field:
        return hops or None
    return _attributes(hops, Received, field)


def _attributes(values: Sequence[Any], type_: type, name: str) -> list[Any] | None:
    attribute = ATTRIBUTES[type_][name][0]
    found = (getattr(value, attribute) for value in values)
    return [one for one in found if one is not None and one != ""] or None


def _field_kind(type_: type) -> Callable[[tuple[Any, ...]], Any]:
    def kind(arguments: tuple[Any, ...]) -> Any:
        if not arguments:
            return list[type_]  # type: ignore[valid-type]  # a type made of what is known only now
        if arguments[0] not in ATTRIBUTES[type_]:
            raise ValueError(f"there is no {arguments[0]!r} in it; there are {', '.join(ATTRIBUTES[type_])}")
        return list[ATTRIBUTES[type_][arguments[0]][1]]  # type: ignore[misc]  # likewise

    return kind


def _urls(task: Task, field: str = "") -> list[Any] | None:
    urls: list[Url] = task.message.urls
    return _attributes(urls, Url, field) if field else (urls or None)


def _specific_urls(
    task: Task, *, limit: int = 10, esld_limit: int = 0, flags: tuple[str, ...] = (), exclude_flags: tuple[str, ...] = ()
) -> list[Any] | None:
    """Links in order, of each registrable domain at most `esld_limit`; those with one of `flags`, without `exclude_flags`."""
    counts: dict[str, int] = {}
    found: list[Url] = []
    for url in task.message.urls:
        if len(found) >= limit:
            break
        if (flags and url.flags.isdisjoint(flags)) or not url.flags.isdisjoint(exclude_flags):
            continue
        counts[url.domain] = counts.get(url.domain, 0) + 1
        if not esld_limit or counts[url.domain] <= esld_limit:
            found.append(url)
    return found or None


def _emails(task: Task, field: Literal["", "get_user", "get_host", "get_addr", "user", "domain", "addr"] = "") -> Any:
    name = {"get_user": "user", "get_host": "domain", "get_addr": "addr"}.get(field, field)
    emails = task.message.emails
    return _attributes(emails, Address, name) if name else (list(emails) or None)


def _time(task: Task, what: Literal["connect", "message"] = "message", format: str = "") -> Any:
    """Seconds since 1970, or by `format` as strftime has it, in UTC."""
    if what == "message":
        date = task.message.date
        if date is None:
            return None
        seconds = float(timegm(date.utctimetuple()))
    else:
        seconds = time()
    if not format:
        return seconds
    plain = format.removeprefix("!").replace("\0", "").encode("utf-8", "replace").decode()
    return strftime(plain, gmtime(seconds))


def _words(task: Task, form: WordForm = "norm") -> list[str] | None:
    words = [word for part in task.message.text_parts for word in part.words]
    return ([word.lower() for word in words] if form == "norm" else words) or None


def _symbol(task: Task, name: str) -> Hit | None:
    return task.results.symbols.get(name)


def _symbols(task: Task, form: Literal["names", "scores", "options"] = "names") -> list[str] | None:
    """Their names, `NAME(1.50)`, or `NAME(1.50){option;option}`."""
    hits = task.results.symbols.values()
    if form == "names":
        return [hit.name for hit in hits] or None
    scored = [f"{hit.name}({hit.score:.2f})" for hit in hits]
    if form == "options":
        scored = [f"{text}{{{';'.join(hit.options)}}}" for text, hit in zip(scored, hits, strict=True)]
    return scored or None


def _variable(task: Task, name: str) -> Any:
    return task.vars.get(name)


def _cached(task: Task, name: str) -> Any:
    return task.cache.get(name)


def _side_stage(envelope: str) -> Callable[[tuple[Any, ...]], str]:
    return lambda given: envelope if given[:1] == ("smtp",) else "message"


def _time_stage(given: tuple[Any, ...]) -> str:
    return "connect" if given[:1] == ("connect",) else "message"


def _id(_task: Task, value: str = "") -> str:
    return value


def _list(_task: Task, *values: Any) -> list[str] | None:
    return [str(value) for value in values] or None


EXTRACTORS: Final = (
    # What stands in the expression itself.
    Extractor("id", _id, str, "connect"),
    Extractor("list", _list, list[str], "connect"),
    Extractor("env", lambda _task, name: environ.get(name), str, "connect"),
    # The client and the envelope.
    Extractor("ip", lambda task: task.ip, str, "connect"),
    Extractor("hostname", lambda task: task.hostname, str, "connect"),
    Extractor("mta_name", lambda task: task.mta_name, str, "connect"),
    Extractor("tls", lambda task: task.tls, bool, "tls"),
    Extractor("helo", lambda task: task.helo, str, "helo"),
    Extractor("user", lambda task: task.user, str, "auth"),
    Extractor("authenticated", lambda task: bool(task.user), bool, "auth"),
    Extractor("from", _from, Address, stage_of=_side_stage("mail")),
    Extractor("mail_from", lambda task: task.mail_from, Address, "mail"),
    Extractor("rcpts", _rcpts, list[Address], stage_of=_side_stage("rcpt")),
    Extractor("to", _to, str, "rcpt"),
    Extractor("deliver_to", lambda task: task.deliver_to, str, "rcpt"),
    Extractor("queueid", lambda task: task.queue_id, str, "data"),
    Extractor("queue_id", lambda task: task.queue_id, str, "data"),
    Extractor("uid", lambda task: task.id, str, "connect"),
    Extractor("request_header", lambda task, name: task.get_request_header(name), str, "connect"),
    Extractor("flags", lambda task: sorted(task.flags) or None, list[str], "connect"),
    Extractor("settings_id", lambda task: task.settings_id, str, "connect"),
    Extractor("time", _time, returns_of=lambda given: str if len(given) > 1 else float, stage_of=_time_stage),
    # The message.
    Extractor("header", _header, returns_of=lambda given: list[str] if "full" in given[1:] else str),
    Extractor("headers", _headers, list[str]),
    Extractor("subject", lambda task: task.message.subject, str),
    Extractor("messageid", lambda task: task.message.message_id, str),
    Extractor("message_id", lambda task: task.message.message_id, str),
    Extractor("size", lambda task: task.message.size, int),
    Extractor("digest", lambda task: task.message.digest, str),
    Extractor("received_count", lambda task: len(task.message.received), int),
    Extractor("received", _received, returns_of=_field_kind(Received)),
    Extractor("parts", lambda task: task.message.parts or None, list[Part]),
    Extractor("attachments", _attachments, list[str]),
    Extractor("files", lambda task: [one.filename for one in task.message.parts if one.filename] or None, list[str]),
    Extractor("words", _words, list[str]),
    Extractor("urls", _urls, returns_of=_field_kind(Url)),
    Extractor("specific_urls", _specific_urls, list[Url]),
    Extractor("emails", _emails, returns_of=lambda given: list[str] if given else list[Address]),
    # What rules have found and kept.
    Extractor("symbol", _symbol, Hit, "results"),
    Extractor("symbols", _symbols, list[str], "score"),
    Extractor("score", lambda task: task.score, float, "score"),
    Extractor("action", lambda task: task.action, str, "score"),
    Extractor("required_score", lambda task: task.results.scoring.required_score, float, "connect"),
    Extractor("threshold", lambda task, action="reject": task.threshold(action), float, "connect"),
    Extractor("failures", lambda task: [str(one) for one in task.failures] or None, list[str], "score"),
    Extractor("elapsed", lambda task: monotonic() - task.began, float, "score"),
    Extractor("var", _variable, object, "results"),
    Extractor("pool_var", _variable, object, "results"),
    Extractor("task_cache", _cached, object, "results"),
)
"""All of them."""
