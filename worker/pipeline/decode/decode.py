"""From the bytes of a file to an upright RGB photo; told by content, never by name.

Nothing in a file is trusted. Its size is checked before a pixel is decoded, and a file
that stops before its end or is damaged is refused as a whole: no depth map is ever made
from part of a picture. What costs no pixel is no damage: what is odd beside the pixels of a JPEG
(`jpeg_file`), what only describes a picture, and what follows its end (the video of a motion photo,
the second picture of a stereo camera).
"""

from __future__ import annotations

import io
import lzma
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    WebPImagePlugin,
)
from pillow_heif import options as heif_options
from pillow_heif.as_plugin import HeifImageFile

from fathom.photos.formats import HEAD_BYTES, Format, sniff_format
from fathom.photos.kinds import why_unread
from shared.errors import ImageCorrupt, ImageEmpty, ImageTooLarge, UnsupportedFormat
from worker.pipeline.decode.bmp import BitFields, decode_bit_fields, mend_offset, read_bit_fields
from worker.pipeline.decode.gif import strip_gif
from worker.pipeline.decode.heif import hide_metadata
from worker.pipeline.decode.jpeg import decode_jpeg, reduction
from worker.pipeline.decode.jpeg_file import read_jpeg
from worker.pipeline.decode.orientation import (
    PILLOW_ERRORS,
    orientation_in,
    orientation_of,
    orientation_of_heif,
    upright_size,
)
from worker.pipeline.decode.pixels import to_rgb, turn_upright
from worker.pipeline.decode.png import read_png
from worker.pipeline.decode.png_rows import decode_png
from worker.pipeline.decode.reduced import decode_reduced
from worker.pipeline.decode.tiff.decode import decode_tiff
from worker.pipeline.decode.webp import strip_webp
from worker.pipeline.photo import LeastSize, Limits, Photo, Pixels, full_size

#: Pillow's reader of each format that is left to it, called directly: Image.open would try others as well.
_READERS: dict[Format, type[ImageFile.ImageFile]] = {
    Format.WEBP: WebPImagePlugin.WebPImageFile,
    Format.BMP: BmpImagePlugin.BmpImageFile,
    Format.GIF: GifImagePlugin.GifImageFile,
    Format.HEIF: HeifImageFile,
    Format.AVIF: AvifImagePlugin.AvifImageFile,
}

#: All that Pillow, its plugins, simplejpeg and OpenCV were seen to raise over a damaged file.
_LIBRARY_ERRORS = (*PILLOW_ERRORS, cv2.error, lzma.LZMAError, zlib.error)

#: How Pillow says that a file may be sound but is of a kind it does not read.
_NOT_READ = ("unknown pixel mode", "cannot handle", "Unsupported BMP")

#: Modes whose pixels may be averaged: neither indices into a palette, nor of more than 8 bits,
#: nor with transparency, which counts for more than its share.
_REDUCIBLE = ("RGB", "L", "CMYK", "YCbCr")


def decode(data: bytes, limits: Limits, *, least_size: LeastSize = full_size) -> Photo:
    """Decode a photo and turn it upright.

    `least_size` says how small the result may be; it is made smaller by 2, 4 or 8, or not at all.

    Raises ImageEmpty, UnsupportedFormat, ImageCorrupt, ImageTooLarge or ImageTooSmall.
    """
    limits.check_bytes(len(data))
    found = _tell_format(data)
    with _guarded(limits):
        if found is Format.JPEG:
            return _decode_jpeg(data, limits, least_size)
        if found is Format.PNG:
            return _decode_png(data, limits, least_size)
        if found is Format.BMP and (fields := read_bit_fields(data)):
            return _decode_bit_fields(fields, limits, least_size)
        if found is Format.TIFF:
            return decode_tiff(data, limits, least_size)
        data, described = _strip(data, found)
        image = _open(data, found)
        image.info.update(described)
        limits.check_size(image.height, image.width)
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
    only during decoding.
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
    return image


def _decode_png(data: bytes, limits: Limits, least_size: LeastSize) -> Photo:
    png = read_png(data)
    limits.check_size(png.height, png.width)
    described = Image.Image()
    described.info.update(png.info)
    orientation = orientation_of(described)
    height, width = upright_size(png.height, png.width, orientation)
    least = upright_size(*least_size(height, width), orientation)
    pixels = decode_png(png, by=reduction(png.height, png.width, least))
    rgb = turn_upright(pixels, orientation)
    return Photo(rgb=rgb, height=height, width=width, format=Format.PNG, orientation=orientation)


def _decode_bit_fields(fields: BitFields, limits: Limits, least_size: LeastSize) -> Photo:
    height, width = fields.height, fields.width
    limits.check_size(height, width)
    rgb = decode_bit_fields(fields, by=reduction(height, width, least_size(height, width)))
    return Photo(rgb=rgb, height=height, width=width, format=Format.BMP, orientation=1)


def _decode_jpeg(data: bytes, limits: Limits, least_size: LeastSize) -> Photo:
    file = read_jpeg(data)
    stored = file.frame.height, file.frame.width
    limits.check_size(*stored)
    orientation = orientation_in(file.exif)
    height, width = upright_size(*stored, orientation)
    least = upright_size(*least_size(height, width), orientation)
    # Handed on unnamed: of 200 megapixels the lying picture has 600 MB, which nothing else may hold.
    rgb = turn_upright(decode_jpeg(data, file, by=reduction(*stored, least)), orientation)
    return Photo(
        rgb=rgb,
        height=height,
        width=width,
        format=Format.JPEG,
        orientation=orientation,
    )


def _decode_other(
    data: bytes, image: ImageFile.ImageFile, found: Format, limits: Limits, least_size: LeastSize
) -> Photo:
    if (photo := _decode_large(data, image, found, least_size)) is not None:
        return photo
    # libheif turns a HEIF upright by itself.
    before = _orientation_before(image)
    image.load()
    # The size in a HEIF's header need not be that of the picture inside.
    limits.check_size(image.height, image.width)
    left = 1 if found is Format.HEIF else orientation_of(image)
    height, width = upright_size(image.height, image.width, left)
    least = upright_size(*least_size(height, width), left)
    rgb = turn_upright(_reduced_rgb(image, reduction(image.height, image.width, least)), left)
    return Photo(rgb=rgb, height=height, width=width, format=found, orientation=before or left)


def _orientation_before(image: ImageFile.ImageFile) -> int | None:
    """Return the orientation that is applied while the pixels are decoded; None if none is."""
    return orientation_of_heif(image) if isinstance(image, HeifImageFile) else None


def _decode_large(
    data: bytes, image: ImageFile.ImageFile, found: Format, least_size: LeastSize
) -> Photo | None:
    """Decode a large WebP or HEIF at a reduced size; None if it is left to Pillow."""
    if found not in (Format.WEBP, Format.HEIF):
        return None
    before = _orientation_before(image)
    orientation = orientation_of(image) if found is Format.WEBP else 1
    height, width = upright_size(image.height, image.width, orientation)
    least = upright_size(*least_size(height, width), orientation)
    pixels = decode_reduced(data, image, by=reduction(image.height, image.width, least))
    if pixels is None:
        return None
    rgb = turn_upright(pixels, orientation)
    return Photo(rgb=rgb, height=height, width=width, format=found, orientation=before or orientation)


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
