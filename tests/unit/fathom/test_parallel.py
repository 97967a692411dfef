from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

import pytest

from fathom.parallel import map_unordered
from tests.waiting import DEADLINE


def test_every_item_is_processed_once() -> None:
    assert sorted(map_unordered(lambda x: x * x, range(100), threads=8)) == [x * x for x in range(100)]


def test_no_more_threads_run_than_allowed() -> None:
    running, most, lock = 0, 0, threading.Lock()
    barrier = threading.Barrier(4, timeout=DEADLINE)

    def work(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        # All four must wait here at the same time, or the barrier breaks.
        barrier.wait()
        with lock:
            running -= 1

    list(map_unordered(work, range(16), threads=4))

    assert most == 4


def test_items_are_read_only_as_fast_as_they_are_processed() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            read.append(item)
            yield item

    results = map_unordered(lambda x: x, items(), threads=2)
    next(results)

    assert len(read) <= 4
    assert isinstance(results, Generator)
    results.close()


def test_the_first_error_ends_the_run_and_nothing_more_begins() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"\d"):
        list(map_unordered(work, range(1000), threads=2))

    assert len(begun) <= 6
