"""The pages of the documentation, and their links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fathom.options import PRESETS, Options

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for target in targets:
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page

        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_picture_is_shown_on_a_page_and_is_not_too_large():
    shown = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    pictures = list((ROOT / "docs" / "images").iterdir())

    assert len(pictures) >= 4
    assert [picture.name for picture in pictures if f"images/{picture.name}" not in shown] == []
    assert [picture.name for picture in pictures if picture.stat().st_size > 400_000] == []


def written(options: Mapping[str, Any], group: str = "") -> Iterator[str]:
    """Yield options as a command line takes them."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from written(value, f"{name}.")
        else:
            yield f"{group}{name}={','.join(map(str, value)) if isinstance(value, list) else value}"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_its_row(name: str):
    preset, page = PRESETS[name], ROOT / "docs" / "command-line.md"
    options = ", ".join(f"`{option}`" for option in written(preset.options))

    assert f"| `{name}` | {preset.title} | {preset.description} | {options} |" in page.read_text("utf-8")
    assert Options.from_pairs(written(preset.options)) == Options.parse({"preset": name})


def test_every_step_in_the_diagram_of_an_image_is_a_file():
    """Every box of the diagram names a file in the folder of its group."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    picture = text.partition("```mermaid\n")[2].partition("```")[0]
    steps = re.findall(r'\["([\w/]+\.(?:py|lua))', picture)

    assert len(steps) > 15
    assert [step for step in steps if not (ROOT / step).is_file()] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
