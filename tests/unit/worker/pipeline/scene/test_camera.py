from __future__ import annotations

import numpy as np
import pytest

from worker.pipeline.scene.camera import Camera, distances


def test_a_camera_sees_its_field_of_view_along_the_longer_side():
    camera = Camera.with_fov(3000, 4000, 90)

    assert camera.focal == pytest.approx(2000)


def test_inverse_distance_is_linear_in_nearness():
    z = distances(np.array([0, 0.5, 1], np.float32), 6)

    assert z == pytest.approx([6, 2 / (1 / 6 + 1), 1])
