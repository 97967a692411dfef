"""A mesh in three.js, the library that most pages show meshes with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.acceptance.three_js import OpenScene, open_in_three
from tests.unit.worker.pipeline.outputs.scenes import portrait, render_picture

pytest_plugins = ["tests.acceptance.browser_fixtures"]

SIZE = HEIGHT, WIDTH = 300, 400
MAGENTA = (255, 0, 255)


@pytest.fixture(scope="module")
def opened(browser: Browser) -> Iterator[OpenScene]:
    with open_in_three(browser, render_picture(portrait(*SIZE), outputs="mesh").data) as scene:
        yield scene


def test_three_js_finds_both_sheets_with_their_textures(opened: OpenScene):
    facts = opened.facts

    assert [mesh["name"] for mesh in facts["meshes"]] == ["photo", "backfill"]
    # The material of three.js that takes no light.
    assert {mesh["material"] for mesh in facts["meshes"]} == {"MeshBasicMaterial"}
    assert facts["meshes"][0]["texture"] == [WIDTH, HEIGHT]
    assert sum(mesh["vertices"] for mesh in facts["meshes"]) <= 250_000
    assert (facts["textures"], facts["cameras"], facts["generator"]) == (2, 1, "Fathom")
    assert facts["extras"]["depth_ratio"] == 6


def test_from_the_cameras_place_three_js_shows_the_photo(opened: OpenScene):
    drawn = opened.draw(*SIZE)
    error = np.mean((drawn.astype(float) - portrait(*SIZE)) ** 2)

    assert not (drawn == MAGENTA).all(axis=2).any()
    assert 10 * np.log10(255**2 / error) >= 30


def test_from_beside_it_near_things_move_more_and_leave_no_hole(opened: OpenScene):
    front, right = opened.draw(*SIZE), opened.draw(*SIZE, x=0.06)
    inner = right[60:240, 40:360]

    assert not (inner == MAGENTA).all(axis=2).any()
    moved = [
        float(np.mean(np.nonzero((picture > 150).all(axis=2) & (picture != MAGENTA).any(axis=2))[1]))
        for picture in (front, right)
    ]
    # The disc is at distance 1, about.
    focal = WIDTH / 2 / np.tan(np.radians(30))
    assert moved[0] - moved[1] == pytest.approx(0.06 * focal, rel=0.2)
