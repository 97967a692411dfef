"""Measure how much of a mapped file is resident in memory, from /proc/self/smaps (proc(5))."""

from __future__ import annotations

from pathlib import Path


def resident(path: Path) -> int:
    """Return how many bytes of a file's mappings are resident in this process."""
    found, counting = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.endswith(str(path)):
            counting = True
        elif line.startswith("Rss:") and counting:
            found += int(line.split()[1]) * 1024
            counting = False
    return found
