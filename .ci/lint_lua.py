"""Lint the Lua scripts as a server gets them: after their constants and preludes.

Names what it finds by file and line. What a script leaves unused of its preludes is a finding only if all
scripts do.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

from shared.chores.redis_store import RedisChores
from shared.idempotency.redis_store import RedisIdempotency
from shared.jobstore.redis_store import RedisJobStore
from shared.metrics.redis_store import RedisStatistics

STORES = (RedisJobStore, RedisChores, RedisIdempotency, RedisStatistics)
_FINDING = re.compile(r".*/(?P<script>\d+)\.lua:(?P<line>\d+):(?P<column>\d+): (?P<text>.*)")


class Finding(NamedTuple):
    """A finding of luacheck, and where it belongs."""

    file: Path
    line: int
    column: int
    text: str


class ScriptCollector(Redis):
    """Collects the scripts that stores register; it connects to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []

    def register_script(self, script: Any) -> Any:
        self.scripts.append(script)
        return super().register_script(script)


class Layout:
    """Maps the lines of a script to its files."""

    def __init__(self, script: str, files: dict[Path, str]) -> None:
        self.starts: list[tuple[int, Path]] = []
        rest = script
        while ends := [file for file, text in files.items() if rest.endswith(text)]:
            file = max(ends, key=lambda file: len(files[file]))
            rest = rest[: -len(files[file])]
            self.starts.append((rest.count("\n"), file))
            # The files of a script are joined by an empty line.
            rest = rest.removesuffix("\n")
        if rest:
            self.starts.append((0, Path(f"constants from {rest.split()[1]} on")))
        self.files = {file for _, file in self.starts}

    def place(self, line: int) -> tuple[Path, int]:
        """Return the file and line of a line of the script, both lines from 1."""
        start, file = max((start, file) for start, file in self.starts if start < line)
        return file, line - start


def collect_scripts() -> list[str]:
    """Return all scripts, each as one text."""
    collector = ScriptCollector()
    for store in STORES:
        store(collector)
    return collector.scripts


def check(scripts: list[str]) -> Iterator[tuple[int, int, int, str]]:
    """Yield the number of a script, line, column and text of all that luacheck finds."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.lua" for number in range(len(scripts))]
        for path, script in zip(paths, scripts, strict=True):
            path.write_text(script)
        command = ["luacheck", "--config", ".luacheckrc", "--formatter", "plain", "--codes", *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode > 2:
        sys.exit(done.stdout + done.stderr)
    for found in filter(None, map(_FINDING.match, done.stdout.splitlines())):
        yield int(found["script"]), int(found["line"]), int(found["column"]), found["text"]


def findings(scripts: list[str], layouts: list[Layout]) -> list[Finding]:
    """Return what is to be mended."""
    where: dict[Finding, set[int]] = {}
    for script, line, column, text in check(scripts):
        where.setdefault(Finding(*layouts[script].place(line), column, text), set()).add(script)
    holders = {finding: _holders(finding, layouts) for finding in where}
    return sorted(
        finding for finding, found in where.items() if found == holders[finding] or not _is_unused(finding)
    )


def _holders(finding: Finding, layouts: list[Layout]) -> set[int]:
    return {number for number, layout in enumerate(layouts) if finding.file in layout.files}


def _is_unused(finding: Finding) -> bool:
    return finding.text.startswith("(W2")


def main() -> None:
    files = {path: path.read_text("utf-8") for path in sorted(Path("shared").rglob("*.lua"))}
    scripts = collect_scripts()
    layouts = [Layout(script, files) for script in scripts]
    lost = files.keys() - set().union(*(layout.files for layout in layouts))
    found = [
        *findings(scripts, layouts),
        *(Finding(file, 1, 1, "No store runs this.") for file in sorted(lost)),
    ]
    for finding in found:
        print(f"{finding.file}:{finding.line}:{finding.column}: {finding.text}")
    print(f"Linted {len(files)} Lua files in {len(scripts)} scripts: {len(found)} findings.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
