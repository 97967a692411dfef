"""How tests wait."""

from __future__ import annotations

import pytest

from tests.waiting import eventually


def test_what_was_expected_is_returned():
    seen = iter([None, 1, 2, 3, 4])

    assert eventually(lambda: next(seen), lambda number: number >= 3) == 3


def test_by_default_anything_true_is_expected():
    seen = iter([0, "", [], "here"])

    assert eventually(lambda: next(seen)) == "here"


def test_a_wait_in_vain_says_what_was_seen_last():
    with pytest.raises(AssertionError, match="last seen: 'processing'"):
        eventually(lambda: "processing", lambda state: state == "done", seconds=0.0)
