from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.stereo import match, match_calibration_pairs


def test_a_shifted_texture_has_the_disparity_of_its_shift() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 400, 3)).astype(np.uint8)
    left = cv2.GaussianBlur(noise, (0, 0), 1.5).astype(np.uint8)
    disparity = match(left, np.roll(left, -12, 1))
    known = disparity[:, 20:380]

    assert (known > 0).mean() > 0.8
    assert np.median(known[known > 0]) == pytest.approx(12, abs=0.3)


def test_pictures_that_do_not_match_have_no_disparity() -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.integers(0, 255, (120, 400, 3)).astype(np.uint8) for _ in range(2))

    assert (match(left, right) > 0).mean() < 0.1


def test_without_the_pictures_there_is_nothing_to_match(tmp_path: Path) -> None:
    if Path("/usr/share/doc/opencv-doc").exists():
        pytest.skip("opencv-doc is installed on this machine")

    assert list(match_calibration_pairs(tmp_path)) == []
