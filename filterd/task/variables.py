"""Variables with a scope in their name: `txn.x` for one transaction, `sess.x` for the connection, `proc.x` for the worker.

Promises: a scope that does not exist is refused, never guessed; a name without one is of the transaction.
"""

from collections.abc import Iterator, MutableMapping
from typing import Any, Final

__all__ = ["Variables", "process_vars"]

SCOPES: Final = ("proc", "sess", "txn")

process_vars: dict[str, Any] = {}
"""The variables of this worker: `process_vars["x"]` is `txn.vars["proc.x"]`. Also for hooks, which have no transaction."""


class Variables(MutableMapping[str, Any]):
    """All three scopes as one mapping."""

    def __init__(self, session: dict[str, Any], transaction: dict[str, Any]) -> None:
        self._scopes = {"proc": process_vars, "sess": session, "txn": transaction}

    def _place(self, key: str) -> tuple[dict[str, Any], str]:
        scope, dot, name = key.partition(".")
        if not dot:
            scope, name = "txn", key
        found = self._scopes.get(scope)
        if found is None:
            raise ValueError(f"variable {key!r}: there is no scope {scope!r}; there are {', '.join(SCOPES)}")
        return found, name

    def __getitem__(self, key: str) -> Any:
        scope, name = self._place(key)
        try:
            return scope[name]
        except KeyError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        scope, name = self._place(key)
        scope[name] = value

    def __delitem__(self, key: str) -> None:
        scope, name = self._place(key)
        try:
            del scope[name]
        except KeyError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        return (f"{scope}.{name}" for scope, names in self._scopes.items() for name in list(names))

    def __len__(self) -> int:
        return sum(map(len, self._scopes.values()))

    def replace(self, key: str, value: Any) -> bool:
        """Set a variable that exists; False where it does not, and nothing is made."""
        if key not in self:
            return False
        self[key] = value
        return True
