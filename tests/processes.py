"""Find the descendants of a process, check whether one is alive, and end a process group."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.processes import members
from tests.waiting import eventually


def children(pid: int) -> list[int]:
    return [child for child, parent in map(_child_and_parent, _all_pids()) if parent == pid]


def descendants(pid: int) -> set[int]:
    """Return all descendants of a process."""
    parents = {child: parent for child, parent in map(_child_and_parent, _all_pids()) if parent}
    found, frontier = set[int](), {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found |= frontier
    return found


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    return _stat(pid)[0] not in ("Z", "X", "")


def end_group(leader: subprocess.Popen[Any]) -> None:
    """Kill the group of a process that was started with `start_new_session`; wait until all have ended."""
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()
    eventually(lambda: members(leader.pid), lambda left: not left)


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _child_and_parent(pid: int) -> tuple[int, int]:
    return pid, int(_stat(pid)[1] or 0)


def _stat(pid: int) -> tuple[str, str]:
    """Return the state and the parent of a process; empty strings if there is none."""
    try:
        # The state follows the name in parentheses, which may contain any character.
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return "", ""
    return state, parent
