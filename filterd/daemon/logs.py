"""What filterd writes down: one line for each message, one for each failure, and what the process itself has to say.

Promises:

* A message has exactly one line, scanned or not, with every id by which it can be found again: the task's, the MTA's and the
  message's own. No header and no text of a rule can make it two, or forge another.
* A rule's bug is logged with the traceback from the user's own line on; the same bug again within a minute is counted, not
  repeated.
* filterd writes nothing of a message's body, and no password. A rule's log lines and exceptions are the rule's affair.
* A log that cannot be written (the disk is full) stops no mail; that is said once on the standard error stream.
"""

import json
import logging
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from time import gmtime, monotonic, strftime, time
from typing import TYPE_CHECKING, Any, Protocol

import orjson

if TYPE_CHECKING:  # the supervisor logs too, and has no use for gevent
    from filterd.mail.request import ScanRequest
    from filterd.mail.verdict import RuleFailure, Verdict

from filterd.mail.log_levels import LEVELS as RULE_LEVELS
from filterd.mail.log_levels import SILENT

__all__ = ["FailureLog", "MessageLog", "reopen_log", "set_up_logging"]

LEVELS = {**RULE_LEVELS, "error": logging.ERROR}
REPEAT_AFTER = 60.0
"""Seconds after which the traceback of a known bug is written again."""

_EXTRAS = ("task_id", "queue_id", "rule")

RESERVED = frozenset(
    "time level logger task_id queue_id message_id door peer ip user from rcpts size action score required_score symbols ms "
    "log_tag timed_out failures text".split()
)
"""What a message's line has by itself."""


def _timestamp(moment: float) -> str:
    return f"{_second(int(moment))}.{int(moment % 1 * 1000):03}Z"


@lru_cache(2)
def _second(moment: int) -> str:
    # Once a second: with it a line of the log takes a fifth less.
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(moment))


def _json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:
        # Half a character or a number of a hundred digits, out of a header or a rule: the slow way knows a spelling.
        return json.dumps(line, default=str)


def _printable(text: str | None, absent: str = "-") -> str:
    """The text in one line, what cannot be printed as backslash and letters: a header may hold anything."""
    if not text:
        return absent
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _traceback_of(record: logging.LogRecord, formatter: logging.Formatter) -> str | None:
    if record.exc_info:
        return formatter.formatException(record.exc_info)
    return getattr(record, "traceback", None)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        line.update((name, value) for name in _EXTRAS if (value := getattr(record, name, None)) is not None)
        if traceback := _traceback_of(record, self):
            line["traceback"] = traceback
        return _json(line)


class TextFormatter(logging.Formatter):
    """For people: time, level, logger, text, and the ids behind it; a traceback follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        ids = "".join(f" {name}={value}" for name in _EXTRAS if (value := getattr(record, name, None)) is not None)
        head = f"{_timestamp(record.created)} {record.levelname.lower():7} {record.name}:"
        lines = [f"{head} {_printable(record.getMessage(), '')}{_printable(ids, '')}"]
        lines += [f"    {_printable(line, '')}" for line in (_traceback_of(record, self) or "").splitlines()]
        return "\n".join(lines)


def set_up_logging(format: str = "text", level: str = "info", file: Path | None = None) -> Callable[[str], None]:
    """Send what filterd and the libraries log to `file`, or to the standard error stream; returns how to write a line there.

    Raises OSError where the file cannot be opened.
    """
    # Characters that have no encoding are written as escapes, as on the standard error stream.
    handler: logging.StreamHandler[Any] = (
        logging.StreamHandler(sys.stderr)
        if file is None
        else logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    )
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    for name in ("notice", "alert", "emerg"):  # Python has no names for these
        logging.addLevelName(LEVELS[name], name.upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS["warning"])
    logging.getLogger("filterd").setLevel(LEVELS[level])
    # A record would otherwise ask for the current thread, which under gevent makes a thread object for every greenlet.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    is_failing = False

    def write(line: str) -> None:
        nonlocal is_failing
        try:
            # Without the handler's lock: each line is one call.
            handler.stream.write(line)
            handler.stream.flush()
            is_failing = False
        except OSError as error:
            if not is_failing and file is not None:
                sys.stderr.write(f"filterd: cannot write to {file}: {error.strerror}\n")
            is_failing = True

    return write


def reopen_log() -> None:
    """Go on in a new file of the same name, where the old one was moved away; raises OSError, and then all is as before."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            old = handler.stream
            handler.stream = handler._open()
            assert old is not None  # it is opened with the handler
            old.close()


class MessageLog:
    """The line for each message. `write` takes a line with its newline."""

    def __init__(self, write: Callable[[str], None], format: str = "json", level: str = "info") -> None:
        self._write = write
        self._render = _json_line if format == "json" else _text_line
        self._render_unscanned = _unscanned_json_line if format == "json" else _unscanned_text_line
        self._least = LEVELS[level]

    def unscanned(self, request: "ScanRequest", why: str) -> None:
        """A message without a verdict: refused, or filterd itself failed. Told at every level, whatever its client wants."""
        self._write(self._render_unscanned(request, why))

    def __call__(self, request: "ScanRequest", verdict: "Verdict") -> None:
        if "no_log" in request.envelope.flags:
            return
        # A message on which something failed is told at every level.
        if not verdict.failures and (verdict.log_level == SILENT or LEVELS[verdict.log_level] < self._least):
            return
        self._write(self._render(request, verdict))


