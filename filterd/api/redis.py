"""Redis for rules: one request, a connection with queued commands, a script.

Promises:

* Every call is one line that waits in its greenlet, or, with `callback=`, returns at once.
* Values are int, str (bytes where they are not UTF-8), None and lists of these; what the server refuses is a `Failure` of kind
  `server` with its words, what did not reach it a `Failure` that names the server.
* Connecting is lazy: a dead server shows when commands are executed, as `Connection refused`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from time import monotonic
from typing import Any, overload

from filterd.api._callback import later, scope_of
from filterd.net.redis import RedisClient, Target
from filterd.net.redis_commands import Command, Place, Word, place_of
from filterd.net.redis_server import Private
from filterd.net.redis_settings import Key
from filterd.outcome import Failure, OkFirst, RequestFailed
from filterd.task import Scope, with_budget

__all__ = ["Connection", "Outcomes", "Parameters", "Script", "connect", "parse_server", "request", "script"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Which Redis: that of `[redis.MODULE]`, or of `[redis]` where this names none."""

    module: str


class Outcomes(OkFirst[list[OkFirst[Any]]]):
    """`(all ok, [OkFirst, …])`: the result of several commands, in their order."""

    __slots__ = ()

    def unwrap(self) -> list[OkFirst[Any]]:
        """The list; raises RequestFailed with the first failure in it."""
        for outcome in self.value:
            outcome.unwrap()
        return list(self.value)


def parse_server(module: str) -> Parameters:
    """A reference to the Redis of a module, for the top level of a rule file; it is looked up when something connects."""
    return Parameters(module)


def connect(params: Parameters, *, task: Scope | None = None, key: Key = None, is_write: bool = True) -> OkFirst["Connection"]:
    """`is_ok, connection`. Fails only where no server is configured: connecting itself is left to `exec`.

    `key` chooses among several servers, the same one each time; `is_write` chooses the list.
    """
    scope = scope_of(task, "redis.connect", waits=False)
    try:
        target = _client(scope).target(params.module)
    except RequestFailed as error:
        return OkFirst(False, error.failure)
    return OkFirst(True, Connection(scope, target, key=key, is_write=is_write))


@overload
def request(
    params: Parameters,
    command: Sequence[Word],
    *,
    task: Scope | None = None,
    callback: None = None,
    key: Key = None,
    is_write: bool = False,
) -> OkFirst[Any]: ...


@overload
def request(
    params: Parameters,
    command: Sequence[Word],
    *,
    task: Scope | None = None,
    callback: Callable[..., Any],
    key: Key = None,
    is_write: bool = False,
) -> bool: ...


def request(
    params: Parameters,
    command: Sequence[Word],
    *,
    task: Scope | None = None,
    callback: Callable[..., Any] | None = None,
    key: Key = None,
    is_write: bool = False,
) -> OkFirst[Any] | bool:
    """One command, `["GET", "key"]`: `is_ok, value`. With `callback(err, data)`: True, False if it could not be started."""
    scope = scope_of(task, "redis.request", waits=callback is None)
    prepared = Command(command)
    return _call(scope, callback, lambda: _execute(scope, params, [prepared], key=key, is_write=is_write)[0])


def script(lua: str) -> "Script":
    """A Lua script that the server keeps; make it at the top level of a rule file."""
    return Script(lua)


class Script:
    """A Lua script, sent by its digest, and loaded where a server does not know it."""

    def __init__(self, lua: str) -> None:
        self.lua = lua
        self.digest = sha1(lua.encode(), usedforsecurity=False).hexdigest()
        self._load = Command(["SCRIPT", "LOAD", lua])

    @overload
    def exec(
        self,
        params: Parameters,
        keys: Sequence[Word] = (),
        args: Sequence[Word] = (),
        *,
        task: Scope | None = None,
        callback: None = None,
        key: Key = None,
        is_write: bool = True,
    ) -> OkFirst[Any]: ...

    @overload
    def exec(
        self,
        params: Parameters,
        keys: Sequence[Word] = (),
        args: Sequence[Word] = (),
        *,
        task: Scope | None = None,
        callback: Callable[..., Any],
        key: Key = None,
        is_write: bool = True,
    ) -> bool: ...

    def exec(
        self,
        params: Parameters,
        keys: Sequence[Word] = (),
        args: Sequence[Word] = (),
        *,
        task: Scope | None = None,
        callback: Callable[..., Any] | None = None,
        key: Key = None,
        is_write: bool = True,
    ) -> OkFirst[Any] | bool:
        """Run it: `is_ok, value`; with `callback(err, data)`: True, False if it could not be started."""
        scope = scope_of(task, "redis.script", waits=callback is None)
        run = Command(["EVALSHA", self.digest, len(keys), *keys, *args])

        def work() -> OkFirst[Any]:
            outcome = _execute(scope, params, [run], key=key, is_write=is_write)[0]
            if outcome.is_ok or not outcome.value.startswith("NOSCRIPT"):
                return outcome
            # Loading and running in one piece: between two calls a server may forget it again.
            loaded, outcome = _execute(scope, params, [self._load, run], key=key, is_write=is_write)
            return outcome if loaded.is_ok else loaded

        return _call(scope, callback, work)


