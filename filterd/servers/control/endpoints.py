"""The control listener: Rspamd's controller paths, for `rspamc`, its web interface, exporters and orchestrators.

Promises:

* Every path but /ping, /healthy, /ready and the root is behind the gate (`access`); a scan too.
* What filterd does not have (a classifier, fuzzy storage, graphs) is refused in words; nothing says "success" that did nothing.
* Whoever changes something is in the log with what and from where.
"""

from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from time import time
from typing import Any, Protocol

from filterd.mail.envelope import Envelope
from filterd.mail.message import Message
from filterd.mail.request import ScanRequest
from filterd.net.listen import Connection
from filterd.proto import control, control_shapes
from filterd.proto.control import Reply
from filterd.proto.control_shapes import SymbolFacts
from filterd.proto.history import render_rows
from filterd.proto.http1 import Request
from filterd.proto.rspamd import PONG, scan_headers
from filterd.servers.control.access import Access, Rights
from filterd.servers.control.map_files import MapFiles, MapRefused
from filterd.servers.control.map_keys import change_key, list_edits, look_up
from filterd.servers.control.static_files import StaticFiles

__all__ = ["Books", "Control"]

log = getLogger("filterd.control")

NO_CLASSIFIER = "no classifier is configured: filterd does not learn from messages"
NO_FUZZY = "no fuzzy storage is configured: filterd keeps no hashes of messages"
NO_GRAPH = "no graphs are kept: let Prometheus ask /metrics"
IN_FILES = "scores and thresholds are changed in the configuration: conf/local.d"
ROWS = 10_000
SELECTORS = ["list_extractors", "list_transforms", "check_selector", "check_message"]
ROOT = b"filterd answers here; who may ask what is in docs/running.md\n"


class Books(Protocol):
    """What the daemon knows about itself. `control_listeners` are the names of all control listeners."""

    version: str
    config_id: str
    control_listeners: frozenset[str]

    def totals(self) -> Mapping[str, Any]:
        """The counts of all workers, as `daemon.statistics.merged` has them."""

    def reset(self) -> None:
        """Begin to count anew what /stat shows, in all workers."""

    def facts(self) -> Sequence[SymbolFacts]:
        """Every symbol that is declared."""

    def thresholds(self) -> Mapping[str, float]:
        """The score from which on each action is taken."""

    def metrics(self, accept: str) -> tuple[bytes, str]:
        """The text for Prometheus, and its content type."""

    def rows(self, first: int, last: int) -> list[bytes]:
        """Rendered rows of the history, the newest is row 0; `last` is included."""

    def clear_history(self) -> None:
        """Forget the history."""

    def words(self, kind: str) -> Mapping[str, str]:
        """The "extractors" or the "transforms" of expressions, each with a sentence."""

    def fault(self, expression: str) -> str | None:
        """What is wrong with an expression."""

    def values(self, expression: str, message: ScanRequest) -> list[str]:
        """What a sound expression gives for a message."""


