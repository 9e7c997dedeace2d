"""filterd: the mail filter you program in Python.

This module is what rule files import from. Each name is looked up on first use, so that importing `filterd.proto.http1`, say,
loads no gevent.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filterd.api import config, dns, http, log, redis, tcp, tcp_sync, udp
    from filterd.api.http_routes import route
    from filterd.api.maps import maps
    from filterd.engine.actions import action, service
    from filterd.engine.hooks import background, on_finish, on_load, periodic
    from filterd.engine.registry import Registry, register_symbol, rule, virtual
    from filterd.engine.words import extractor, transform
    from filterd.mail.address import Address
    from filterd.mail.message import Message
    from filterd.mail.urls import Url
    from filterd.mail.verdict import Hit, Verdict
    from filterd.outcome import ErrorFirst, Failure, OkFirst, RequestFailed
    from filterd.task import Channel, PhaseError, Task, Txn, msleep, process_vars, sleep, spawn

__version__ = "0.1.0"

# name -> the module it is in.
_WHERE = {
    **dict.fromkeys(("Registry", "register_symbol", "rule", "virtual"), "filterd.engine.registry"),
    **dict.fromkeys(("background", "on_finish", "on_load", "periodic"), "filterd.engine.hooks"),
    **dict.fromkeys(("extractor", "transform"), "filterd.engine.words"),
    **dict.fromkeys(("ErrorFirst", "Failure", "OkFirst", "RequestFailed"), "filterd.outcome"),
    **dict.fromkeys(("Hit", "Verdict"), "filterd.mail.verdict"),
    **dict.fromkeys(("Channel", "PhaseError", "Task", "Txn", "msleep", "process_vars", "sleep", "spawn"), "filterd.task"),
    **dict.fromkeys(("action", "service"), "filterd.engine.actions"),
    "Address": "filterd.mail.address",
    "Message": "filterd.mail.message",
    "Url": "filterd.mail.urls",
    "maps": "filterd.api.maps",
    "route": "filterd.api.http_routes",
}
_MODULES = frozenset({"config", "dns", "http", "log", "redis", "tcp", "tcp_sync", "udp"})

__all__ = [
    "Address",
    "Channel",
    "ErrorFirst",
    "Failure",
    "Hit",
    "Message",
    "OkFirst",
    "PhaseError",
    "Registry",
    "RequestFailed",
    "Task",
    "Txn",
    "Url",
    "Verdict",
    "__version__",
    "action",
    "background",
    "config",
    "dns",
    "extractor",
    "http",
    "log",
    "maps",
    "msleep",
    "on_finish",
    "on_load",
    "periodic",
    "process_vars",
    "redis",
    "register_symbol",
    "route",
    "rule",
    "service",
    "sleep",
    "spawn",
    "tcp",
    "tcp_sync",
    "transform",
    "udp",
    "virtual",
]


if not TYPE_CHECKING:  # or else a misspelt name in a rule file is Any to a type checker

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            value: Any = import_module(f"filterd.api.{name}")
        elif name in _WHERE:
            value = getattr(import_module(_WHERE[name]), name)
        else:
            raise AttributeError(f"module 'filterd' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
