"""What the configuration has filterd say besides the verdict: header fields for the MTA, and further values in the log.

Each is a rule of the last stage, where scores and action are final; it never waits, and one that raises costs only itself.

Promises:

* A value cannot break out of its field: control characters become blanks, other letters encoded words (RFC 2047), and a line
  stays below the 998 bytes of RFC 5322 2.1.1. One that is empty is not added.
* Header fields are made before the other rules of the last stage run, log values after them. Log values are made for messages
  too on which no rule runs.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from filterd.engine.expressions import Expression
from filterd.engine.registry import Rule
from filterd.mail.edits import encode_words
from filterd.task import Task

__all__ = ["MAX_VALUE", "HeaderField", "LogField", "rule_of_header", "rule_of_log"]

MAX_VALUE: Final = 16 * 1024
"""Characters of a header field's value, and of a value in the log; what is longer is cut and ends in `...`."""

_LINE: Final = 900
_CONTROLS: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")
_FIRST, _LAST = -1_000_000, 1_000_000


@dataclass(frozen=True, slots=True)
class HeaderField:
    """A field `name`; `value` is a template, `when` a condition, `remove` the occurrence to take away first (0: all)."""

    name: str
    value: Expression | None = None
    when: Expression | None = None
    remove: int | None = None
    order: int = -1

    def __call__(self, task: Task) -> None:
        if self.when is not None and not self.when(task):
            return
        if self.remove is not None:
            task.remove_header(self.name, self.remove)
        text = "" if self.value is None else field_text(self.value(task))
        if text:
            task.add_header(self.name, text, self.order)


@dataclass(frozen=True, slots=True)
class LogField:
    """A further value of the log line by its `name`; without a name the text of the line itself."""

    name: str | None
    value: Expression

    def __call__(self, task: Task) -> None:
        found = self.value(task)
        if self.name is None:
            task.log_text = _cut(found)
        else:
            task.log_fields = {**task.log_fields, self.name: _plain(found)}


def rule_of_header(title: str, field: HeaderField, *, file: str = "") -> Rule:
    """The rule that does it; `title` is the name it has in the configuration, `file` where that is."""
    return _rule(f"headers.{title}", field, _FIRST, "ignore_passthrough explicit_disable empty nostat", file)


def rule_of_log(field: LogField, *, file: str = "") -> Rule:
    """The same for a value in the log."""
    flags = "ignore_passthrough explicit_disable empty nostat always"
    return _rule("log.template" if field.name is None else f"log.fields.{field.name}", field, _LAST, flags, file)


def _rule(name: str, function: Callable[[Task], None], priority: int, flags: str, file: str) -> Rule:
    return Rule(name, function, type="idempotent", priority=priority, flags=frozenset(flags.split()), inline=True, file=file)


def field_text(text: str) -> str:
    """A text as it may stand in a header field."""
    plain = encode_words(_CONTROLS.sub(" ", _cut(text)).strip())
    lines = []
    while len(plain) > _LINE:
        # A fold stands for the blank it is put at (RFC 5322 2.2.3); where there is none, after a comma, or where it must.
        at = plain.rfind(" ", 1, _LINE)
        end = at if at > 0 else plain.rfind(",", 1, _LINE) + 1 or _LINE
        lines.append(plain[:end])
        plain = plain[end + 1 :] if at > 0 else plain[end:]
    return "\n\t".join([*lines, plain])


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return _cut(str(value))
