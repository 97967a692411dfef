"""The helper with which tests wait."""

from __future__ import annotations

import pytest

from tests.waiting import eventually


def test_the_expected_result_is_returned():
    seen = iter([None, 1, 2, 3, 4])

    assert eventually(lambda: next(seen), lambda number: number >= 3) == 3


def test_by_default_any_truthy_result_is_expected():
    seen = iter([0, "", [], "here"])

    assert eventually(lambda: next(seen)) == "here"


def test_a_failed_wait_shows_the_last_result():
    with pytest.raises(AssertionError, match="last seen: 'processing'"):
        eventually(lambda: "processing", lambda state: state == "done", seconds=0.0)
