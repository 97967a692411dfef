from __future__ import annotations

import io
import random

import pytest

from shared.errors import ObjectNotFound
from tests.fakes import FakeObjectStore
from worker.chores.object_file import open_object

DATA = random.Random(7).randbytes(10 * 2**20)


@pytest.fixture
def objects() -> FakeObjectStore:
    objects = FakeObjectStore()
    objects.put("a", DATA)
    objects.put("empty", b"")
    return objects


def test_an_object_reads_like_a_file(objects: FakeObjectStore) -> None:
    with open_object(objects, "a") as file:
        assert file.seek(0, io.SEEK_END) == len(DATA)
        assert file.read() == b""
        for at in (0, 9 * 2**20, 5, 2**22 - 1, len(DATA) - 3, len(DATA), len(DATA) + 10):
            assert file.seek(at) == at
            assert file.read(1000) == DATA[at : at + 1000]
        assert file.seek(-10, io.SEEK_END) == len(DATA) - 10
        assert file.seek(-10, io.SEEK_CUR) == len(DATA) - 20
        assert file.read() == DATA[-20:]
        file.seek(0)
        assert file.read() == DATA


def test_small_sequential_reads_request_each_block_once(objects: FakeObjectStore) -> None:
    asked: list[int] = []

    def count(key: str, *, start: int | None = None, stop: int | None = None) -> None:
        asked.append((stop or 0) - (start or 0))

    objects.before(objects.get, count)
    with open_object(objects, "a") as file:
        while file.read(1000):
            pass

    assert sum(asked) == len(DATA)
    assert max(asked) <= 4 * 2**20
    assert len(asked) == 3


def test_an_empty_object_has_nothing_to_read(objects: FakeObjectStore) -> None:
    assert open_object(objects, "empty").read() == b""


def test_a_position_before_the_start_is_refused(objects: FakeObjectStore) -> None:
    with open_object(objects, "a") as file, pytest.raises(OSError, match="negative"):
        file.seek(-11 * 2**20, io.SEEK_END)


def test_a_missing_object_is_refused_at_once(objects: FakeObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        open_object(objects, "b")
