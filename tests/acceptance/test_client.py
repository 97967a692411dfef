"""The Python client against a real server, as in the README."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.albums import plain_album, tree
from tests.acceptance.stacks import ROOT, LaunchedStack

README = ROOT / "README.md"


def examples() -> list[str]:
    """Return the programs in the Python section of the README."""
    section = README.read_text().partition("## From Python")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)


@pytest.mark.parametrize("number", [0, 1], ids=["sync", "async"])
def test_the_example_of_the_readme_runs(stack: LaunchedStack, tmp_path: Path, number: int) -> None:
    plain_album(tmp_path / "holiday", 3)
    program = examples()[number].replace("http://127.0.0.1:8080", stack.api)
    environ = {**stack.environ, "PYTHONPATH": str(ROOT)}

    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert "3 of 3" in ended.stdout
    assert tree(tmp_path / "depth") == {f"{n:04}.{kind}" for n in range(3) for kind in ("png", "depth.json")}
