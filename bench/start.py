"""How long commands take to start: `python -m bench.start --json`.

- `help`   `fathom --help`
- `run`    `fathom run` on one photo, with the network cached
- `child`  what a worker's process imports before its first ticket

Each is run several times; the median counts. Seconds of processor time are those of a command and all its
processes. On a busy machine, judge by them and not by the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.album import SAMPLES

#: Seconds of the wall on two idle cores.
GOALS = {"help": 0.15, "run": 1.0}
_PHOTO = SAMPLES / "clock.jpg"


def measure(tries: int) -> dict[str, Any]:
    """Return the median seconds of every command."""
    with tempfile.TemporaryDirectory(prefix="fathom-start-") as name:
        out = Path(name) / "out"
        commands: dict[str, list[str]] = {
            "help": ["-m", "fathom.cli", "--help"],
            "run": ["-m", "fathom.cli", "run", str(_PHOTO), str(out), "--quiet"],
            "child": ["-c", "import worker.app, worker.tasks"],
        }

        def clear() -> None:
            shutil.rmtree(out, ignore_errors=True)

        return {name: _median(name, command, tries, clear) for name, command in commands.items()}


def _median(name: str, command: Sequence[str], tries: int, clear: Callable[[], None]) -> dict[str, Any]:
    # The first run fills the caches of the machine, and exports the network where it is not cached.
    runs = [_time(command, clear) for _ in range(tries + 1)][1:]
    wall, cpu = (round(statistics.median(column), 3) for column in zip(*runs, strict=True))
    return {"wall_s": wall, "cpu_s": cpu, "goal_s": GOALS.get(name)}


def _time(command: Sequence[str], clear: Callable[[], None]) -> tuple[float, float]:
    """Run Python once; return the seconds by the wall and by the processors."""
    clear()
    before, began = _cpu_of_children(), time.perf_counter()
    environ = {**os.environ, "FATHOM_LOG_LEVEL": "ERROR"}
    subprocess.run([sys.executable, *command], env=environ, capture_output=True, check=True)
    return time.perf_counter() - began, _cpu_of_children() - before


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tries", type=int, default=5, help="runs of each command (5)")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    args = parser.parse_args(argv)
    print(json.dumps(measure(args.tries), indent=None if args.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
