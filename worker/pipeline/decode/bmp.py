"""Decode BMP with bit fields of any layout; Pillow reads all others."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageCorrupt
from worker.pipeline.decode.pixels import on_white
from worker.pipeline.decode.reduced import in_strips, reduce_strips
from worker.pipeline.photo import Pixels

#: The compression numbers of bit fields, and of bit fields with alpha after a header too short for its mask.
_BIT_FIELDS, _ALPHA_BIT_FIELDS = 3, 6

#: Sizes of the headers that may have bit fields. In OS/2's, of 64 bytes, 3 is another compression.
_HEADER_SIZES = (40, 52, 56, 108, 124)
_FILE_HEADER = 14
#: The masks follow the 40 bytes that begin every header, whether the header includes the masks or not.
_MASKS_AT = _FILE_HEADER + 40

#: The layouts meant by masks of zero, by bits of a pixel.
_USUAL_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}


@dataclass(frozen=True, kw_only=True)
class BitFields:
    """Where the pixels of a BMP lie, and what their bits mean."""

    width: int
    height: int
    #: 16 or 32.
    bits: int
    #: Which bits are red, green, blue and alpha.
    masks: tuple[int, int, int, int]
    is_bottom_up: bool
    offset: int
    data: bytes


def read_bit_fields(data: bytes) -> BitFields | None:
    """Read the header of a BMP; return None if its pixels are not bit fields.

    Raises struct.error if the file ends before the masks do.
    """
    if len(data) < _MASKS_AT:
        return None
    offset, size, width, height, bits, compression = struct.unpack_from("<10xIIii2xHI", data)
    if (
        size not in _HEADER_SIZES
        or compression not in (_BIT_FIELDS, _ALPHA_BIT_FIELDS)
        or bits not in _USUAL_MASKS
    ):
        return None
    has_alpha = size >= 56 or compression == _ALPHA_BIT_FIELDS
    masks = struct.unpack_from("<4I" if has_alpha else "<3I", data, _MASKS_AT)
    end = max(_FILE_HEADER + size, _MASKS_AT + 4 * len(masks))
    return BitFields(
        width=width,
        height=abs(height),
        bits=bits,
        masks=(*masks, 0)[:4] if any(masks) else _USUAL_MASKS[bits],
        is_bottom_up=height > 0,
        # Some writers leave the offset out, or do not count the masks.
        offset=offset if offset >= end else end,
        data=data,
    )


def mend_offset(data: bytes) -> bytes:
    """Return the BMP without its pixel offset if that offset lies inside the header.

    Readers then expect the pixels right after the header, where they nearly always are.
    """
    offset, size = struct.unpack_from("<10xII", data)
    return data[:10] + bytes(4) + data[14:] if 0 < offset < _FILE_HEADER + size else data


def decode_bit_fields(fields: BitFields, *, by: int) -> Pixels:
    """Return the picture reduced `by` 1, 2, 4 or 8, as RGB on white.

    Ignore alpha that is zero everywhere: programs without alpha write it.

    Raises ImageCorrupt for masks with gaps, and ValueError if the file ends too early.
    """
    for mask in fields.masks:
        _field(mask)
    values = _values(fields)
    has_alpha = any((strip & fields.masks[3]).any() for strip in in_strips(values))
    strips = (_to_rgb(strip, fields.masks, has_alpha=has_alpha) for strip in in_strips(values))
    return reduce_strips(strips, fields.height, fields.width, by)


def _values(fields: BitFields) -> NDArray[Any]:
    """Return the pixels as numbers, H x W, from top to bottom."""
    step = fields.bits // 8
    line = -(-fields.width * step // 4) * 4
    rows = np.frombuffer(fields.data, np.uint8, fields.height * line, fields.offset).reshape(-1, line)
    values = rows[:, : fields.width * step].view(f"<u{step}")
    return values[::-1] if fields.is_bottom_up else values


def _to_rgb(values: NDArray[Any], masks: tuple[int, int, int, int], *, has_alpha: bool) -> Pixels:
    colours = np.dstack([_channel(values, mask) for mask in masks[:3]])
    return on_white(colours, _channel(values, masks[3])) if has_alpha else colours


def _channel(values: NDArray[Any], mask: int) -> Pixels:
    """Return a field of each pixel, scaled to 0..255; a field of no bits is 0."""
    shift, most = _field(mask)
    field = (values >> shift) & most
    scaled = field if most in (0, 255) else np.rint(field * np.float32(255 / most))
    return np.asarray(scaled, np.uint8)


def _field(mask: int) -> tuple[int, int]:
    """Return the shift of a field and its largest value. Raises ImageCorrupt if its bits have gaps."""
    shift = max(0, (mask & -mask).bit_length() - 1)
    most = mask >> shift
    if most & (most + 1):
        raise ImageCorrupt
    return shift, most
