from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest

from tests.unit.worker.model.residency import resident
from worker.model.mmap_release import release_mapped

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is needed")

SIZE = 8 * 2**20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "weights of a network.bin"
    path.write_bytes(b"\x07" * SIZE)
    return path


def test_a_released_mapping_can_still_be_read(path: Path):
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) == 7 * SIZE // mmap.PAGESIZE
        assert resident(path) == SIZE

        release_mapped(path)

        assert resident(path) < SIZE // 10
        assert mapped[SIZE - 1] == 7


def test_writes_to_a_private_mapping_are_not_lost(path: Path):
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[0] = 1

        release_mapped(path)

        assert mapped[0] == 1


def test_a_file_without_a_mapping_is_ignored(tmp_path: Path):
    release_mapped(tmp_path / "nothing")
