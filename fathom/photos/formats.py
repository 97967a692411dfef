"""Picture formats, told by content; the suffix of a name only hints at what to look at."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A format Fathom reads."""

    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    TIFF = "tiff"
    BMP = "bmp"
    GIF = "gif"
    HEIF = "heif"
    AVIF = "avif"


#: Suffixes, in lower case, of files that their owner takes for a photo Fathom reads.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".dib"}
    | {".gif", ".heic", ".heif", ".hif", ".avif"}
)

#: Bytes from the start of a file that `sniff_format` wants to see.
HEAD_BYTES = 64

_SIGNATURES = (
    (b"\xff\xd8\xff", Format.JPEG),
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    # The third pair is BigTIFF.
    (b"II*\0", Format.TIFF),
    (b"MM\0*", Format.TIFF),
    (b"II+\0", Format.TIFF),
    (b"MM\0+", Format.TIFF),
)

#: Sizes of the header that follows a bitmap's first 14 bytes. Without this check every
#: text that begins with "BM" would pass for a bitmap.
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)


def media_type(found: Format) -> str:
    """Return the media type of a format; `image/` and the name is the registered one for all of them."""
    return f"image/{found}"


def sniff_format(head: bytes) -> Format | None:
    """Tell a picture's format from its first HEAD_BYTES bytes; None if it is none Fathom reads."""
    for signature, found in _SIGNATURES:
        if head.startswith(signature):
            return found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return Format.WEBP
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return Format.BMP
    return _sniff_boxes(head)


def _sniff_boxes(head: bytes) -> Format | None:
    """Tell HEIF and AVIF from each other and from video, which shares their container.

    The brands are those of ISO/IEC 23008-12, annex B, and of the AVIF specification. A file
    whose first brand is the neutral `mif1` is AVIF if `avif` is among the others.
    """
    if head[4:8] != b"ftyp":
        return None
    size = min(int.from_bytes(head[:4], "big"), len(head))
    major = head[8:12]
    compatible = {head[at : at + 4] for at in range(16, size - 3, 4)}
    if major in _AVIF_BRANDS or (major in _HEIF_BRANDS and compatible & _AVIF_BRANDS):
        return Format.AVIF
    return Format.HEIF if major in _HEIF_BRANDS else None
