"""Decode the bytes of a file to an upright RGB photo; the content decides the format, never the name.

Nothing in a file is trusted. Its size is checked before any pixel is decoded. A file that is damaged or cut
off is refused as a whole: no depth map is ever made from part of a picture. What costs no pixel is no
damage: oddities beside the pixels of a JPEG (`jpeg_file`), metadata, and data after the picture's end (the
video of a motion photo, the second picture of a stereo camera).
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

#: Pillow's reader for each format that Pillow decodes. Image.open would try others as well.
_READERS: dict[Format, type[ImageFile.ImageFile]] = {
    Format.WEBP: WebPImagePlugin.WebPImageFile,
    Format.BMP: BmpImagePlugin.BmpImageFile,
    Format.GIF: GifImagePlugin.GifImageFile,
    Format.HEIF: HeifImageFile,
    Format.AVIF: AvifImagePlugin.AvifImageFile,
}

#: Every error that Pillow, its plugins, simplejpeg and OpenCV were seen to raise for a damaged file.
_LIBRARY_ERRORS = (*PILLOW_ERRORS, cv2.error, lzma.LZMAError, zlib.error)

#: How Pillow says that it does not read this kind of file, which may be sound.
_NOT_READ = ("unknown pixel mode", "cannot handle", "Unsupported BMP")

#: Modes whose pixels may be averaged: not palette indices, not more than 8 bits, and no transparency, whose
#: pixels would count too much.
_REDUCIBLE = ("RGB", "L", "CMYK", "YCbCr")


def decode(data: bytes, limits: Limits, *, least_size: LeastSize = full_size) -> Photo:
    """Decode a photo and turn it upright.

    `least_size` says how small the result may be. It is reduced by 2, 4 or 8, or not at all.

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
    """Limit the decoders to one thread: a worker runs one child for each core."""
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
    """Translate the libraries' errors for bad files, and silence their warnings.

    Pillow's own limit on pixels becomes ours meanwhile, because it checks sizes that appear only during
    decoding.
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
    """Return a file without the metadata that may stop its reader, and that metadata."""
    match found:
        case Format.WEBP:
            return strip_webp(data)
        case Format.GIF:
            return strip_gif(data), {}
        case Format.BMP:
            return mend_offset(data), {}
        case Format.AVIF:
            # Only the container's own rotation counts; Pillow returns it as EXIF.
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
    # Keep no name for the picture before it is turned: 200 megapixels have 600 MB, to be freed at once.
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
    # libheif turns a HEIF upright itself.
    before = _orientation_before(image)
    image.load()
    # A HEIF's header may state another size than its picture has.
    limits.check_size(image.height, image.width)
    left = 1 if found is Format.HEIF else orientation_of(image)
    height, width = upright_size(image.height, image.width, left)
    least = upright_size(*least_size(height, width), left)
    rgb = turn_upright(_reduced_rgb(image, reduction(image.height, image.width, least)), left)
    return Photo(rgb=rgb, height=height, width=width, format=found, orientation=before or left)


def _orientation_before(image: ImageFile.ImageFile) -> int | None:
    """Return the orientation that decoding itself applies; None if it applies none."""
    return orientation_of_heif(image) if isinstance(image, HeifImageFile) else None


def _decode_large(
    data: bytes, image: ImageFile.ImageFile, found: Format, least_size: LeastSize
) -> Photo | None:
    """Decode a large WebP or HEIF at a reduced size; return None to leave it to Pillow."""
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
    """Return a loaded picture as RGB, averaged over squares of `by` pixels if its mode allows that.

    Pillow stores a pixel of RGB in four bytes and copies it twice on the way to NumPy: 500 MB for 50
    megapixels. Pictures of other modes, rare at that size, are converted at full size.
    """
    if by == 1 or image.mode not in _REDUCIBLE:
        return to_rgb(image)
    reduced = image.reduce(by)
    image.close()
    return to_rgb(reduced)
