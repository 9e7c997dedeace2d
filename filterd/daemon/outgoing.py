"""The `[headers.*]` section and the expressions of `[log]`, compiled and made into rules.

Promises: everything that is wrong in them is told at once, each with its key, and the column in the expression.
"""

from collections.abc import Iterator

from filterd.daemon.config import Config
from filterd.daemon.logs import RESERVED
from filterd.daemon.origins import dotted
from filterd.engine.expressions import Compiler, Expression, ExpressionError
from filterd.engine.expressions.expression import ExpressionKind
from filterd.engine.loader import Problem
from filterd.engine.outgoing import HeaderField, LogField, rule_of_header, rule_of_log
from filterd.engine.registry import RegistrationError, Registry, Rule

__all__ = ["add_outgoing"]


def add_outgoing(config: Config, registry: Registry, compiler: Compiler) -> list[Problem]:
    """Register the rules; what is wrong with them."""
    section = _Section(config, compiler)
    for rule in [*section.headers(), *section.log()]:
        try:
            registry.add(rule)
        except RegistrationError as error:
            section.problems.append(Problem(rule.file, str(error)))
    return section.problems


class _Section:
    def __init__(self, config: Config, compiler: Compiler) -> None:
        self.config = config
        self.compiler = compiler
        self.problems: list[Problem] = []

    def headers(self) -> Iterator[Rule]:
        for title, header in self.config.headers.items():
            path = ("headers", title)
            value = self._compiled((*path, "value"), header.value, "template")
            when = self._compiled((*path, "when"), header.when, "condition")
            remove = None if header.remove is False else 0 if header.remove is True else header.remove
            field = HeaderField(header.name or title, value, when, remove, header.order)
            yield rule_of_header(title, field, file=self.config.origin(dotted(path)))

    def log(self) -> Iterator[Rule]:
        log = self.config.log
        file = self.config.origin("log")
        for name, text in log.fields.items():
            path = ("log", "fields", name)
            if name in RESERVED:
                self.problems.append(Problem(self._where(path), f"the log line has a {name} already"))
            if (value := self._compiled(path, text, "selector")) is not None:
                yield rule_of_log(LogField(name, value), file=file)
        if (template := self._compiled(("log", "template"), log.template, "template")) is not None:
            yield rule_of_log(LogField(None, template), file=file)

    def _compiled(self, path: tuple[str, ...], text: str | None, kind: ExpressionKind) -> Expression | None:
        if text is None:
            return None
        try:
            return self.compiler.compile(text, kind)
        except ExpressionError as error:
            self.problems.append(Problem(self._where(path), error.sentence, error.picture))
            return None

    def _where(self, path: tuple[str, ...]) -> str:
        key = dotted(path)
        return f"{self.config.origin(key)}: {key}"
