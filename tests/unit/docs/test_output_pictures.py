from __future__ import annotations

import re
from pathlib import Path

from docs.take_output_pictures import IMAGES, MOVING, PICTURES

PAGE = Path(__file__).parents[3] / "docs" / "outputs.md"


def test_the_page_shows_every_picture_that_the_script_takes():
    shown = re.findall(r"images/output-(\w+)\.(?:jpg|webp)", PAGE.read_text(encoding="utf-8"))

    assert sorted(shown) == sorted([*PICTURES, *MOVING])


def test_the_pictures_are_small_together():
    assert sum(path.stat().st_size for path in IMAGES.glob("output-*")) < 1_500_000
