from __future__ import annotations

import itertools

import pytest

from shared.errors import ImageCorrupt, ObjectStoreDenied, ObjectStoreUnavailable
from worker.backoff import delays, patiently


class Flaky:
    """Fails as often as told, then answers."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return "answer"


def test_waits_grow_and_are_bounded():
    waits = list(itertools.islice(delays(first=1.0, ceiling=8.0), 200))

    assert all(0.5 * min(2**n, 8) <= wait <= min(2**n, 8) for n, wait in enumerate(waits))
    assert len(set(waits)) > 190


@pytest.mark.parametrize("error", [ObjectStoreUnavailable(), ObjectStoreDenied()])
def test_infrastructure_is_waited_for(error: Exception):
    waited: list[float] = []
    flaky = Flaky(3, error)

    assert patiently(flaky, seconds=60, wait=waited.append) == "answer"
    assert flaky.calls == 4
    assert len(waited) == 3


def test_an_error_that_is_not_the_infrastructures_passes_at_once():
    flaky = Flaky(1, ImageCorrupt())

    with pytest.raises(ImageCorrupt):
        patiently(flaky, seconds=60)
    assert flaky.calls == 1


def test_patience_ends():
    flaky = Flaky(10**6, ObjectStoreUnavailable())

    with pytest.raises(ObjectStoreUnavailable):
        patiently(flaky, seconds=0.01)


def test_patience_ends_at_once_for_one_who_is_leaving():
    flaky = Flaky(10**6, ObjectStoreUnavailable())

    with pytest.raises(ObjectStoreUnavailable):
        patiently(flaky, seconds=60, give_up=lambda: True)
    assert flaky.calls == 1
