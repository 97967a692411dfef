"""Hooks that run before and after calls of a fake."""

from __future__ import annotations

import pytest

from shared.errors import ObjectNotFound
from tests.fakes import FakeObjectStore


def test_a_hook_gets_the_arguments_and_runs_before_the_call():
    objects = FakeObjectStore()
    seen: list[tuple[str, bytes, bool]] = []
    objects.before(objects.put, lambda key, data: seen.append((key, data, objects.exists(key))))

    objects.put("a", b"x")

    assert seen == [("a", b"x", False)]


def test_a_hook_that_raises_replaces_the_call():
    def refuse(key: str, data: bytes) -> None:
        raise ZeroDivisionError

    objects = FakeObjectStore()
    objects.before(objects.put, refuse)
    with pytest.raises(ZeroDivisionError):
        objects.put("a", b"x")
    objects.before(objects.put, None)

    assert not objects.exists("a")
    objects.put("a", b"x")
    assert objects.exists("a")


def test_no_hook_runs_after_a_failed_call():
    objects, seen = FakeObjectStore(), list[str]()
    objects.after(objects.get, seen.append)
    objects.put("a", b"x")
    objects.get("a")
    with pytest.raises(ObjectNotFound):
        objects.get("b")

    assert seen == ["a"]


def test_a_hook_of_an_overridden_method_runs_once():
    class Loud(FakeObjectStore):
        def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
            return super().get(key, start=start, stop=stop).upper()

    objects, seen = Loud(), list[str]()
    objects.before(objects.get, lambda key, start, stop: seen.append(key))
    objects.put("a", b"x")

    assert objects.get("a") == b"X"
    assert seen == ["a"]


def test_a_hook_on_a_method_of_another_fake_is_refused():
    objects, other = FakeObjectStore(), FakeObjectStore()
    with pytest.raises(AssertionError, match="same fake"):
        objects.before(other.put, None)
