"""DNS for rules: one question, many at once, and the older form with a resolver object. `dns` in rule files.

Promises:

* `(True, records)` or `(False, Failure)`; the texts of failures are those rules compare with, as they are.
* A message asks `[dns] max_requests` questions at most, those with `forced=True` not counted: who has a name looked up for
  every word of a mail would be a burden to others. Hooks are not messages and have no such limit.
* A name that cannot be one is a failure, because names come from mail; an unknown type is a ValueError.
"""

from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic
from typing import Any, cast, overload

from filterd.api._callback import scope_of, taken_by
from filterd.net.resolver import Resolver as NetResolver
from filterd.net.resolver import known_type, question_of
from filterd.outcome import Failure, OkFirst
from filterd.proto.dns import (
    TYPES,
    CaaRecord,
    MxRecord,
    Records,
    SoaRecord,
    SrvRecord,
    TlsaRecord,
    list_name,
)
from filterd.task import Scope, Task

__all__ = [
    "CaaRecord",
    "MxRecord",
    "Records",
    "Resolver",
    "SoaRecord",
    "SrvRecord",
    "TlsaRecord",
    "many",
    "request",
    "reverse",
    "statistics",
]


@overload
def request(
    name: str,
    type: str = "a",
    *,
    task: Scope | None = None,
    callback: None = None,
    timeout: float | None = None,
    forced: bool = False,
) -> OkFirst[Records]: ...


@overload
def request(
    name: str,
    type: str = "a",
    *,
    task: Scope | None = None,
    callback: Callable[..., Any],
    timeout: float | None = None,
    forced: bool = False,
) -> bool: ...


def request(
    name: str,
    type: str = "a",
    *,
    task: Scope | None = None,
    callback: Callable[..., Any] | None = None,
    timeout: float | None = None,
    forced: bool = False,
) -> OkFirst[Records] | bool:
    """The records of a name: `is_ok, records`; with `ptr` the name is an IP address.

    Types: a aaaa ptr txt spf mx ns soa cname srv tlsa caa any. `timeout` in seconds ends the waiting earlier than the
    resolver would (`[dns] timeout` × (`retransmits` + 1)). With `callback` True at once, False where it could not be started,
    and later `callback(resolver, name, results_or_None, err_or_None)`.
    """
    scope = scope_of(task, "dns.request", waits=callback is None)
    if callback is None:
        resolver: NetResolver = scope.network.resolver
        if not _allowed(scope, 1, forced=forced):
            return _too_many(resolver)
        found = resolver.ask_one(name, type, until=None if timeout is None else _until(scope, timeout))
        return _pair((not isinstance(found, Failure), found))
    return _ask_later(scope, name, type, callback, timeout, forced=forced)


def many(
    questions: Iterable[tuple[str, str]], *, task: Scope | None = None, timeout: float | None = None, forced: bool = False
) -> list[OkFirst[Records]]:
    """The outcomes of all questions `(name, type)` in their order; they are asked at once and waited for once."""
    scope = scope_of(task, "dns.many")
    resolver: NetResolver = scope.network.resolver
    asked = list(questions)
    allowed = _allowed(scope, len(asked), forced=forced)
    found = resolver.ask(asked[:allowed], until=_until(scope, timeout))
    outcomes: list[OkFirst[Records]] = [_pair((not isinstance(one, Failure), one)) for one in found]
    outcomes += [_too_many(resolver) for _ in asked[allowed:]]
    return outcomes


def reverse(ip: str, zone: str) -> str:
    """The name under which a DNS list tells of an address: `192.0.2.1` in `zen.example` → `1.2.0.192.zen.example`.

    Raises ValueError for what is no IP address.
    """
    return list_name(ip, zone)


def statistics(*, task: Scope | None = None) -> dict[str, int]:
    """What this worker's resolver has done so far: requests = replies + errors + timeouts + in_flight.

    Each question of a rule is a request, also where the answer was known; "there is none" is a reply.
    """
    resolver: NetResolver = scope_of(task, "dns.statistics", waits=False).network.resolver
    return resolver.stats.as_dict()


class Resolver:
    """What `task.get_resolver()` gives: the older form of `request`. Without `callback` it waits and gives `is_ok, records`."""

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def resolve(
        self,
        type: str,
        *,
        name: str,
        task: Scope | None = None,
        callback: Callable[..., Any] | None = None,
        timeout: float | None = None,
        forced: bool = False,
    ) -> Any:
        """Ask for records of any type, as `request` does."""
        scope = self._scope if task is None else task
        if callback is None:
            return request(name, type, task=scope, timeout=timeout, forced=forced)
        return request(name, type, task=scope, callback=callback, timeout=timeout, forced=forced)

    def resolve_a(self, *, name: str, **options: Any) -> Any:
        return self.resolve("a", name=name, **options)

    def resolve_ptr(self, *, name: str, **options: Any) -> Any:
        """`name` is an IP address."""
        return self.resolve("ptr", name=name, **options)

    def resolve_txt(self, *, name: str, **options: Any) -> Any:
        return self.resolve("txt", name=name, **options)

    def resolve_mx(self, *, name: str, **options: Any) -> Any:
        return self.resolve("mx", name=name, **options)

    def resolve_ns(self, *, name: str, **options: Any) -> Any:
        return self.resolve("ns", name=name, **options)


_pair = cast(Callable[[tuple[bool, Any]], OkFirst[Any]], partial(tuple.__new__, OkFirst))
"""A named tuple without its own function, which takes three times as long."""


def _too_many(resolver: NetResolver) -> OkFirst[Records]:
    text = f"too many DNS queries: {resolver.settings.max_requests} are allowed for one message"
    return OkFirst(False, Failure(text, kind="limit", phase="dns"))


def _ask_later(
    scope: Scope, name: str, type: str, callback: Callable[..., Any], timeout: float | None, *, forced: bool
) -> bool:
    """The callback form. Nothing runs before the answer is there: a greenlet that waits for each costs half as much again."""
    count = taken_by(callback)
    kind = type if type in TYPES else known_type(type)
    try:
        question = question_of(name, kind)
    except ValueError:
        return False
    if not _allowed(scope, 1, forced=forced):
        return False
    found: list[Records | Failure] = []

    def run() -> None:
        (value,) = found
        told = (Resolver(scope), name, None, value) if isinstance(value, Failure) else (Resolver(scope), name, value, None)
        callback(*told[:count])

    expected = scope.expect(run, lambda stop: deferred.cancel(stop))
    if expected is None:
        return False

    def answered(value: Records | Failure) -> None:
        found.append(value)
        expected.begin()

    resolver: NetResolver = scope.network.resolver
    deferred = resolver.ask_later(question, answered, until=None if timeout is None else _until(scope, timeout))
    return True


def _allowed(scope: Scope, count: int, *, forced: bool) -> int:
    """How many of so many questions may be asked; they are counted as asked."""
    if forced or not isinstance(scope, Task):
        return count
    resolver: NetResolver = scope.network.resolver
    asked, most = scope.dns_requests, resolver.settings.max_requests
    allowed = count if asked + count <= most else max(most - asked, 0)
    scope.dns_requests = asked + allowed
    return allowed


def _until(scope: Scope, timeout: float | None) -> float | None:
    # A budget that the scope ends anyway needs no timer of its own.
    end = None if timeout is None else monotonic() + timeout
    return None if end is None or end >= scope.deadline.end else end
