"""What the administrator wrote for a rule file: `config.module("NAME")` is the table `[modules.NAME]`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from filterd.task import current, loading_modules

__all__ = ["module"]

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def module(name: str) -> Mapping[str, Any]:
    """The table `[modules.NAME]`, read-only; empty where there is none. At the top level of a rule file, and in rules."""
    scope = current()
    modules = loading_modules.get() if scope is None else scope.environment.modules
    if modules is None:
        raise RuntimeError(
            f"config.module({name!r}) was called outside of filterd: neither is a rule file being loaded nor does a rule run"
        )
    return modules.get(name, _EMPTY)
