"""An attribute that is computed when it is first read, and then is an ordinary attribute."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["lazy"]

Owner = TypeVar("Owner")
Value = TypeVar("Value")


class lazy(Generic[Owner, Value]):
    """Non-data descriptor: the value it computes is stored under the same name in the instance's `__dict__`.

    `functools.cached_property` does the same behind a lock on CPython 3.11; a message belongs to one hub, so no lock is
    needed, and the hot path is spared it.
    """

    def __init__(self, compute: Callable[[Owner], Value]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> "lazy[Owner, Value]": ...
    @overload
    def __get__(self, instance: Owner, owner: type[Any]) -> Value: ...
    def __get__(self, instance: Owner | None, owner: type[Any]) -> "Value | lazy[Owner, Value]":
        if instance is None:
            return self
        value = instance.__dict__[self.name] = self.compute(instance)
        return value
