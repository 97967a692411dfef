"""Run the API calls of the README; their output is what it shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.acceptance.stacks import ROOT, LaunchedStack
from tests.conftest import skip_or_fail

#: Values that differ between runs: ids and times.
_OWN = re.compile(r"[a-z2-7]{26}|\d{4}-\d\d-\d\dT[\d:.]+Z")


def calls_of_the_readme() -> list[tuple[str, str]]:
    """Return the API calls of the README, each with the output below it."""
    block = (ROOT / "README.md").read_text(encoding="utf-8").partition("```console\n")[2].partition("```")[0]
    calls = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    return [(command.partition(" && file ")[0], shown) for command, shown in calls]


def fragments(shown: str) -> list[str]:
    """Return the texts between the dots, without values that differ between runs."""
    return [_OWN.sub("", part).strip(" ,\n") for part in shown.split("...")]


@pytest.fixture(scope="module")
def answers(stack: LaunchedStack, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The outputs of the calls in order; all use the job that the first one made."""
    if shutil.which("curl") is None:
        skip_or_fail("The examples need curl.")
    folder = tmp_path_factory.mktemp("readme")
    (folder / "samples").symlink_to(ROOT / "samples")
    answers: list[str] = []
    for command, _ in calls_of_the_readme():
        made = re.search(r'"id":"(\w+)"', answers[0]) if answers else None
        call = command.replace("http://127.0.0.1:8080", stack.api)
        call = re.sub(r"/jobs/[a-z2-7]{26}", f"/jobs/{made[1]}" if made else "", call)
        answers.append(subprocess.check_output(["bash", "-c", call], cwd=folder, text=True, timeout=100))
    answers[-1] = str(folder / "heatmap.png")
    return answers


@pytest.mark.parametrize("number", [0, 1], ids=["submit", "poll"])
def test_a_call_answers_what_the_readme_shows(answers: list[str], number: int) -> None:
    _, shown = calls_of_the_readme()[number]
    rest = _OWN.sub("", answers[number])

    for fragment in fragments(shown):
        _, found, rest = rest.partition(fragment)
        assert found, fragment


def test_the_heatmap_is_the_file_that_the_readme_shows(answers: list[str]) -> None:
    _, shown = calls_of_the_readme()[2]
    with Image.open(Path(answers[2])) as heatmap:
        assert f"PNG image data, {heatmap.width} x {heatmap.height}, 8-bit colormap" in shown
        assert (heatmap.format, heatmap.mode) == ("PNG", "P")
