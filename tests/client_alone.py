"""Install the client as `pip install ./fathom` does, with only the packages that it requires."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CLIENT = Path(__file__).resolve().parents[1] / "fathom"
NAME = "fathom-depth"


def install_client(folder: Path) -> Path:
    """Install the client from a copy of the checkout into a folder; return the folder to put on the path."""
    source, target = folder / "source", folder / "site"
    shutil.copytree(CLIENT, source / "fathom", ignore=shutil.ignore_patterns("__pycache__"))
    offline = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *offline,
        "--target",
        str(target),
        str(source / "fathom"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    link_packages(needed_by(requirements_of(target)), target)
    return target


def requirements_of(target: Path) -> list[str]:
    """Return the names of the distributions that the installed client requires."""
    (metadata,) = target.glob("fathom_depth-*.dist-info/METADATA")
    lines = metadata.read_text(encoding="utf-8").splitlines()
    return [Requirement(line.partition(":")[2]).name for line in lines if line.startswith("Requires-Dist:")]


def needed_by(names: Iterable[str]) -> set[str]:
    """Return distributions and all their requirements, without extras."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            waiting += _required_by(name)
    return found


@cache
def _required_by(name: str) -> list[str]:
    requirements = map(Requirement, distribution(name).requires or ())
    return [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]


def link_packages(names: Iterable[str], target: Path) -> None:
    """Link the packages of distributions into a folder."""
    for name in names:
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            # Distributions share some folders, such as `google`.
            if not (target / top).is_symlink():
                (target / top).symlink_to(Path(str(found.locate_file(top))))


def python_alone(site: Path, program: str) -> list[str]:
    """Return the command that runs a program with only that folder and the standard library on the path."""
    return [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(site)!r})\n{program}"]


def fathom_alone(site: Path, *arguments: str | Path) -> list[str]:
    """Return the command that runs `fathom` from that folder."""
    program = "from fathom.cli import main; main(prog_name='fathom')"
    return [*python_alone(site, program), *map(str, arguments)]
