"""Lint the Lua scripts as the server gets them: with the constants and preludes before them.

Every finding names its file and line. An unused name of a prelude is a finding only if no script uses it.
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
    """A finding of luacheck, with its place in a source file."""

    file: Path
    line: int
    column: int
    text: str


class ScriptCollector(Redis):
    """Collects the scripts that the stores register, without a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []

    def register_script(self, script: Any) -> Any:
        self.scripts.append(script)
        return super().register_script(script)


class SourceMap:
    """Maps the lines of a script to the files that it was joined from."""

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
    """Return the full text of every script."""
    collector = ScriptCollector()
    for store in STORES:
        store(collector)
    return collector.scripts


def check(scripts: list[str]) -> Iterator[tuple[int, int, int, str]]:
    """Run luacheck; yield the number of the script, the line, the column and the text of each finding."""
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


def findings(scripts: list[str], maps: list[SourceMap]) -> list[Finding]:
    """Return the findings to fix."""
    where: dict[Finding, set[int]] = {}
    for script, line, column, text in check(scripts):
        where.setdefault(Finding(*maps[script].place(line), column, text), set()).add(script)
    scripts_with_file = {finding: _scripts_with(finding, maps) for finding in where}
    return sorted(
        finding
        for finding, found in where.items()
        if found == scripts_with_file[finding] or not _is_unused(finding)
    )


def _scripts_with(finding: Finding, maps: list[SourceMap]) -> set[int]:
    return {number for number, source_map in enumerate(maps) if finding.file in source_map.files}


def _is_unused(finding: Finding) -> bool:
    return finding.text.startswith("(W2")


def main() -> None:
    files = {path: path.read_text("utf-8") for path in sorted(Path("shared").rglob("*.lua"))}
    scripts = collect_scripts()
    maps = [SourceMap(script, files) for script in scripts]
    lost = files.keys() - set().union(*(source_map.files for source_map in maps))
    found = [
        *findings(scripts, maps),
        *(Finding(file, 1, 1, "No store uses this file.") for file in sorted(lost)),
    ]
    for finding in found:
        print(f"{finding.file}:{finding.line}:{finding.column}: {finding.text}")
    print(f"Linted {len(files)} Lua files in {len(scripts)} scripts: {len(found)} findings.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
