"""Memory of a process that works off photos for days: what a photo took is given back after it."""

from __future__ import annotations

import ctypes

#: Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

#: Larger blocks come from the system and go back to it at once. Left alone, glibc raises the
#: bound to 32 MB as soon as a block of that size is freed, and then such blocks leave holes
#: in the heap. Smaller ones, which every photo needs again, stay: getting them back would
#: cost a page fault for every 4 KB.
_LARGE = 4 * 2**20

#: Threads that fetch and store share two heaps with the one that computes.
_ARENAS = 2


def bound_malloc() -> bool:
    """Keep this process's heap from growing by large blocks; False where there is no glibc.

    To be called before threads are started.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    parameters = {_M_MMAP_THRESHOLD: _LARGE, _M_TRIM_THRESHOLD: 2 * _LARGE, _M_ARENA_MAX: _ARENAS}
    # 1 is success; all are tried, whatever becomes of one.
    return all([mallopt(name, value) == 1 for name, value in parameters.items()])


def trim_heap() -> None:
    """Give the free parts of the heap back to the system, which takes a millisecond or two.

    A large photo leaves holes: parts of its file, rows, small planes. Without this the heap of a
    process stays 15 MB larger after the first of them.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        # It is not glibc: there is nothing to trim.
        return
