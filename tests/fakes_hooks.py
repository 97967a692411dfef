"""Run a function just before or after a call of a fake."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Hook = Callable[..., object]


class Hooked:
    """A fake whose calls can run hooks, as in `store.before(store.put, fail)`.

    A hook gets the arguments of the call. If it raises, the call raises the same. It stays until another hook
    replaces it; None removes it.
    """

    def __init__(self) -> None:
        self._before: dict[str, Hook | None] = {}
        self._after: dict[str, Hook | None] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Only methods of the fake itself run hooks, so an override in a test runs each hook once.
        if Hooked in cls.__bases__:
            for name, method in list(vars(cls).items()):
                if isfunction(method) and not name.startswith("_"):
                    setattr(cls, name, _hooked(method))

    def before(self, method: Callable[..., object], happens: Hook | None) -> None:
        """Run a hook before every call of a method of this fake."""
        self._before[_name(self, method)] = happens

    def after(self, method: Callable[..., object], happens: Hook | None) -> None:
        """Run a hook after every successful call of a method of this fake."""
        self._after[_name(self, method)] = happens


def _hooked(method: Callable[P, T]) -> Callable[P, T]:
    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        fake, *given = args
        assert isinstance(fake, Hooked)
        if before := fake._before.get(method.__name__):
            before(*given, **kwargs)
        result = method(*args, **kwargs)
        if after := fake._after.get(method.__name__):
            after(*given, **kwargs)
        return result

    return call


def _name(fake: Hooked, method: Callable[..., object]) -> str:
    assert getattr(method, "__self__", None) is fake, "A hook belongs to a method of the same fake."
    return method.__name__