def _head(request: "ScanRequest", level: str, task_id: str | None, message_id: str | None) -> dict[str, Any]:
    envelope = request.envelope
    return {
        "time": _timestamp(time()),
        "level": level,
        "logger": "filterd.message",
        "task_id": task_id,
        "queue_id": envelope.queue_id,
        "message_id": message_id,
        "door": request.door,
        "peer": request.peer,
        "ip": envelope.ip,
        "user": envelope.user,
        "from": envelope.mail_from,
        "rcpts": envelope.rcpts,
        "size": request.message.size,
    }


def _level_of(verdict: "Verdict") -> str:
    """At least a warning where something failed."""
    level = verdict.log_level
    return "warning" if verdict.failures and (level == SILENT or LEVELS[level] < LEVELS["warning"]) else level


def _json_line(request: "ScanRequest", verdict: "Verdict") -> str:
    envelope = request.envelope
    line = _head(request, _level_of(verdict), verdict.task_id, verdict.message_id) | {
        "action": verdict.action,
        "score": round(verdict.score, 3),
        "required_score": verdict.required_score,
        "symbols": {name: round(hit.score, 3) for name, hit in verdict.symbols.items()},
        "ms": round(verdict.seconds * 1000, 3),
    }
    if verdict.log_text is not None:
        line["text"] = verdict.log_text
    line.update(verdict.log_fields)
    if envelope.log_tag:
        line["log_tag"] = envelope.log_tag
    if verdict.timed_out:
        line["timed_out"] = True
    if verdict.failures:
        line["failures"] = [str(failure) for failure in verdict.failures]
    return _json(line) + "\n"


def _unscanned_json_line(request: "ScanRequest", why: str) -> str:
    line = _head(request, "error", None, request.message.message_id) | {"action": None, "unscanned": why}
    if request.envelope.log_tag:
        line["log_tag"] = request.envelope.log_tag
    return _json(line) + "\n"


def _text_head(request: "ScanRequest", level: str, task_id: str | None, message_id: str | None) -> str:
    envelope = request.envelope
    tag = f" tag={_printable(envelope.log_tag)}" if envelope.log_tag else ""
    return (
        f"{_timestamp(time())} {level:7} filterd.message: "
        f"id={task_id or '-'} qid={_printable(envelope.queue_id)} mid=<{_printable(message_id)}>{tag} "
        f"ip={_printable(envelope.ip)} user={_printable(envelope.user)} from=<{_printable(envelope.mail_from)}> "
        f"rcpts=<{_printable(','.join(envelope.rcpts))}> size={request.message.size}"
    )


def _unscanned_text_line(request: "ScanRequest", why: str) -> str:
    return f"{_text_head(request, 'error', None, request.message.message_id)} NOT SCANNED: {_printable(why, '')}\n"


def _text_line(request: "ScanRequest", verdict: "Verdict") -> str:
    fields = "".join(f" {name}={_printable(_shown(value))}" for name, value in verdict.log_fields.items())
    failures = _printable("".join(f"; FAILED {failure}" for failure in verdict.failures), "")
    level = _level_of(verdict)
    if verdict.log_text is not None:
        # However short the text is, what failed is told, and the message can be found by its id.
        text = _printable(verdict.log_text, "")
        return f"{_timestamp(time())} {level:7} filterd.message: id={verdict.task_id} {text}{fields}{failures}\n"
    required = "none" if verdict.required_score is None else f"{verdict.required_score:.2f}"
    symbols = ",".join(
        f"{name}({hit.score:.2f}){{{';'.join(hit.options)}}}" if hit.options else f"{name}({hit.score:.2f})"
        for name, hit in verdict.symbols.items()
    )
    return (
        f"{_text_head(request, level, verdict.task_id, verdict.message_id)} "
        f"{_printable(verdict.action)}: [{verdict.score:.2f}/{required}] [{_printable(symbols, '')}] "
        f"{verdict.seconds * 1000:.1f} ms{fields}{failures}\n"
    )


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_shown, value))
    return "" if value is None else str(value)


class Traced(Protocol):
    """What a failure happened to: a message or a stream."""

    @property
    def id(self) -> str: ...
    @property
    def queue_id(self) -> str | None: ...


class FailureLog:
    """Tells each failure of a rule when it happens; a bug with its traceback, but that only once a minute."""

    def __init__(self, *, remembered: int = 1000) -> None:
        self._log = logging.getLogger("filterd.rule")
        # For each bug when its traceback was written, and how often it happened since.
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._remembered = remembered

    def __call__(self, task: Traced, failure: "RuleFailure") -> None:
        extra = {"task_id": task.id, "queue_id": task.queue_id, "rule": failure.rule}
        if not failure.traceback:
            self._log.warning("%s", failure, extra=extra)
            return
        bug = (failure.rule, failure.where)
        moment, again = self._told.get(bug, (-REPEAT_AFTER, 0))
        now = monotonic()
        if now - moment < REPEAT_AFTER:
            self._told[bug] = moment, again + 1
            self._log.error("%s (%d times since its traceback was logged)", failure, again + 1, extra=extra)
            return
        if len(self._told) >= self._remembered:
            self._told.clear()
        self._told[bug] = now, 0
        self._log.error("%s", failure, extra={**extra, "traceback": failure.traceback})
