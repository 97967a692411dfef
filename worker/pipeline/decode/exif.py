"""What the EXIF of a photo says of its lens, read from the file's header: no pixel is decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

from PIL import AvifImagePlugin, ExifTags, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin
from pillow_heif.as_plugin import HeifImageFile

from fathom.photos.formats import HEAD_BYTES, Format, sniff_format
from shared.errors import ImageError
from worker.pipeline.decode.orientation import PILLOW_ERRORS
from worker.pipeline.decode.webp import strip_webp


def equivalent_focal_length(data: bytes) -> float | None:
    """Return the focal length in millimetres on film of 36 x 24 mm that sees as much along the diagonal.

    It is FocalLengthIn35mmFilm (CIPA DC-008, tag 41989). None if the file does not say, or is damaged.
    """
    read = _READERS.get(found) if (found := sniff_format(data[:HEAD_BYTES])) else None
    if read is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lens = read(data).get_ifd(ExifTags.IFD.Exif)
            length = float(lens.get(ExifTags.Base.FocalLengthIn35mmFilm, 0))
    except (*PILLOW_ERRORS, ImageError):
        # Damaged metadata costs a picture its metadata, nothing else.
        return None
    # 0 means unknown.
    return length if 0 < length < float("inf") else None


def _exif_of(reader: Callable[[io.BytesIO], Image.Image]) -> Callable[[bytes], Image.Exif]:
    """Return what reads the EXIF of a file whose reader in Pillow decodes nothing when it opens it."""
    # The method of Pillow's PNGs would decode all pixels, for an EXIF that may follow them.
    return lambda data: Image.Image.getexif(reader(io.BytesIO(data)))


def _exif_of_webp(data: bytes) -> Image.Exif:
    # Pillow's reader makes room for two pictures when it opens a file.
    exif = Image.Exif()
    exif.load(strip_webp(data)[1].get("exif", b""))
    return exif


_READERS: dict[Format, Callable[[bytes], Image.Exif]] = {
    Format.JPEG: _exif_of(JpegImagePlugin.JpegImageFile),
    Format.PNG: _exif_of(PngImagePlugin.PngImageFile),
    Format.TIFF: _exif_of(TiffImagePlugin.TiffImageFile),
    Format.HEIF: _exif_of(HeifImageFile),
    Format.AVIF: _exif_of(AvifImagePlugin.AvifImageFile),
    Format.WEBP: _exif_of_webp,
}
