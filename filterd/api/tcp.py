"""TCP by callbacks, as in Rspamd: a queue of reads and writes, each handing its outcome to a function. `tcp` in rule files.

Promises:

* The queue runs in a child greenlet of the task, one operation after the other, on a connection of `tcp_sync`: the same
  budgets, the same texts. The message waits for it, and the connection is closed when the queue is empty.
* Every queued operation tells its callback how it went. After a failure that leaves the connection useless (any but the end of
  the stream) those behind it get the same failure; one that nobody hears of is a failure of the rule.
* A failure before the connection stands goes to `on_error`, where one is given, instead of `callback`.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from filterd.api._callback import offer, scope_of
from filterd.api.tcp_socket import Socket
from filterd.api.tcp_sync import END_OF_STREAM, Budget, Connection, connect, documented, open_conversation
from filterd.net.stream import Data, gather
from filterd.net.upstream import Upstreams
from filterd.outcome import Failure, OkFirst, RequestFailed
from filterd.task import Scope

__all__ = ["Dialogue", "Socket", "connect_sync", "request"]

Callback = Callable[..., Any]

connect_sync = connect
"""The low-level equal of `tcp_sync.connect`: the very same."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A queued operation; `told` is called with its error and what it brought. One that repeats stays until it is shifted."""

    perform: Callable[[Connection], OkFirst[Any]]
    told: Callable[[Failure | None, Any], None] | None
    repeats: bool = False


class Dialogue:
    """What callbacks get as `conn`: operations added here run in order, after those already queued.

    What adds one gives False once the connection is over and nothing can run any more.
    """

    def __init__(self, *, partial: bool) -> None:
        self._partial = partial
        self._steps: deque[_Step] = deque()
        self._current: _Step | None = None
        self._connection: Connection | None = None
        self._over = False

    def add_read(self, callback: Callback, pattern: str | bytes | None = None) -> bool:
        """`callback(err, data, conn)` gets what one read brings; with a pattern, the bytes before it."""

        def perform(connection: Connection) -> OkFirst[bytes]:
            return connection.read_until(pattern) if pattern and not self._partial else connection.read_once()

        return self._add(_Step(perform, lambda error, data: offer(callback, error, data, self), self._partial))

    def add_write(self, callback: Callback | None, data: Data) -> bool:
        """`callback(err, conn)` is called when all of it is written."""
        sent = gather(data)
        told = None if callback is None else lambda error, _: offer(callback, error, self)
        return self._add(_Step(lambda connection: connection.write(sent), told))

    def starttls(self, no_verify: bool = False) -> bool:  # noqa: FBT001, FBT002 - as in Rspamd
        """Go on in TLS, in its turn. What was received before is dropped."""
        return self._add(_Step(lambda connection: connection.starttls(no_verify), None))

    def shift_callback(self) -> None:
        """With `partial`: the callback that runs is called no more, and the next operation begins."""
        if self._steps and self._steps[0] is self._current:
            self._steps.popleft()

    def close(self) -> None:
        """Close at once and forget what is queued."""
        self._over = True
        self._steps.clear()
        if self._connection is not None:
            self._connection.close()

    def _add(self, step: _Step) -> bool:
        if not self._over:
            self._steps.append(step)
        return not self._over

    def _run(self, connection: Connection, on_connect: Callback | None) -> None:
        self._connection = connection
        try:
            if on_connect is not None:
                offer(on_connect, self)
            while self._steps:
                self._take_step(connection, self._steps.popleft())
        finally:
            self.close()
            # The step that ran last holds this dialogue, and its connection the message: all of it would wait for the garbage
            # collector, and be freed with that of hundreds of others, for 50 ms.
            self._current = self._connection = None

    def _take_step(self, connection: Connection, step: _Step) -> None:
        outcome = step.perform(connection)
        if self._over:
            return
        if not outcome.is_ok and outcome.value != END_OF_STREAM:
            self._fail(step, outcome.value)
        elif step.told is not None:
            self._current = step
            if outcome.is_ok:
                if step.repeats:
                    self._steps.appendleft(step)
                step.told(None, outcome.value)
            else:
                step.told(outcome.value, None)

    def _fail(self, step: _Step, failure: Failure) -> None:
        told = [one.told for one in (step, *self._steps) if one.told is not None]
        self.close()
        if not told:
            raise RequestFailed(failure)
        for tell in told:
            tell(failure, None)


def request(
    host: str,
    port: int | None = None,
    *,
    callback: Callback,
    data: Data = (),
    task: Scope | None = None,
    read: bool = True,
    partial: bool = False,
    stop_pattern: str | bytes | None = None,
    shutdown: bool = False,
    timeout: float | None = 5.0,
    connect_timeout: float | None = None,
    read_timeout: float | None = None,
    write_timeout: float | None = None,
    on_connect: Callback | None = None,
    on_error: Callback | None = None,
    tls: bool = False,
    tls_verify: bool = True,
    upstream: Upstreams | None = None,
) -> bool:
    """Connect, send `data` and hand what is read to `callback(err, data, conn)`. True, or False if it could not be started.

    It gets what the first read brings; with `stop_pattern` the bytes before that; with `partial=True` every piece as it comes,
    until the failure that is the end of the stream. With `read=False` it is called when `data` is written. `shutdown=True`
    closes our side after that. `on_connect(conn)` comes first of all, `on_error(err, conn)` instead of everything when no
    connection came about. Host, upstream and times are as in `tcp_sync.connect`.
    """
    scope = scope_of(task, "tcp.request", waits=False)
    budget = Budget(scope, timeout, connect=connect_timeout, read=read_timeout, write=write_timeout)
    dialogue = Dialogue(partial=partial)
    sent = gather(data)
    if not read:
        dialogue.add_write(lambda error, conn: offer(callback, error, None, conn), sent)
    elif sent:
        dialogue.add_write(None, sent)
    if shutdown:
        dialogue._add(_Step(Connection.shutdown, None))
    if read:
        dialogue.add_read(callback, stop_pattern)

    def run() -> None:
        try:
            conversation = open_conversation(
                scope, host, port, budget=budget, tls=tls, tls_verify=tls_verify, upstream=upstream, source=None
            )
        except RequestFailed as error:
            dialogue.close()
            failure = documented(error.failure)
            if on_error is not None:
                offer(on_error, failure, dialogue)
            else:
                offer(callback, failure, None, dialogue)
        else:
            dialogue._run(Connection(conversation, scope, budget), on_connect)

    return scope.start_later(run)
