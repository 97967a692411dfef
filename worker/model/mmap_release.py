"""Release the pages of a memory-mapped file after it has been read."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

#: A line of /proc/self/maps (proc(5)): where a mapping begins and ends, its permissions, and its file.
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(/.*)")


class MappedFile:
    """A file of weights that OpenVINO maps, and reads again only for a new shape of pictures."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known_shapes: set[tuple[int, ...]] = set()

    def release(self) -> None:
        """Release the file's resident pages."""
        release_mapped(self._path)

    def release_after(self, shape: tuple[int, ...]) -> None:
        """Release the file's resident pages if this shape is new."""
        if shape not in self._known_shapes:
            self._known_shapes.add(shape)
            self.release()


def release_mapped(path: Path) -> None:
    """Release the resident pages of a file that a library mapped for reading.

    The mapping stays valid: a page that is read again comes back from the file. Does nothing on systems
    other than Linux.
    """
    for start, end in _mappings_of(path):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mappings_of(path: Path) -> Iterator[tuple[int, int]]:
    """Yield the bounds of a file's shared, read-only mappings.

    A private mapping may hold changes from before it was protected, which would be lost.
    """
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return
    name = str(path.resolve())
    for line in lines:
        found = _MAPPING.fullmatch(line)
        if found and found[4] == name and found[3] == "r--s":
            yield int(found[1], 16), int(found[2], 16)
