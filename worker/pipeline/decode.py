"""From the bytes of a file to an upright RGB photo; told by content, never by name.

Nothing in a file is trusted. Its size is checked before a pixel is decoded, and a file
that stops before its end or is damaged is refused as a whole: no depth map is ever made
from part of a picture. What follows the end of a picture (the video of a motion photo,
the second picture of a stereo camera) is ignored, and so is damage to what only describes it.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from pillow_heif import options as heif_options
from pillow_heif.as_plugin import HeifImageFile

from photos.formats import HEAD_BYTES, Format, sniff_format
from photos.kinds import why_unread
from shared.errors import ImageCorrupt, ImageEmpty, ImageTooLarge, UnsupportedFormat
from worker.pipeline.bmp import BitFields, decode_bit_fields, mend_offset, read_bit_fields
from worker.pipeline.gif import strip_gif
from worker.pipeline.heif import hide_metadata
from worker.pipeline.jpeg import decode_jpeg, reduction
from worker.pipeline.photo import LeastSize, Limits, Photo, Pixels, full_size
from worker.pipeline.pixels import to_rgb, turn_upright
from worker.pipeline.png import read_png
from worker.pipeline.png_rows import decode_png
from worker.pipeline.reduced import decode_reduced
from worker.pipeline.webp import strip_webp

#: The reader of each format but PNG, called directly: Image.open would try others as well.
_READERS: dict[Format, type[ImageFile.ImageFile]] = {
    Format.JPEG: JpegImagePlugin.JpegImageFile,
    Format.WEBP: WebPImagePlugin.WebPImageFile,
    Format.TIFF: TiffImagePlugin.TiffImageFile,
    Format.BMP: BmpImagePlugin.BmpImageFile,
    Format.GIF: GifImagePlugin.GifImageFile,
    Format.HEIF: HeifImageFile,
    Format.AVIF: AvifImagePlugin.AvifImageFile,
}

#: All that Pillow, its plugins, simplejpeg and OpenCV were seen to raise over a damaged file.
_LIBRARY_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    cv2.error,
    struct.error,
    zlib.error,
)

#: How Pillow says that a file may be sound but is of a kind it does not read.
_NOT_READ = ("unknown pixel mode", "cannot handle", "Unsupported BMP")

#: Modes whose pixels may be averaged: neither indices into a palette, nor of more than 8 bits,
#: nor with transparency, which counts for more than its share.
_REDUCIBLE = ("RGB", "L", "CMYK", "YCbCr")

_NEW_SUBFILE_TYPE = 254
_DNG_VERSION = 50706


def decode(data: bytes, limits: Limits, *, least_size: LeastSize = full_size) -> Photo:
    """Decode a photo and turn it upright.

    `least_size` says how small the result may be; it is made smaller by 2, 4 or 8, or not at all.

    Raises ImageEmpty, UnsupportedFormat, ImageCorrupt, ImageTooLarge or ImageTooSmall.
    """
    limits.check_bytes(len(data))
    found = _tell_format(data)
    with _guarded(limits):
        if found is Format.PNG:
            return _decode_png(data, limits, least_size)
        if found is Format.BMP and (fields := read_bit_fields(data)):
            return _decode_bit_fields(fields, limits, least_size)
        data, described = _strip(data, found)
        image = _open(data, found)
        image.info.update(described)
        limits.check_size(image.height, image.width)
        if found is Format.JPEG:
            return _decode_jpeg(data, image, least_size)
        return _decode_other(data, image, found, limits, least_size)


def limit_decoder_threads() -> None:
    """Let the decoders use one thread: a worker runs one child for each core."""
    cv2.setNumThreads(1)
    heif_options.DECODE_THREADS = 1
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def _tell_format(data: bytes) -> Format:
    if not data:
        raise ImageEmpty
    head = data[:HEAD_BYTES]
    found = sniff_format(head)
    if found is None:
        raise UnsupportedFormat(why_unread("", head))
    return found


@contextmanager
def _guarded(limits: Limits) -> Iterator[None]:
    """Translate what the libraries raise over a bad file, and silence what they warn of.

    Pillow's own cap on pixels becomes ours for the while: it looks at sizes that appear
    only during decoding, such as that of a TIFF's tile.
    """
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limits.max_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError as exc:
        raise ImageTooLarge from exc
    except _LIBRARY_ERRORS as exc:
        raise ImageCorrupt from exc
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def _strip(data: bytes, found: Format) -> tuple[bytes, dict[str, bytes]]:
    """Return a file without what its reader may stumble over beside the picture, and what that said."""
    match found:
        case Format.WEBP:
            return strip_webp(data)
        case Format.GIF:
            return strip_gif(data), {}
        case Format.BMP:
            return mend_offset(data), {}
        case Format.AVIF:
            # Only the container's own rotation counts, which Pillow hands on as EXIF.
            return hide_metadata(data), {}
    return data, {}


def _open(data: bytes, found: Format) -> ImageFile.ImageFile:
    """Read a file's header, but no pixels."""
    try:
        image = _READERS[found](io.BytesIO(data))
    except (SyntaxError, OSError) as exc:
        if any(words in str(exc) for words in _NOT_READ):
            raise UnsupportedFormat(f"This kind of {found.upper()} is not one Fathom reads.") from exc
        raise
    if found is Format.TIFF:
        _refuse_camera_raw(data, image)
    return image


