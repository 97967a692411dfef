from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from threading import Event
from typing import Any, TypeVar

import pytest

from fathom.options import Options
from shared.jobs.job import Lease
from tests.waiting import DEADLINE
from worker.child.prefetch import LARGE_BYTES, Prefetcher

T = TypeVar("T")

SMALL, LARGE = b"small", bytes(LARGE_BYTES + 1)


class InlineExecutor(Executor):
    """Runs each call before `submit` returns, so results come in the order of submission."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except OSError as exc:
            future.set_exception(exc)
        return future


class FakeImages:
    """Images by index; records which were fetched."""

    def __init__(self, *images: bytes | Exception) -> None:
        self._images = images
        self.asked: list[int] = []

    def fetch(self, job_id: str, index: int) -> bytes:
        self.asked.append(index)
        found = self._images[index]
        if isinstance(found, Exception):
            raise found
        return found

    def lease(self) -> Lease:
        return Lease(id="lease", job_id="job", indices=tuple(range(len(self._images))), options=Options())

    def in_order(self) -> Iterator[tuple[int, Future[bytes]]]:
        return Prefetcher(pool=InlineExecutor()).images(self.lease(), self.fetch)


def test_images_come_in_order_each_with_its_own_bytes():
    images = FakeImages(*(b"%d" % n for n in range(9)))

    found = [(index, future.result()) for index, future in Prefetcher().images(images.lease(), images.fetch)]

    assert found == [(n, b"%d" % n) for n in range(9)]
    assert sorted(images.asked) == list(range(9))


def test_the_next_image_is_fetched_by_another_thread_during_processing():
    second_asked = Event()

    def fetch(job_id: str, index: int) -> bytes:
        if index == 1:
            second_asked.set()
        return SMALL

    images_on_the_way = Prefetcher().images(FakeImages(SMALL, SMALL, SMALL).lease(), fetch)
    index, future = next(images_on_the_way)

    assert (index, future.result()) == (0, SMALL)
    assert second_asked.wait(DEADLINE)


@pytest.mark.parametrize(
    ("sizes", "asked"),
    [
        ([SMALL] * 4, [2, 3, 4, 4]),
        # While a large image is processed, nothing else is fetched.
        ([SMALL, LARGE, SMALL, SMALL, SMALL], [2, 2, 4, 5, 5]),
        ([LARGE, LARGE, LARGE, LARGE], [1, 2, 3, 4]),
        ([LARGE, SMALL, SMALL, SMALL], [1, 3, 4, 4]),
    ],
)
def test_large_images_are_not_held_at_the_same_time(sizes: list[bytes], asked: list[int]):
    images = FakeImages(*sizes)

    assert [len(images.asked) for _ in images.in_order()] == asked


def test_an_image_of_unknown_size_is_fetched_alone():
    images, arrives = FakeImages(LARGE, SMALL, SMALL), Event()

    def fetch(job_id: str, index: int) -> bytes:
        found = images.fetch(job_id, index)
        assert index > 0 or arrives.wait(DEADLINE)
        return found

    images_on_the_way = Prefetcher().images(images.lease(), fetch)
    _, first = next(images_on_the_way)
    asked_meanwhile = list(images.asked)
    arrives.set()
    assert first.result() == LARGE
    index, second = next(images_on_the_way)

    assert asked_meanwhile == [0]
    assert (index, second.result()) == (1, SMALL)
    assert [(index, future.result()) for index, future in images_on_the_way] == [(2, SMALL)]


def test_an_image_is_prefetched_even_after_a_failed_one():
    images = FakeImages(OSError("gone"), SMALL)

    next(images.in_order())

    assert images.asked == [0, 1]


def test_an_image_that_cannot_be_fetched_is_reported_in_its_order():
    images = FakeImages(SMALL, OSError("gone"), SMALL)

    errors = [future.exception() for _, future in images.in_order()]

    assert [type(error) for error in errors] == [type(None), OSError, type(None)]


def test_stopping_early_leaves_the_rest_unfetched():
    images = FakeImages(*[SMALL] * 8)
    images_on_the_way = images.in_order()
    next(images_on_the_way)

    assert isinstance(images_on_the_way, Generator)
    images_on_the_way.close()

    assert images.asked == [0, 1]
