"""Run a benchmark with one thread on one core."""

from __future__ import annotations

import os
import sys


def stay_on_one_core(module: str) -> None:
    """Restart the program `module` with one thread on one core: libraries start threads when imported."""
    if os.environ.get("OMP_NUM_THREADS") == "1":
        return
    # Only Linux lets a process choose its core; elsewhere one thread must be enough.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environ)