class Control:
    """Answers what comes to a control listener; give it to `HttpServer` as `first`."""

    def __init__(self, access: Access, books: Books, maps: MapFiles, files: StaticFiles | None = None) -> None:
        """`files` are those of a web interface, for every path that is not the controller's."""
        self.files = files
        self.access = access
        self.books = books
        self.maps = maps
        self._paths: dict[str, Callable[[Request, Rights, str], Reply]] = {
            "auth": self._auth,
            "stat": self._stat,
            "statreset": self._reset,
            "counters": self._counters,
            "symbols": self._symbols,
            "actions": self._actions,
            "pie": self._pie,
            "metrics": self._metrics,
            "maps": self._list_maps,
            "getmap": self._read_map,
            "savemap": self._save_map,
            "mapedits": self._list_edits,
            "getkey": self._get_key,
            **dict.fromkeys(("setkey", "delkey", "undokey"), self._change_key),
            "history": self._history,
            "historyreset": self._clear_history,
            "errors": self._errors,
            "neighbours": _constant(control.as_json({})),
            "plugins": _constant(control.as_json({"selectors": {"version": 1, "paths": SELECTORS}})),
            "plugins/selectors/list_extractors": self._list_words,
            "plugins/selectors/list_transforms": self._list_words,
            "plugins/selectors/check_selector": self._check_selector,
            "plugins/selectors/check_message": self._check_message,
            "bayes/classifiers": _constant(control.as_json({"classifiers": []})),
            "graph": _constant(control.error(404, NO_GRAPH)),
            **dict.fromkeys(("learnspam", "learnham", "learnclass"), _constant(control.error(501, NO_CLASSIFIER))),
            **dict.fromkeys(("fuzzyadd", "fuzzydel", "fuzzydelhash"), _constant(control.error(501, NO_FUZZY))),
            **dict.fromkeys(("saveactions", "savesymbols"), _constant(control.error(501, IN_FILES))),
        }

    def __call__(self, request: Request, connection: Connection) -> Reply | Request:
        """The reply; or the request, when it brings a message to scan and may."""
        if request.method == "OPTIONS":
            return control.options()
        path = control.path(request)
        match path:
            case "":
                return self._file(request) or Reply(200, ROOT, control.PLAIN)
            case "ping":
                return Reply(200, PONG, control.PLAIN)
            case "healthy":
                return self._health(ready=False)
            case "ready":
                return self._health(ready=True)
        level = "read" if path in control.SCANS or path.startswith("plugins") else control.ENDPOINTS.get(path)
        if level is None:
            return self._file(request) or Reply(404, b"Not found", control.PLAIN)
        rights = self.access.judge(request, connection, level)
        if isinstance(rights, Reply):
            return rights
        if path in control.SCANS:
            return control.without_password(request)
        answer = self._paths.get(path)
        if answer is None:
            return control.error(404, f"{path}: there is no such plugin")
        return answer(request, rights, connection.peer)

    def _file(self, request: Request) -> Reply | None:
        return None if self.files is None else self.files.reply(request)

    # ---------------------------------------------------------------------------------------------------------------- counts

    def _stat_of(self, rights: Rights) -> dict[str, Any]:
        books = self.books
        return control_shapes.stat(
            books.totals(),
            version=books.version,
            config_id=books.config_id,
            now=time(),
            read_only=rights != "write",
            control=books.control_listeners,
        )

    def _auth(self, request: Request, rights: Rights, peer: str) -> Reply:
        return control.as_json(control_shapes.auth(self._stat_of(rights)))

    def _stat(self, request: Request, rights: Rights, peer: str) -> Reply:
        return control.as_json(self._stat_of(rights))

    def _reset(self, request: Request, rights: Rights, peer: str) -> Reply:
        before = self._stat_of(rights)
        self.books.reset()
        log.info("the counts of /stat begin anew (statreset by %s)", peer)
        return control.as_json(before)

    def _counters(self, request: Request, rights: Rights, peer: str) -> Reply:
        return control.as_json(control_shapes.counters(self.books.totals(), self.books.facts(), now=time()))

    def _symbols(self, request: Request, rights: Rights, peer: str) -> Reply:
        return control.as_json(control_shapes.symbols(self.books.totals(), self.books.facts(), now=time()))

    def _actions(self, request: Request, rights: Rights, peer: str) -> Reply:
        return control.as_json(control_shapes.actions(self.books.thresholds()))

    def _pie(self, request: Request, rights: Rights, peer: str) -> Reply:
        return control.as_json(control_shapes.pie(self.books.totals()))

    def _metrics(self, request: Request, rights: Rights, peer: str) -> Reply:
        body, content_type = self.books.metrics(control.argument(request, "accept") or "")
        return Reply(200, body, content_type)

    def _health(self, *, ready: bool) -> Reply:
        workers = self.books.totals()["workers"]
        silent = sum(not one.get("responding", True) for one in workers)
        if not ready:
            return control.error(503, f"{silent} workers are not responding") if silent else control.success()
        # Of a worker that does not respond only its pid may be known.
        able = [one for one in workers if one.get("responding", True) and one.get("ready")]
        if any(one["under_way"] < one["limit"] for one in able):
            return control.success()
        return control.error(503, "no worker can take a message now: none is ready, or limits.tasks is reached")

    # ------------------------------------------------------------------------------------------------------------- selectors

    def _list_words(self, request: Request, rights: Rights, peer: str) -> Reply:
        kind = control.path(request).rpartition("list_")[2]
        return control.as_json({name: {"description": text} for name, text in self.books.words(kind).items()})

    def _check_selector(self, request: Request, rights: Rights, peer: str) -> Reply:
        fault = self.books.fault(control.argument(request, "selector") or "")
        return control.success() if fault is None else control.as_json({"success": False, "error": fault})

    def _check_message(self, request: Request, rights: Rights, peer: str) -> Reply:
        expression = control.argument(request, "selector") or ""
        fault = self.books.fault(expression)
        if fault is not None:
            return control.error(400, fault)
        envelope = Envelope(scan_headers(control.without_password(request)))
        values = self.books.values(expression, ScanRequest(Message(request.body), envelope, "control", peer))
        return control.as_json({"success": True, "data": values})

    # ------------------------------------------------------------------------------------------------------------------ maps

    def _list_maps(self, request: Request, rights: Rights, peer: str) -> Reply:
        return control.as_json(self.maps.list())

    def _read_map(self, request: Request, rights: Rights, peer: str) -> Reply:
        try:
            return Reply(200, self.maps.read(control.argument(request, "map")), control.PLAIN)
        except MapRefused as error:
            return control.error(error.status, str(error))

    def _save_map(self, request: Request, rights: Rights, peer: str) -> Reply:
        key = control.argument(request, "map")
        if request.method not in ("POST", "PUT"):
            return control.error(405, "savemap takes the new text by POST")
        try:
            keys = self.maps.save(key, request.body)
        except MapRefused as error:
            log.warning("savemap by %s: %s", peer, error)
            return control.error(error.status, str(error))
        log.info("map %s: %d keys, saved by %s", key, keys, peer)
        return control.success()

    def _list_edits(self, request: Request, rights: Rights, peer: str) -> Reply:
        return self._of_map(request, list_edits)

    def _get_key(self, request: Request, rights: Rights, peer: str) -> Reply:
        return self._of_map(request, look_up, control.argument(request, "key"))

    def _change_key(self, request: Request, rights: Rights, peer: str) -> Reply:
        verb, key = control.path(request), control.argument(request, "key")
        if request.method not in ("POST", "PUT", "DELETE"):
            return control.error(405, f"{verb} changes something: ask by POST")
        value = control.argument(request, "value")
        if value is None:
            value = request.body.decode("utf-8", "replace")
        reply = self._of_map(request, change_key, verb, key, value)
        if reply.status == 200:
            log.info("map %s: %s %r by %s", control.argument(request, "map"), verb, key, peer)
        return reply

    def _of_map(self, request: Request, do: Callable[..., Any], *arguments: Any) -> Reply:
        try:
            return control.as_json(do(self.maps.live(control.argument(request, "map")), *arguments))
        except MapRefused as error:
            return control.error(error.status, str(error))

    # --------------------------------------------------------------------------------------------------------------- history

    def _history(self, request: Request, rights: Rights, peer: str) -> Reply:
        first, last = (_number(control.argument(request, name), default) for name, default in (("from", 0), ("to", ROWS)))
        return Reply(200, render_rows(self.books.rows(first, min(last, first + ROWS))), control.JSON)

    def _clear_history(self, request: Request, rights: Rights, peer: str) -> Reply:
        self.books.clear_history()
        log.info("the history is forgotten (historyreset by %s)", peer)
        return control.success()

    def _errors(self, request: Request, rights: Rights, peer: str) -> Reply:
        return control.as_json(sorted(self.books.totals()["errors"], key=lambda one: -one["ts"]))


def _constant(reply: Reply) -> Callable[[Request, Rights, str], Reply]:
    def answer(request: Request, rights: Rights, peer: str) -> Reply:
        return reply

    return answer


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdecimal() and text.isascii() and len(text) < 10 else default
