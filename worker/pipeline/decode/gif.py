"""Strip the metadata of a GIF, because Pillow fails after a malformed extension."""

from __future__ import annotations

import re

from shared.errors import ImageCorrupt

_EXTENSION, _PICTURE = b"!", b","
#: The first byte of a block, or of the file's end. Other bytes between blocks are skipped.
_BLOCK = re.compile(rb"[!,;]")

#: The only extension that affects the picture: it names the transparent colour (GIF89a, 23).
_CONTROL = b"!\xf9\4"
_CONTROL_SIZE = 8

_HEAD_SIZE = 13


def strip_gif(data: bytes) -> bytes:
    """Return a GIF with nothing before its first picture but its colours and its transparency.

    Raises IndexError if the file ends within its header, and ImageCorrupt if it has no picture.
    """
    # The highest bit says whether there is a colour table, and the lowest three its size.
    begin = at = _HEAD_SIZE + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    control = b""
    while (block := _BLOCK.search(data, at)) and block[0] == _EXTENSION:
        at = _skip_extension(data, block.start())
        extension = data[block.start() : at]
        if extension.startswith(_CONTROL) and len(extension) == _CONTROL_SIZE:
            control = extension
    if block is None or block[0] != _PICTURE:
        raise ImageCorrupt
    return data[:begin] + control + data[block.start() :]


def _skip_extension(data: bytes, at: int) -> int:
    """Return where the extension at `at` ends. It is a series of blocks that each begin with their size."""
    at += 2
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
