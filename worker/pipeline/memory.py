"""Keep the memory of a process small that processes photos for days."""

from __future__ import annotations

import ctypes

#: Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

#: Larger blocks come from the system and return to it at once. By default, glibc raises this bound to 32 MB
#: once a block of that size is freed, and then such blocks leave holes in the heap. Every photo needs the
#: smaller blocks again, so they stay: requesting them anew would cost a page fault for every 4 KB.
_LARGE = 4 * 2**20

#: The threads that fetch and store share two heaps with the one that computes.
_ARENAS = 2


def bound_malloc() -> bool:
    """Keep large blocks out of this process's heap; return False if there is no glibc.

    Call this before threads are started.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    parameters = {_M_MMAP_THRESHOLD: _LARGE, _M_TRIM_THRESHOLD: 2 * _LARGE, _M_ARENA_MAX: _ARENAS}
    # 1 is success. The list sets every parameter, even if one fails.
    return all([mallopt(name, value) == 1 for name, value in parameters.items()])


def trim_heap() -> None:
    """Return the free parts of the heap to the system; this takes a millisecond or two.

    A large photo leaves holes: parts of its file, rows, small planes. Without this, the heap stays 15 MB
    larger after the first large photo.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        # Without glibc, there is nothing to trim.
        return
