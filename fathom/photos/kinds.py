"""What a file of an album is, by its name and its first bytes.

Used by the commands, the Python client, the reader of ZIP archives and the listing of prefixes. The
page has the same in `api/static/uploads/kinds.js`, and a test compares the two.
"""

from __future__ import annotations

import posixpath
from enum import StrEnum

from fathom.photos.formats import SUFFIXES, Format, sniff_format
from fathom.photos.labels import is_labels


class FileKind(StrEnum):
    """What a file is to somebody who wants depth maps of an album."""

    #: Worth a try: its content is a picture Fathom reads, or its name says so.
    PHOTO = "photo"
    #: A picture that Fathom does not read: it is named as failed.
    UNREAD = "unread"
    VIDEO = "video"
    #: Notes that cameras, phones and programs keep beside a photo.
    SIDECAR = "sidecar"
    OTHER = "other"


#: Cameras' raw files by suffix, as their owners know them.
RAW = {
    ".3fr": "Hasselblad 3FR",
    ".arw": "Sony ARW",
    ".bay": "Casio BAY",
    ".cr2": "Canon CR2",
    ".cr3": "Canon CR3",
    ".crw": "Canon CRW",
    ".dcr": "Kodak DCR",
    ".dng": "DNG",
    ".eip": "Phase One EIP",
    ".erf": "Epson ERF",
    ".fff": "Hasselblad FFF",
    ".gpr": "GoPro GPR",
    ".iiq": "Phase One IIQ",
    ".kdc": "Kodak KDC",
    ".mef": "Mamiya MEF",
    ".mos": "Leaf MOS",
    ".mrw": "Minolta MRW",
    ".nef": "Nikon NEF",
    ".nrw": "Nikon NRW",
    ".orf": "Olympus ORF",
    ".ori": "Olympus ORI",
    ".pef": "Pentax PEF",
    ".raf": "Fujifilm RAF",
    ".raw": "RAW",
    ".rw2": "Panasonic RW2",
    ".rwl": "Leica RWL",
    ".sr2": "Sony SR2",
    ".srf": "Sony SRF",
    ".srw": "Samsung SRW",
    ".x3f": "Sigma X3F",
}

#: Other pictures by suffix that Fathom does not read.
PICTURES = {
    ".avci": "HEIF video frame",
    ".avifs": "AVIF sequence",
    ".exr": "OpenEXR",
    ".hdp": "JPEG XR",
    ".hdr": "Radiance HDR",
    ".heics": "HEIC sequence",
    ".heifs": "HEIF sequence",
    ".icns": "icon",
    ".ico": "icon",
    ".j2c": "JPEG 2000",
    ".j2k": "JPEG 2000",
    ".jp2": "JPEG 2000",
    ".jpc": "JPEG 2000",
    ".jpf": "JPEG 2000",
    ".jpx": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".jxr": "JPEG XR",
    ".pam": "Netpbm",
    ".pbm": "Netpbm",
    ".pcx": "PCX",
    ".pgm": "Netpbm",
    ".pnm": "Netpbm",
    ".ppm": "Netpbm",
    ".psb": "Photoshop",
    ".psd": "Photoshop",
    ".svg": "SVG",
    ".svgz": "SVG",
    ".tga": "Targa",
    ".wdp": "JPEG XR",
    ".xcf": "GIMP",
}

#: Among them what cameras and phones call theirs: `.insv` (Insta360), `.lrv` (GoPro), `.mp` (Pixel).
VIDEOS = frozenset(
    {".mov", ".mp4", ".m4v", ".avi", ".3gp", ".3g2", ".3gpp", ".mts", ".m2ts", ".m2t", ".mkv", ".webm"}
    | {".wmv", ".mpg", ".mpeg", ".mpe", ".vob", ".flv", ".f4v", ".ogv", ".asf", ".mxf", ".divx", ".dv", ".qt"}
    | {".mod", ".tod", ".lrv", ".lrf", ".insv", ".360", ".braw", ".r3d", ".crm", ".mp"}
)

#: A `.thm` is a JPEG, of a video.
SIDECARS = frozenset(
    {".xmp", ".aae", ".thm", ".json", ".xml", ".pp3", ".dop", ".cos", ".arp", ".nksc", ".vrd", ".on1"}
    | {".acr", ".modd", ".moff", ".srt", ".gpx", ".bdm", ".cpi", ".mpl", ".ctg"}
)