class Connection:
    """Commands to be executed together. It belongs to one rule; what is still queued when that ends is forgotten.

    Ordinary commands share a line with all other rules. From the first command on that leaves a state behind (SELECT, WATCH,
    CLIENT, …) this object has a connection of its own, until `close` or the end of the message.
    """

    def __init__(self, scope: Scope, target: Target, *, key: Key, is_write: bool) -> None:
        self._scope = scope
        self._target = target
        self._key = key
        self._is_write = is_write
        self._queue: list[Command] = []
        self._private: Private | None = None

    def add_cmd(self, command: str, args: Sequence[Word] = ()) -> OkFirst[None]:
        """Queue a command: `is_ok, err`. Sends nothing. Raises TypeError for an argument that is neither text nor number."""
        prepared = Command([command, *args])
        if prepared.place is Place.REFUSED:
            return OkFirst(False, _refused(prepared))
        self._queue.append(prepared)
        return OkFirst(True, None)

    def exec(self) -> OkFirst[Any]:
        """Send what is queued, in one piece: `is_ok, data` for one command, `(all ok, [OkFirst, …])` for several."""
        commands, self._queue = self._queue, []
        if not commands:
            return OkFirst(False, Failure("nothing to execute: no command was added", kind="refused"))
        outcomes = _outcomes(self._scope, commands, self._work(commands))
        return outcomes[0] if len(outcomes) == 1 else Outcomes(all(one.is_ok for one in outcomes), outcomes)

    def close(self) -> None:
        """Close what this object has for itself. It may be used again."""
        private, self._private = self._private, None
        if private is not None:
            self._scope.release(private)
            private.close()

    def _work(self, commands: list[Command]) -> Callable[[], list[Any]]:
        until = _until(self._scope, self._target, commands)

        def work() -> list[Any]:
            if self._private is None:
                if place_of(commands) is not Place.PINNED:
                    return self._target.execute(commands, key=self._key, is_write=self._is_write, until=until)
                self._private = self._target.private(commands, key=self._key, is_write=self._is_write, until=until)
                self._scope.adopt(self._private)
            try:
                return self._private.execute(commands, until=until)
            except BaseException:
                self.close()
                raise

        return work


def _execute(scope: Scope, params: Parameters, commands: list[Command], *, key: Key, is_write: bool) -> list[OkFirst[Any]]:
    refused = [_refused(command) for command in commands if command.place is Place.REFUSED]
    if refused:
        return [OkFirst(False, refused[0])]
    try:
        target = _client(scope).target(params.module)
    except RequestFailed as error:
        return [OkFirst(False, error.failure) for _ in commands]
    until = _until(scope, target, commands)
    return _outcomes(scope, commands, lambda: target.execute(commands, key=key, is_write=is_write, until=until))


def _outcomes(scope: Scope, commands: list[Command], work: Callable[[], list[Any]]) -> list[OkFirst[Any]]:
    try:
        replies = _client(scope).counted(work)
    except RequestFailed as error:
        failure = with_budget(error.failure, scope)
        return [OkFirst(False, failure) for _ in commands]
    return [OkFirst(not isinstance(reply, Failure), reply) for reply in replies]


def _call(scope: Scope, callback: Callable[..., Any] | None, work: Callable[[], OkFirst[Any]]) -> OkFirst[Any] | bool:
    if callback is None:
        return work()

    def offered() -> tuple[Any, Any]:
        is_ok, value = work()
        return (None, value) if is_ok else (value, None)

    return later(scope, callback, offered)


def _until(scope: Scope, target: Target, commands: list[Command]) -> float | None:
    # A budget that the scope ends anyway needs no timer of its own. A command that waits is given its own time on top.
    seconds = target.settings.timeout
    for command in commands:
        wait = command.seconds
        if wait is None:
            return None
        seconds += wait
    end = monotonic() + seconds
    return end if end < scope.deadline.end else None


def _refused(command: Command) -> Failure:
    return Failure(f"{command.name} has not one reply, and is of no use here", kind="refused")


def _client(scope: Scope) -> RedisClient:
    client: RedisClient = scope.network.redis
    return client
