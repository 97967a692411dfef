"""The heap of a process that processes photos, as measured by the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Frees a large block below a small one that stays, before and after the heap is configured, and prints how
# many MB of the block stay resident.
_PROGRAM = """
import ctypes
from pathlib import Path
from worker.pipeline.memory import bound_malloc

def resident():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def hold(size):
    block = libc.malloc(ctypes.c_size_t(size))
    ctypes.memset(block, 1, size)
    return block

def cycle():
    before = resident()
    large = hold(20 * 2**20)
    small = hold(100_000)
    libc.free(ctypes.c_void_p(large))
    return resident() - before

# The first free teaches glibc that blocks of this size come and go: then they stay in the heap.
cycle()
print(cycle(), bound_malloc(), cycle())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is needed")
def test_large_blocks_are_returned_to_the_system_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    unbound, bound, left = done.stdout.split()
    if bound == "False":
        pytest.skip("there is no glibc")

    assert float(unbound) > 15
    assert float(left) < 2


# Frees many small blocks between others that stay, and prints how many MB of them stay resident before and
# after the heap is trimmed.
_HOLES = """
import ctypes
from pathlib import Path
from worker.pipeline.memory import trim_heap

def resident():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
before = resident()
blocks = [libc.malloc(ctypes.c_size_t(100_000)) for _ in range(400)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:
    libc.free(ctypes.c_void_p(block))
held = resident() - before
trim_heap()
print(held, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is needed")
def test_trimming_the_heap_returns_its_holes_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", _HOLES], capture_output=True, text=True, check=True)
    held, left = map(float, done.stdout.split())
    if held < 15:
        pytest.skip("this C library returns holes without a trim")

    assert left < held / 2
