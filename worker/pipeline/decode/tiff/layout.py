"""The layout of a TIFF picture's pixels in the file, checked before any pixel is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageCorrupt, ImageTooLarge, UnsupportedFormat
from worker.pipeline.decode.tiff.directory import Directory, Tag
from worker.pipeline.photo import Limits

#: The most strips or tiles of one picture. Each costs up to thirty microseconds, however small.
MAX_SEGMENTS = 200_000

_LOWEST_FIRST = 2

#: The most samples of one pixel: scientific pictures of many bands are not photos.
_MAX_SAMPLES = 32

#: One strip or tile may hold this many bytes for each pixel that a photo may have.
_BYTES_PER_PIXEL = 8


class Compression(IntEnum):
    """The compression methods that Fathom reads."""

    NONE = 1
    CCITT_RLE = 2
    CCITT_T4 = 3
    CCITT_T6 = 4
    LZW = 5
    JPEG = 7
    DEFLATE = 8
    OLD_DEFLATE = 32946
    PACKBITS = 32773
    LZMA = 34925
    ZSTD = 50000


CCITT = (Compression.CCITT_RLE, Compression.CCITT_T4, Compression.CCITT_T6)

#: Methods left to libtiff; Python's standard library has the others.
LIBTIFF = (*CCITT, Compression.LZW, Compression.PACKBITS, Compression.ZSTD)

#: As in libtiff, a predictor applies to these methods only and is ignored for others.
_PREDICTED = (
    Compression.LZW,
    Compression.DEFLATE,
    Compression.OLD_DEFLATE,
    Compression.LZMA,
    Compression.ZSTD,
)

#: Names of methods that Fathom does not read, for the error message.
_OTHERS = {
    6: "JPEG of the old kind",
    34887: "LERC",
    34892: "lossy DNG",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
} | dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000")


class Photometric(IntEnum):
    """The meanings of samples that Fathom reads."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    CMYK = 5
    YCBCR = 6
    CIELAB = 8
    ICCLAB = 9


#: How many samples make up a pixel's colour.
COLORS = {
    Photometric.WHITE_IS_ZERO: 1,
    Photometric.BLACK_IS_ZERO: 1,
    Photometric.RGB: 3,
    Photometric.PALETTE: 1,
    Photometric.CMYK: 4,
    Photometric.YCBCR: 3,
    Photometric.CIELAB: 3,
    Photometric.ICCLAB: 3,
}

#: The zero and scale of these are fixed, so the first byte of a sample is its 8-bit value.
FIXED = (Photometric.YCBCR, Photometric.CIELAB, Photometric.ICCLAB)


class SampleKind(IntEnum):
    """The number type of a sample."""

    UNSIGNED = 1
    SIGNED = 2
    FLOAT = 3


class Predictor(IntEnum):
    NONE = 1
    HORIZONTAL = 2
    FLOAT = 3


