"""How the pipeline stops in the middle of a photo whose results nobody wants any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """The results of a photo are no longer wanted. That is no failure, so it has no code."""


def never() -> bool:
    """Say that results are still wanted."""
    return False


def while_wanted(items: Iterable[T], is_unwanted: Callable[[], bool]) -> Iterator[T]:
    """Yield `items`. Raises Interrupted, before an item is made, once they are not wanted."""
    remaining = iter(items)
    while True:
        if is_unwanted():
            raise Interrupted
        try:
            yield next(remaining)
        except StopIteration:
            return
