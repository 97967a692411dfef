"""Hooks that run at the calls of a fake."""

from __future__ import annotations

import pytest

from shared.errors import ObjectNotFound
from tests.fakes import FakeObjectStore


def test_a_hook_gets_what_the_call_was_given_and_comes_before_it():
    objects = FakeObjectStore()
    seen: list[tuple[str, bytes, bool]] = []
    objects.before(objects.put, lambda key, data: seen.append((key, data, objects.exists(key))))

    objects.put("a", b"x")

    assert seen == [("a", b"x", False)]


def test_one_that_raises_takes_the_place_of_the_call():
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


def test_after_a_call_that_failed_nothing_happens():
    objects, seen = FakeObjectStore(), list[str]()
    objects.after(objects.get, seen.append)
    objects.put("a", b"x")
    objects.get("a")
    with pytest.raises(ObjectNotFound):
        objects.get("b")

    assert seen == ["a"]


def test_where_a_method_is_overridden_a_hook_is_called_once():
    class Loud(FakeObjectStore):
        def get(self, key: str, *, start: int | None = None, stop: int | None = None) -> bytes:
            return super().get(key, start=start, stop=stop).upper()

    objects, seen = Loud(), list[str]()
    objects.before(objects.get, lambda key, start, stop: seen.append(key))
    objects.put("a", b"x")

    assert objects.get("a") == b"X"
    assert seen == ["a"]


def test_a_hook_on_the_method_of_another_fake_is_a_mistake():
    objects, other = FakeObjectStore(), FakeObjectStore()
    with pytest.raises(AssertionError, match="same fake"):
        objects.before(other.put, None)
