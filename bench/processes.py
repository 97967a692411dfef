"""Read from /proc what processes use: CPU time, memory, children, connections and cores."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def processor_name() -> str:
    """Return the processor's name, as Linux has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of processes so far: user and system, all threads."""
    return sum(sum(map(int, _stat(pid)[11:13])) for pid in pids) / _TICKS


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process, including shared pages."""
    return _status_mb(pid, "VmRSS")


def peak_mb(pid: int) -> float:
    """Return the highest resident memory since the process began or `reset_peak` was called."""
    return _status_mb(pid, "VmHWM")


def proportional_mb(pid: int) -> float:
    """Return the memory of a process, of shared pages only its share, as proc(5)'s smaps_rollup has it."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def started_at(pid: int) -> float:
    """Return the start time of a process, on the clock `CLOCK_BOOTTIME` in seconds."""
    return int(_stat(pid)[19]) / _TICKS


def children(pid: int) -> list[int]:
    """Return the children of a process, whichever of its threads started them."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may end in the meantime.
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(word) for word in (task / "children").read_text().split()]
    return sorted(found)


def descendants(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    return [pid, *(below for child in children(pid) for below in descendants(child))]


def members(group: int) -> frozenset[int]:
    """Return the living processes of a process group, even if its leader is dead."""
    found = set()
    for entry in Path("/proc").iterdir():
        # A process may end in the meantime; a zombie has ended.
        with suppress(FileNotFoundError, ProcessLookupError):
            if entry.name.isdigit() and (stat := _stat(int(entry.name)))[2] == str(group):
                found |= {int(entry.name)} if stat[0] != "Z" else set()
    return frozenset(found)


def owner_of(port: int, peer: int) -> int | None:
    """Return the process that holds the TCP connection from `port` to `peer`, both on 127.0.0.1."""
    inode = _inode_of(f"0100007F:{port:04X}", f"0100007F:{peer:04X}")
    if inode is None:
        return None
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and f"socket:[{inode}]" in map(os.readlink, (entry / "fd").iterdir()):
                return int(entry.name)
    return None


def _inode_of(local: str, remote: str) -> str | None:
    for line in Path("/proc/net/tcp").read_text().splitlines():
        words = line.split()
        if words[1:3] == [local, remote]:
            return words[9]
    return None


def pin(pids: Iterable[int], cores: Iterable[int]) -> None:
    """Restrict processes and all their threads to these cores."""
    chosen = set(cores)
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            # A thread may end in the meantime.
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), chosen)


def _stat(pid: int) -> list[str]:
    """Return the fields of `stat` (proc(5)) after the name, which may contain any character."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _status_mb(pid: int, field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