class Alpha(IntEnum):
    ASSOCIATED = 1
    UNASSOCIATED = 2


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a picture."""

    #: Samples of a pixel, including those that Fathom ignores.
    count: int
    bits: int
    kind: SampleKind
    photometric: Photometric
    alpha: Alpha | None
    is_planar: bool

    @property
    def wanted(self) -> int:
        """How many samples of a pixel Fathom uses: its colour, and the next one if it is alpha."""
        return COLORS[self.photometric] + (self.alpha is not None)

    @property
    def in_segment(self) -> int:
        """How many samples of a pixel are stored side by side."""
        return 1 if self.is_planar else self.count


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the pixels of a picture lie, and how they are packed."""

    height: int
    width: int
    samples: Samples
    compression: Compression
    predictor: Predictor
    #: The size of one strip or tile.
    rows: int
    columns: int
    is_tiled: bool
    #: Whether the first bit of a byte is its lowest.
    is_reversed: bool
    #: The options of a group 3 fax.
    fax_options: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def row_bytes(self) -> int:
        return -(-self.columns * self.samples.in_segment * self.samples.bits // 8)

    @property
    def across(self) -> int:
        """How many tiles lie side by side."""
        return -(-self.width // self.columns)

    @property
    def in_plane(self) -> int:
        """How many strips or tiles make up the picture, or one plane of it if its samples are planar."""
        return -(-self.height // self.rows) * self.across

    def rows_of(self, index: int) -> int:
        """Return how many rows a strip or tile holds. The last strip may be shorter, but no tile is."""
        top = index % self.in_plane // self.across * self.rows
        return self.rows if self.is_tiled else min(self.rows, self.height - top)

    def bytes_of(self, index: int) -> int:
        """Return how many bytes a strip or tile takes uncompressed."""
        return self.rows_of(index) * self.row_bytes


def read_layout(page: Directory, limits: Limits) -> Layout:
    """Return how a picture is laid out.

    Raises UnsupportedFormat for a layout that may be sound but that Fathom does not read, ImageCorrupt,
    ImageTooLarge or ImageTooSmall.
    """
    height, width = page.number(Tag.HEIGHT, 0), page.number(Tag.WIDTH, 0)
    limits.check_size(height, width)
    compression = _compression(page)
    samples = _samples(page, compression)
    is_tiled = Tag.TILE_WIDTH in page.fields
    rows, columns = _segment_size(page, height, width, is_tiled)
    planes = samples.count if samples.is_planar else 1
    count = -(-height // rows) * -(-width // columns) * planes
    layout = Layout(
        height=height,
        width=width,
        samples=samples,
        compression=compression,
        predictor=_predictor(page, samples, compression),
        rows=rows,
        columns=columns,
        is_tiled=is_tiled,
        is_reversed=page.number(Tag.FILL_ORDER, 1) == _LOWEST_FIRST and compression is not Compression.JPEG,
        fax_options=page.number(Tag.T4_OPTIONS, 0),
        offsets=_offsets(page, count, is_tiled),
        sizes=page.numbers(Tag.TILE_SIZES if is_tiled else Tag.STRIP_SIZES, count),
    )
    checked = _with_checked_sizes(page, layout)
    if layout.bytes_of(0) > limits.max_pixels * _BYTES_PER_PIXEL:
        raise ImageTooLarge("A strip or tile of the picture is larger than what is accepted.")
    return checked


def _unsupported(what: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"This TIFF {what}, which Fathom does not read.")


def _compression(page: Directory) -> Compression:
    number = page.number(Tag.COMPRESSION, 1)
    try:
        return Compression(number)
    except ValueError as exc:
        name = _OTHERS.get(number, f"method {number}")
        raise _unsupported(f"is compressed by {name}") from exc


def _samples(page: Directory, compression: Compression) -> Samples:
    bits = _same(page, Tag.BITS, 1)
    photometric = _photometric(page, compression)
    count = page.number(Tag.SAMPLES, 1)
    kind = _kind(page)
    if count < COLORS[photometric]:
        raise ImageCorrupt
    if count > _MAX_SAMPLES:
        raise _unsupported(f"has {count} samples in a pixel")
    extra = page.number(Tag.EXTRA_SAMPLES, 0) if count > COLORS[photometric] else 0
    samples = Samples(
        count=count,
        bits=bits,
        kind=kind,
        photometric=photometric,
        alpha=Alpha(extra) if extra in tuple(Alpha) else None,
        is_planar=page.number(Tag.PLANAR, 1) == 2 and count > 1,
    )
    _check_samples(page, samples, compression)
    return samples


def _same(page: Directory, tag: Tag, default: int) -> int:
    """Return the value that all samples share."""
    found = np.unique(page.numbers(tag, _MAX_SAMPLES))
    if found.size > 1:
        raise _unsupported("has samples of several kinds")
    return int(found[0]) if found.size else default


def _kind(page: Directory) -> SampleKind:
    number = _same(page, Tag.SAMPLE_FORMAT, 1)
    # 4 means "undefined", and libtiff treats it as unsigned.
    try:
        return SampleKind(1 if number == 4 else number)
    except ValueError as exc:
        raise _unsupported("has complex numbers for samples") from exc


def _photometric(page: Directory, compression: Compression) -> Photometric:
    number = page.number(Tag.PHOTOMETRIC, _usual_photometric(page, compression))
    if compression is Compression.JPEG and number == Photometric.YCBCR and page.number(Tag.PLANAR, 1) != 2:
        # The JPEG itself states its chroma subsampling, and libjpeg converts it.
        return Photometric.RGB
    try:
        return Photometric(number)
    except ValueError as exc:
        raise _unsupported(f"has colours of kind {number}") from exc


def _usual_photometric(page: Directory, compression: Compression) -> Photometric:
    """Return the meaning that libtiff assumes for samples if the file does not state it, as it should."""
    if compression in CCITT:
        return Photometric.WHITE_IS_ZERO
    return Photometric.RGB if page.number(Tag.SAMPLES, 1) >= 3 else Photometric.BLACK_IS_ZERO


def _check_samples(page: Directory, samples: Samples, compression: Compression) -> None:
    """Raise UnsupportedFormat for samples whose meaning Fathom would have to guess."""
    if not _is_known(samples):
        raise _unsupported(f"has samples of {samples.bits} bits")
    if compression is Compression.JPEG and (samples.bits, samples.kind) != (8, SampleKind.UNSIGNED):
        raise _unsupported("has a JPEG of other than 8 bits inside")
    if compression is Compression.JPEG and samples.in_segment not in (1, 3, 4):
        raise _unsupported(f"has a JPEG of {samples.in_segment} samples inside")
    if compression in CCITT and (samples.bits, samples.in_segment) != (1, 1):
        raise _unsupported("is a fax of other than one bit")
    if samples.photometric is Photometric.CMYK and page.number(Tag.INK_SET, 1) != 1:
        raise _unsupported("has inks other than CMYK")
    if samples.photometric is Photometric.YCBCR:
        _check_ycbcr(page)


def _is_known(samples: Samples) -> bool:
    """Return whether Fathom reads samples of this type, size and meaning."""
    if samples.photometric is Photometric.PALETTE:
        return samples.kind is SampleKind.UNSIGNED and samples.bits <= 8
    if samples.photometric in FIXED:
        # The samples of L*a*b* are signed, but not all writers say so.
        return samples.kind is not SampleKind.FLOAT and samples.bits in (8, 16)
    if samples.kind is SampleKind.UNSIGNED:
        return 1 <= samples.bits <= 16 or samples.bits in (32, 64)
    return samples.bits in ((16, 32, 64) if samples.kind is SampleKind.FLOAT else (8, 16, 32, 64))


def _check_ycbcr(page: Directory) -> None:
    # The default is 2 by 2.
    if set(page.numbers(Tag.YCBCR_SUBSAMPLING, 2).tolist() or (2, 2)) != {1}:
        raise _unsupported("has chroma sampled more coarsely than luma")
    reference = page.numbers(Tag.REFERENCE_BLACK_WHITE, 12).reshape(-1, 2)
    if reference.size and reference[0, 0] != 0:
        raise _unsupported("has colours of a range kept free for video")


def _predictor(page: Directory, samples: Samples, compression: Compression) -> Predictor:
    number = page.number(Tag.PREDICTOR, 1) if compression in _PREDICTED else 1
    allowed = {1: True, 2: samples.bits in (8, 16, 32, 64), 3: samples.kind is SampleKind.FLOAT}
    if not allowed.get(number, False):
        raise _unsupported(f"is compressed with predictor {number} for its samples")
    return Predictor(number)


def _segment_size(page: Directory, height: int, width: int, is_tiled: bool) -> tuple[int, int]:
    if is_tiled:
        rows, columns = page.number(Tag.TILE_HEIGHT, 0), page.number(Tag.TILE_WIDTH, 0)
    else:
        rows, columns = min(page.number(Tag.ROWS_PER_STRIP, height), height), width
    if rows < 1 or columns < 1:
        raise ImageCorrupt
    return rows, columns


def _offsets(page: Directory, count: int, is_tiled: bool) -> NDArray[np.int64]:
    if count > MAX_SEGMENTS:
        raise _unsupported(f"consists of {count} pieces")
    offsets = page.numbers(Tag.TILE_OFFSETS if is_tiled else Tag.STRIP_OFFSETS, count)
    if offsets.size < count or (offsets <= 0).any():
        raise ImageCorrupt
    return offsets


def _with_checked_sizes(page: Directory, layout: Layout) -> Layout:
    """Check that every strip or tile lies within the file. Raises ImageCorrupt."""
    length, offsets, sizes = len(page.data), layout.offsets, layout.sizes
    if layout.compression is Compression.NONE:
        # Some writers leave the sizes out, and some state too large ones.
        needed = np.array([layout.bytes_of(index) for index in range(len(offsets))])
        sizes = needed if not sizes.size else np.minimum(sizes, needed)
        if sizes.size < offsets.size or (sizes < needed).any():
            raise ImageCorrupt
    elif not sizes.size and offsets.size == 1:
        sizes = length - offsets
    is_whole = sizes.size == offsets.size and ((sizes > 0) & (sizes <= length - offsets)).all()
    # Strips that share their bytes would take far more time than the file's size suggests.
    if not is_whole or (layout.compression is not Compression.NONE and sizes.sum() > length):
        raise ImageCorrupt
    return replace(layout, sizes=sizes)
