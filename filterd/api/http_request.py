"""The call `http.request`: it looks blocking, and suspends only the rule that makes it.

Promises:

* The outcome is `(None, Response)` or `(Failure, None)`. Any status is a response: the failure is about the network only.
* A call ends with its own `timeout`, with its rule or with its task, whichever comes first.
* A mistake in the arguments is a ValueError at the call; an address that is none is a failure, because addresses come from
  mail.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any, Unpack, overload

from filterd.api._callback import later, scope_of
from filterd.api.http_settings import Options
from filterd.net.http import HttpClient
from filterd.net.http_call import Call
from filterd.net.http_reply import Response
from filterd.net.http_url import BadUrl
from filterd.outcome import ErrorFirst, Failure, RequestFailed
from filterd.task import Scope, with_budget

__all__ = ["exchange", "request", "statistics"]

_GRACE = 0.1
"""Seconds past the task's end at which a call gives up by itself: it is stopped with the task before."""


@overload
def request(
    url: str, *, task: Scope | None = None, callback: None = None, **options: Unpack[Options]
) -> ErrorFirst[Response]: ...


@overload
def request(url: str, *, task: Scope | None = None, callback: Callable[..., Any], **options: Unpack[Options]) -> bool: ...


def request(
    url: str, *, task: Scope | None = None, callback: Callable[..., Any] | None = None, **options: Unpack[Options]
) -> ErrorFirst[Response] | bool:
    """Ask a web service; `(None, Response)` or `(Failure, None)`.

    With `callback` True at once (False where it could not be started), and later `callback(err, code, body, headers)`, of which
    only `err` is set when no response came.

    Keywords: `method` (GET, or POST with a body), `headers` (a list value repeats, None leaves a default out, "" sends it
    empty), `body` (str, bytes, a list of both, or a dict for a form), `json`, `mime_type`, `timeout` (5.0 seconds for all of
    it) and within it `connect_timeout`, `tls_timeout`, `write_timeout`, `read_timeout`, `user`, `password`, `keepalive`,
    `gzip` (of the body sent), `max_size` (bytes of the body received, 10 MiB), `proxy` ("" for none), `follow_redirects`
    (how many), `forbid_local`, `upstream`, `unix_socket`, `tls_verify_host`, `tls_verify_peer`, `tls_ca_path` (file or
    directory), `tls_client_cert`, `tls_client_key`, `tls_min_version`, `sni`. Raises ValueError for what cannot be sent.
    """
    scope = scope_of(task, "http.request", waits=callback is None)
    client: HttpClient = scope.network.http
    try:
        call = Call(url, client.settings, **options)
    except BadUrl as error:
        failure = Failure(f"cannot create HTTP message from url: {error}", kind="protocol")
        return ErrorFirst(failure, None) if callback is None else False
    if callback is None:
        return exchange(client, call, scope)
    if call.forbidden:
        return False

    def work() -> tuple[Any, ...]:
        error, response = exchange(client, call, scope)
        if error is not None:
            return error, None, None, None
        return None, response.code, response.content, response.headers

    return later(scope, callback, work)


def exchange(client: HttpClient, call: Call, scope: Scope) -> ErrorFirst[Response]:
    """Send the call within the budgets of its scope."""
    end = monotonic() + call.timeout
    limit = scope.deadline.end + _GRACE
    try:
        return ErrorFirst(None, client.send(call, until=min(limit, end)))
    except RequestFailed as error:
        return ErrorFirst(_told(error.failure, scope), None)


def _told(failure: Failure, scope: Scope) -> Failure:
    """The failure with a text that says all: kind, peer, phase and time, and for a timeout whose budget it was."""
    if failure.kind == "timeout":
        return with_budget(failure, scope)
    return Failure(
        failure.detail,
        kind=failure.kind,
        peer=failure.peer,
        phase=failure.phase,
        elapsed=failure.elapsed,
        partial=failure.partial,
    )


def statistics(*, task: Scope | None = None) -> dict[str, int]:
    """What this worker's client has done so far: requests = replies + errors + timeouts + in_flight."""
    client: HttpClient = scope_of(task, "http.statistics", waits=False).network.http
    return client.stats.as_dict()
