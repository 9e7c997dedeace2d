"""A message before it is known how it will be judged: what the conditions of settings look at.

Promises: conditions over envelope and message cost no task; the first that asks for an expression's values makes one. Nothing
has been found on a candidate, no settings apply to it, and it ends without ever having run a rule.
"""

from collections.abc import Mapping
from typing import Any

from filterd.engine.expressions import Compiler
from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.task import Environment, Task

__all__ = ["Candidate", "Probe"]


class Probe(Task):
    """A task for expressions only."""

    def __init__(self, request: ScanRequest, environment: Environment, compiler: Compiler) -> None:
        super().__init__(request, environment)
        self._compiler = compiler

    @property
    def task(self) -> "Probe":
        """Itself: a condition may be asked about it as about a candidate."""
        return self

    @property
    def settings(self) -> Mapping[str, Any]:
        return {}

    @property
    def settings_id(self) -> str | None:
        """The name of the settings that the client asks for."""
        return self.envelope.settings_id

    def get(self, expression: str, default: Any = None) -> Any:
        return self._compiler.get(expression, self, default)


class Candidate:
    """One request, and the task that is made when a condition needs one."""

    __slots__ = ("_compiler", "_environment", "_probe", "envelope", "message", "request")

    def __init__(self, request: ScanRequest, environment: Environment, compiler: Compiler) -> None:
        self.request = request
        self.envelope: Envelope = request.envelope
        self.message: Message = request.message
        self._environment = environment
        self._compiler = compiler
        self._probe: Probe | None = None

    @property
    def task(self) -> Probe:
        if self._probe is None:
            self._probe = Probe(self.request, self._environment, self._compiler)
        return self._probe
