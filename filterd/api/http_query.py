"""HTTP as Kamailio's http_async_client has it: a request whose answer, error or timeout is handed to a named route.

Promises:

* With `suspend=True` the rule goes on when the route has run; what the route raises is the rule's.
* With `suspend=False` the rule goes on at once, and the route runs in a scope of its own, which the message does not wait for
  and whose results it does not see. There are at most `max_detached` of those at a time.
* A name that no route has is refused before anything is sent.
"""

import sys
from collections.abc import Callable, Mapping
from itertools import count
from logging import getLogger
from typing import Any, Unpack

import gevent

from filterd.api._callback import scope_of
from filterd.api.http_request import exchange
from filterd.api.http_routes import ROUTES, Reply, Route
from filterd.api.http_settings import Options
from filterd.net.greenlets import Stop
from filterd.net.http import HttpClient
from filterd.net.http_call import Body, Call
from filterd.net.http_url import BadUrl
from filterd.outcome import Failure, RequestFailed
from filterd.task import Environment, Scope

__all__ = ["Detached", "Handle", "query"]

log = getLogger("filterd.rule")


class Handle:
    """A query the rule does not wait for. `id` is for logs, `done` whether its route has run."""

    __slots__ = ("done", "id")

    def __init__(self, identifier: str) -> None:
        self.id = identifier
        self.done = False


def query(
    url: str,
    data: Body | None = None,
    *,
    route: str | Route,
    suspend: bool = True,
    task: Scope | None = None,
    **options: Unpack[Options],
) -> Reply | Handle | None:
    """Ask a web service and hand what comes of it to a route: the name of a function marked `@route`, or a function.

    `data` is the body: the method is POST then, and the type `application/x-www-form-urlencoded` unless it is said. The other
    keywords are those of `http.request`. Gives the Reply the route has had; with `suspend=False` a Handle at once, or None
    where too many are under way. Raises LookupError for a route that does not exist.
    """
    scope = scope_of(task, "http.query", waits=suspend)
    client: HttpClient = scope.network.http
    function = _find(route, sys._getframe(1).f_globals.get(ROUTES, {}), client.routes) if isinstance(route, str) else route
    if data is not None:
        if options.get("body") is not None or options.get("json") is not None:
            raise ValueError("a request has one body: say data, body= or json=")
        options["body"] = data
        if options.get("mime_type") is None:
            options["mime_type"] = "application/x-www-form-urlencoded"
    call: Call | Failure
    try:
        call = Call(url, client.settings, **options)
    except BadUrl as error:
        call = Failure(f"cannot create HTTP message from url: {error}", kind="protocol")
    if suspend:
        reply = _ask(client, call, scope)
        function(scope, reply)
        return reply
    return _detach(client, call, function, scope.environment)


def _find(name: str, own: Mapping[str, Route], all_routes: Mapping[str, Route]) -> Route:
    function = own.get(name) or all_routes.get(name)
    if function is None:
        known = ", ".join(sorted({*own, *all_routes})) or "none"
        raise LookupError(f"there is no route {name!r}; there are: {known}")
    return function


def _ask(client: HttpClient, call: Call | Failure, scope: Scope) -> Reply:
    return Reply(call, None) if isinstance(call, Failure) else Reply(*exchange(client, call, scope))


class Detached(Scope):
    """A scope without a message: for what goes on when the message may be gone. It closes itself."""

    def job_failed(self, job: Any, error: BaseException) -> None:
        """Nobody waits for it: it is told in the log, a mistake of the route with its traceback."""
        expected = isinstance(error, (RequestFailed, Stop))
        log.error("%s: %s: %s", self.title, type(error).__name__, error, exc_info=None if expected else error)

    def run(self, job: Any) -> None:
        """Do the job and all it starts, within the budget."""
        timer = self.environment.crew.hub.loop.timer(self.deadline.left)
        timer.start(self.jobs.stop, Stop(f"the budget of {self.title}, {self.deadline.budget:g} s, is over"), update=True)
        try:
            self.jobs.add(job)
            self.jobs.join()
        finally:
            timer.close()
            self.close()


class _Detachment:
    """The job of a detached scope: to ask, and to call the route."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        self.name = name
        self.timeout = None
        self.run = run


_serial = count(1)


def _detach(client: HttpClient, call: Call | Failure, function: Route, environment: Environment) -> Handle | None:
    if client.detached >= client.settings.max_detached:
        return None
    handle = Handle(f"http-{next(_serial)}")
    title = f"route {function.__name__}, query {handle.id}"
    seconds = 0.0 if isinstance(call, Failure) else call.timeout
    scope = Detached(environment, title, seconds + environment.task_timeout)

    def work() -> None:
        function(scope, _ask(client, call, scope))

    def live() -> None:
        try:
            scope.run(_Detachment(function.__name__, work))
        finally:
            client.detached -= 1
            handle.done = True

    client.detached += 1
    gevent.spawn(live)
    return handle
