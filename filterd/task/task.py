"""A message on its way through the rules, as a rule sees it: what came with it, what it holds, what was found on it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from logging import getLogger
from os import urandom
from types import MappingProxyType
from typing import Any, TypeVar

from filterd.mail.address import Address
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.mail.results import PreResult, Results, action_name
from filterd.mail.urls import Url, parse_url
from filterd.mail.verdict import Hit, RuleFailure
from filterd.net.greenlets import running
from filterd.task.rule_log import RuleLog, message_level
from filterd.task.scope import Child, Environment, Scope, sleep

__all__ = ["Task"]

T = TypeVar("T")

_URLS = 1000

_serial = count()
_prefix = urandom(4).hex()


class Task(Scope):
    """One message being scanned: what came with it, what it holds, what was found on it."""

    log_fields: Mapping[str, Any] = MappingProxyType({})
    """Further values for its line in the log."""
    log_text: str | None = None
    """The text of that line, where it is not the usual one."""

    def __init__(self, request: ScanRequest, environment: Environment) -> None:
        self.id = f"{_prefix}{next(_serial) & 0xFFFFFF:06x}"
        super().__init__(environment, self.id, environment.task_timeout)
        self.began = self.deadline.end - environment.task_timeout
        self.request = request
        self.envelope = request.envelope
        self.message: Message = request.message
        self.results = Results(environment.scoring)
        self.timed_out = False
        self.messages: dict[str, str] = {}
        self.new_body: bytes | None = None
        self.more_flags: frozenset[str] = frozenset()
        self.new_subject: str | None = None
        self.milter_reply: dict[str, Any] = {}
        self.failures: list[RuleFailure] = []
        self.timings: dict[str, float] = {}
        self._log_level = "info"
        self._vars: dict[str, Any] | None = None
        self._cache: dict[Any, Any] | None = None

    # -- the request

    @property
    def ip(self) -> str | None:
        """The client's address as text, None when the client sent none."""
        return self.envelope.ip

    @property
    def mail_from(self) -> Address | None:
        """The envelope sender; the null sender is an empty Address, None means the client sent none."""
        return self.envelope.mail_from

    @property
    def rcpts(self) -> Sequence[Address]:
        return self.envelope.rcpts

    @property
    def helo(self) -> str | None:
        return self.envelope.helo

    @property
    def hostname(self) -> str | None:
        """The client's name as the MTA resolved it."""
        return self.envelope.hostname

    @property
    def user(self) -> str | None:
        """The authenticated SMTP user."""
        return self.envelope.user

    @property
    def queue_id(self) -> str | None:
        return self.envelope.queue_id

    @property
    def deliver_to(self) -> str | None:
        return self.envelope.deliver_to

    @property
    def mta_name(self) -> str | None:
        return self.envelope.mta_name

    @property
    def tls(self) -> bool:
        """The client spoke TLS to the MTA."""
        return self.envelope.tls

    @property
    def flags(self) -> frozenset[str]:
        """What the client, or the settings that apply, asked for: `pass_all`, `no_log`, `milter`, …"""
        return self.envelope.flags | self.more_flags if self.more_flags else self.envelope.flags

    def get_request_header(self, name: str) -> str | None:
        """Any header the client sent with the request, case-insensitive; None when absent."""
        return self.envelope.get(name)

    def get_resolver(self) -> Any:
        """Rspamd's older form of DNS: an object with `resolve_a(name=…, callback=…)` and its like, and `resolve(type, …)`."""
        make = self.environment.resolver_of
        if make is None:
            raise RuntimeError("this task has no resolver: it was made outside of filterd")
        return make(self)

    def inject_url(self, text: str) -> Url | None:
        """Add a link that a rule has found (in a QR code, say) to `message.urls`, for the rules after it.

        Gives the link, None for what leads nowhere on the net. One that is there already is not added again; 1000 can be there.
        """
        url = parse_url(text, source="injected")
        if url is None:
            return None
        urls = self.message.urls
        for have in urls:
            if str(have) == str(url):
                return have
        if len(urls) < _URLS:
            urls.append(url)
        return url

    # -- results

    def insert_result(self, symbol: str, weight: float = 1.0, *options: object) -> None:
        """Record a hit: score = configured score × weight. Options are shown as text."""
        self.results.insert(symbol, weight, [str(option) for option in _flat(options)] if options else ())

    def adjust_result(self, symbol: str, score: float, *options: object) -> None:
        """Set the score of a symbol that was inserted; raises KeyError otherwise."""
        self.results.adjust(symbol, score, [str(option) for option in _flat(options)])

    def remove_result(self, symbol: str) -> bool:
        """Take a symbol back; False where it was not there."""
        return self.results.remove(symbol)

    def has_symbol(self, symbol: str) -> bool:
        return symbol in self.results.symbols

    @property
    def symbols(self) -> Mapping[str, Hit]:
        """What was found so far, read-only."""
        return MappingProxyType(self.results.symbols)

    def result(self, symbol: str) -> Hit | None:
        """The hit of a symbol, None where there is none; waits for the rule that makes it.

        Raises LookupError for a symbol nobody makes, or a rule that runs later, and RuntimeError with the chain where two rules
        would wait for each other.
        """
        raise NotImplementedError  # pragma: no cover - the scheduler's task has it

    @property
    def score(self) -> float:
        return self.results.judgement()[1]

    @property
    def action(self) -> str:
        return self.results.judgement()[0]

    def threshold(self, action: str) -> float | None:
        """The score that earns an action, None where there is none."""
        return self.results.scoring.thresholds.get(action_name(action))

    # -- control

    def set_pre_result(
        self,
        action: str,
        message: str | None = None,
        module: str | None = None,
        score: float | None = None,
        priority: int = 1,
        least: bool = False,  # noqa: FBT001, FBT002 - Rspamd's arguments, in Rspamd's order
    ) -> None:
        """Decide before the score does. `least=True` makes the action a floor. The remaining ordinary rules are skipped."""
        self.results.decide(PreResult(action_name(action), message, module, score, priority, least))

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the settings that apply say, empty as usual."""
        raise NotImplementedError  # pragma: no cover - the scheduler's task has it

    @property
    def settings_id(self) -> str | None:
        """The name of the settings that apply, if they have one."""
        raise NotImplementedError  # pragma: no cover - the scheduler's task has it

    def disable_symbol(self, symbol: str) -> bool:
        """Keep the rule that makes a symbol from beginning; False where it has begun and ended already."""
        raise NotImplementedError  # pragma: no cover - the scheduler's task has it

    def enable_symbol(self, symbol: str) -> bool:
        """Let a rule run that settings or another rule have disabled; False where that comes too late."""
        raise NotImplementedError  # pragma: no cover - the scheduler's task has it

    # -- the reply

    def set_milter_reply(self, reply: Mapping[str, Any]) -> None:
        """Merge into the reply object for the MTA: add_headers, remove_headers, change_from, add_rcpt, …"""
        for key, value in reply.items():
            have = self.milter_reply.get(key)
            if isinstance(have, dict) and isinstance(value, Mapping):
                for name, entry in value.items():
                    if key == "add_headers" and name in have:
                        first = have[name] if isinstance(have[name], list) else [have[name]]
                        have[name] = [*first, *(entry if isinstance(entry, list) else [entry])]
                    else:
                        have[name] = entry
            elif isinstance(have, list) and isinstance(value, list):
                have += [entry for entry in value if entry not in have]
            elif isinstance(value, Mapping):
                self.milter_reply[key] = dict(value)
            else:
                self.milter_reply[key] = list(value) if isinstance(value, list) else value

    def add_header(self, name: str, value: str, order: int = -1) -> None:
        """Ask the MTA to add a header; order 0 is the top, -1 the end."""
        self.set_milter_reply({"add_headers": {name: {"value": value, "order": order}}})

    def remove_header(self, name: str, index: int = 0) -> None:
        """Ask the MTA to remove a header: its occurrence `index` from 1, negative from the end, 0 for all."""
        self.set_milter_reply({"remove_headers": {name: index}})

    def append_message(self, text: str, category: str = "smtp_message") -> None:
        """A text for the client under a category."""
        have = self.messages.get(category)
        self.messages[category] = text if have is None else f"{have}; {text}"

    def replace_body(self, text: str | bytes) -> None:
        """Another body for the message; clients that asked for it (`Flags: body_block`) get the whole message with it."""
        self.new_body = text.encode() if isinstance(text, str) else text

    # -- concurrency, variables, log

    def spawn(self, function: Callable[..., T], *args: Any) -> Child[T]:
        """Run a function beside this rule; the message waits for it. `.get()` on what it returns waits for its value."""
        return self.start(function, *args)

    def sleep(self, seconds: float) -> None:
        """Let others run for so many seconds; 0 is one turn of the loop."""
        sleep(seconds)

    @property
    def vars(self) -> dict[str, Any]:
        """For rules to share among themselves, for this message."""
        if self._vars is None:
            self._vars = {}
        return self._vars

    @property
    def cache(self) -> dict[Any, Any]:
        """For what is computed once per message."""
        if self._cache is None:
            self._cache = {}
        return self._cache

    def get(self, expression: str, default: Any = None) -> Any:
        """The value of an expression, as `from('smtp').get_domain.lower`; `default` where it has none.

        It is compiled once: write it out, and do not put it together. Raises ExpressionError for one that cannot be right.
        """
        raise NotImplementedError  # pragma: no cover - the scheduler's task has it

    @property
    def log_level(self) -> str:
        """The level of this message's line in the log: "info", or what a rule has set.

        "silent", or None, leaves the line out, unless something failed. Raises ValueError for what is no level.
        """
        return self._log_level

    @log_level.setter
    def log_level(self, level: str | None) -> None:
        self._log_level = message_level(level)

    @property
    def log(self) -> RuleLog:
        """A logger whose lines carry the task's id, the queue id and the rule's name."""
        runner = running()
        job = None if runner is None else runner.job
        return RuleLog(
            getLogger("filterd.rule"),
            {"task_id": self.id, "queue_id": self.queue_id, "rule": None if job is None else job.name},
        )


def _flat(options: Iterable[object]) -> Iterable[object]:
    for option in options:
        if isinstance(option, (list, tuple)):
            yield from option
        else:
            yield option