#: Folders and files that systems keep for themselves, in lower case. What begins with a dot is hidden anyway.
SYSTEM_NAMES = frozenset(
    {"__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot"}
    | {"$recycle.bin", "system volume information", "lost+found", "found.000"}
    | {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
)

#: Raw files and pictures by their first bytes. Raw files that are TIFFs begin as those do.
_SIGNATURES = (
    (b"FUJIFILMCCD-RAW", RAW[".raf"]),
    (b"IIU\0", RAW[".rw2"]),
    (b"IIRO", RAW[".orf"]),
    (b"IIRS", RAW[".orf"]),
    (b"MMOR", RAW[".orf"]),
    (b"FOVb", RAW[".x3f"]),
    (b"\0MRM", RAW[".mrw"]),
    (b"\xff\x0a", PICTURES[".jxl"]),
    (b"\0\0\0\x0cJXL \r\n\x87\n", PICTURES[".jxl"]),
    (b"\0\0\0\x0cjP  \r\n\x87\n", PICTURES[".jp2"]),
    (b"\xff\x4f\xff\x51", PICTURES[".j2k"]),
    (b"II\xbc\x01", PICTURES[".jxr"]),
    (b"8BPS", PICTURES[".psd"]),
    (b"gimp xcf", PICTURES[".xcf"]),
    (b"\x76\x2f\x31\x01", PICTURES[".exr"]),
    (b"#?RADIANCE", PICTURES[".hdr"]),
    (b"#?RGBE", PICTURES[".hdr"]),
    (b"<svg", PICTURES[".svg"]),
    (b"icns", PICTURES[".icns"]),
)

#: The first brand of a file in ISO's container (ISO/IEC 14496-12) that is neither video nor readable.
_BRANDS = {
    b"crx ": RAW[".cr3"],
    b"avci": PICTURES[".avci"],
    b"avcs": PICTURES[".avci"],
    b"jxl ": PICTURES[".jxl"],
    b"jp2 ": PICTURES[".jp2"],
}
_VIDEO_SIGNATURES = (b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"\0\0\x01\xb3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11")
#: Boxes that a QuickTime film without a brand begins with.
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"pnot"})

_RAW_LABELS = frozenset(RAW.values())
#: Suffixes that are believed.
_TELLING = SUFFIXES | VIDEOS | SIDECARS | RAW.keys()


def is_hidden(name: str) -> bool:
    """Return whether a relative path is, or lies in, what a person does not see when looking at the album."""
    parts = name.replace("\\", "/").split("/")
    return any(
        part.lower() in SYSTEM_NAMES or (part.startswith(".") and part not in (".", "..")) for part in parts
    )


def needs_head(name: str) -> bool:
    """Return whether a file's name alone does not tell what it is."""
    return _suffix(name) not in _TELLING


def kind_of(name: str, head: bytes = b"") -> FileKind:
    """Tell what a file is from its name and its first HEAD_BYTES bytes, if they are at hand.

    A name that says video, sidecar or raw file is believed; of all others, what Fathom reads is a photo.
    """
    suffix = _suffix(name)
    if suffix in VIDEOS:
        return FileKind.VIDEO
    if suffix in SIDECARS or is_labels(name):
        return FileKind.SIDECAR
    if suffix in RAW:
        return FileKind.UNREAD
    if suffix in SUFFIXES or (sniff_format(head) is not None and _tiff_label(head) is None):
        return FileKind.PHOTO
    if suffix in PICTURES or _label(head) is not None:
        return FileKind.UNREAD
    return FileKind.VIDEO if _is_video(head) else FileKind.OTHER


def is_raw_tiff(name: str, head: bytes) -> bool:
    """Return whether a TIFF is a camera's raw file: the picture in it may be no more than a thumbnail."""
    return sniff_format(head) is Format.TIFF and (_suffix(name) in RAW or _tiff_label(head) is not None)


def why_unread(name: str, head: bytes) -> str | None:
    """Return in a sentence what a file is that Fathom does not read; None where that is not known."""
    suffix = _suffix(name)
    label = _label(head) or RAW.get(suffix) or PICTURES.get(suffix)
    if label in _RAW_LABELS:
        return f"This is a camera's raw file ({label}); export it as JPEG, PNG or TIFF first."
    if label is not None:
        return f"Fathom does not read this kind of picture ({label}); export it as JPEG, PNG or TIFF first."
    if suffix in VIDEOS or _is_video(head):
        return "This is a video; Fathom makes depth maps of photos."
    return None


def _suffix(name: str) -> str:
    return posixpath.splitext(name.replace("\\", "/"))[1].lower()


def _label(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head[6:14] == b"HEAPCCDR":
        return RAW[".crw"]
    known = next((label for signature, label in _SIGNATURES if head.startswith(signature)), None)
    return known or _tiff_label(head)


def _tiff_label(head: bytes) -> str | None:
    """Return what a TIFF is whose maker marked it behind the header: Canon and Phase One do."""
    if sniff_format(head) is not Format.TIFF:
        return None
    return RAW[".cr2"] if head[8:10] == b"CR" else RAW[".iiq"] if head[8:12] == b"IIII" else None


def _is_video(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12] not in _BRANDS and sniff_format(head) is None
    is_avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return is_avi or head[4:8] in _QUICKTIME_BOXES or head.startswith(_VIDEO_SIGNATURES)
