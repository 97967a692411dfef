from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from worker.supervision.alive_file import AliveFile


def test_a_touch_makes_the_file_and_makes_it_new(tmp_path: Path):
    path = tmp_path / "alive"
    AliveFile(path).touch()
    os.utime(path, (0, 0))

    AliveFile(path).touch()

    assert path.stat().st_mtime > 0


def test_a_file_that_cannot_be_made_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = AliveFile(tmp_path / "nowhere" / "alive")
    with caplog.at_level(logging.ERROR):
        file.touch()
        file.touch()

    assert ["FATHOM_ALIVE_FILE" in record.message for record in caplog.records] == [True]