def _refuse_camera_raw(data: bytes, image: ImageFile.ImageFile) -> None:
    """Refuse raw files, which are TIFFs whose first page is a thumbnail or a preview."""
    tags = getattr(image, "tag_v2", {})
    is_reduced = isinstance(kind := tags.get(_NEW_SUBFILE_TYPE, 0), int) and kind & 1
    if is_reduced or _DNG_VERSION in tags or data[8:10] == b"CR":
        raise UnsupportedFormat("This is a camera's raw file; export it as JPEG, PNG or TIFF first.")


def _decode_png(data: bytes, limits: Limits, least_size: LeastSize) -> Photo:
    png = read_png(data)
    limits.check_size(png.height, png.width)
    described = Image.Image()
    described.info.update(png.info)
    orientation = _orientation(described)
    height, width = _upright(png.height, png.width, orientation)
    least = _upright(*least_size(height, width), orientation)
    pixels = decode_png(png, by=reduction(png.height, png.width, least))
    rgb = turn_upright(pixels, orientation)
    return Photo(rgb=rgb, height=height, width=width, format=Format.PNG, orientation=orientation)


def _decode_bit_fields(fields: BitFields, limits: Limits, least_size: LeastSize) -> Photo:
    height, width = fields.height, fields.width
    limits.check_size(height, width)
    rgb = decode_bit_fields(fields, by=reduction(height, width, least_size(height, width)))
    return Photo(rgb=rgb, height=height, width=width, format=Format.BMP, orientation=1)


def _decode_jpeg(data: bytes, image: ImageFile.ImageFile, least_size: LeastSize) -> Photo:
    orientation = _orientation(image)
    height, width = _upright(image.height, image.width, orientation)
    least = _upright(*least_size(height, width), orientation)
    pixels = decode_jpeg(data, image, by=reduction(image.height, image.width, least))
    return Photo(
        rgb=turn_upright(pixels, orientation),
        height=height,
        width=width,
        format=Format.JPEG,
        orientation=orientation,
    )


def _decode_other(
    data: bytes, image: ImageFile.ImageFile, found: Format, limits: Limits, least_size: LeastSize
) -> Photo:
    if found is Format.WEBP and (photo := _decode_large(data, image, least_size)) is not None:
        return photo
    before = _orientation(image) if found is Format.TIFF else None
    image.load()
    # The size in a HEIF's header need not be that of the picture inside.
    limits.check_size(image.height, image.width)
    # Pillow turns a TIFF upright by itself, and libheif a HEIF.
    left = _orientation(image)
    height, width = _upright(image.height, image.width, left)
    least = _upright(*least_size(height, width), left)
    rgb = turn_upright(_reduced_rgb(image, reduction(image.height, image.width, least)), left)
    applied = before or image.info.get("original_orientation") or left
    return Photo(rgb=rgb, height=height, width=width, format=found, orientation=_valid(applied))


def _decode_large(data: bytes, image: ImageFile.ImageFile, least_size: LeastSize) -> Photo | None:
    """Decode a large WebP at a reduced size; None if it is left to Pillow."""
    orientation = _orientation(image)
    height, width = _upright(image.height, image.width, orientation)
    least = _upright(*least_size(height, width), orientation)
    pixels = decode_reduced(data, image, by=reduction(image.height, image.width, least))
    if pixels is None:
        return None
    rgb = turn_upright(pixels, orientation)
    return Photo(rgb=rgb, height=height, width=width, format=Format.WEBP, orientation=orientation)


def _reduced_rgb(image: ImageFile.ImageFile, by: int) -> Pixels:
    """Return a loaded picture as RGB, averaged over squares of `by` pixels where that is simple.

    Pillow holds a pixel of RGB in four bytes and copies it twice on the way to NumPy: of 50
    megapixels 500 MB. A picture of another mode, rare at that size, is converted as it is.
    """
    if by == 1 or image.mode not in _REDUCIBLE:
        return to_rgb(image)
    reduced = image.reduce(by)
    image.close()
    return to_rgb(reduced)


def _upright(height: int, width: int, orientation: int) -> tuple[int, int]:
    return (width, height) if orientation >= 5 else (height, width)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that is yet to be applied; 1 where it cannot be read."""
    try:
        return _valid(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _LIBRARY_ERRORS:
        # Damaged metadata costs a picture its metadata, not its depth map.
        return 1


def _valid(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
