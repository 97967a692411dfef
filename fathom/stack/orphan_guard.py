"""Ends the processes of a stack whose parent was killed hard. Run as a program, by its path.

`fathom up` writes the ids of its process groups to this program's standard input,
`+PID` as a group starts and `-PID` once it has ended. When the input ends while
groups are left, their parent is gone: they are asked to end, then made to. The kernel's own
tie (PR_SET_PDEATHSIG) would reach the leader of a group alone, never the children of
a worker. Standard library only, for it is to start in a moment and weigh little.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

#: Seconds that orphans get to end by themselves.
GRACE = 5.0
_POLL = 0.05


def read_groups(lines: Iterable[str]) -> set[int]:
    """Read ids until the input ends; return the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        sign, pid = line[0], int(line[1:])
        (groups.add if sign == "+" else groups.discard)(pid)
    return groups


def end_groups(groups: Iterable[int], grace: float) -> None:
    """Ask the leaders of groups to end, and after `grace` seconds kill whoever is left in them."""
    left = {group for group in groups if _signal_leader(group)}
    deadline = time.monotonic() + grace
    while left and time.monotonic() < deadline:
        time.sleep(_POLL)
        left = {group for group in left if _exists(group)}
    for group in left:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _signal_leader(group: int) -> bool:
    """Send SIGTERM to the leader; a group whose leader is gone already is killed at once."""
    try:
        os.kill(group, signal.SIGTERM)
    except ProcessLookupError:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        return False
    return True


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    end_groups(read_groups(sys.stdin), GRACE)
