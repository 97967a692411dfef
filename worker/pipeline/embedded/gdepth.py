"""Google's depth map metadata: a map as a PNG or JPEG in the XMP of a photo.

Format: developers.google.com/depthmap-metadata (reference and encoding). Distances from `near` to `far` are
stored from 0 to the largest value, so near is dark. RangeLinear is linear in distance, and RangeInverse in
inverse distance.
"""

from __future__ import annotations

import base64
from math import isfinite

import cv2
import numpy as np

from fathom.photos.formats import HEAD_BYTES, Format, sniff_format
from worker.pipeline.decode.decode import decode
from worker.pipeline.decode.png import read_png
from worker.pipeline.embedded.jpeg_xmp import (
    MOST_IN_A_SEGMENT,
    XmpPackets,
    digest,
    read_packets,
    with_packets,
)
from worker.pipeline.embedded.packet import Packet, XmpUnreadable
from worker.pipeline.embedded.stored import DepthUnusable, StoredDepth, shrink, smooth_levels
from worker.pipeline.photo import Floats, Limits

GDEPTH = "http://ns.google.com/photos/1.0/depthmap/"
_INVERSE, _LINEAR = "RangeInverse", "RangeLinear"
_NOTE = "http://ns.adobe.com/xmp/note/"


def with_depth(jpeg: bytes, properties: dict[str, str], picture: bytes) -> bytes:
    """Return a JPEG with a depth map in its XMP. All but the XMP stays byte for byte.

    `properties` are those of the namespace but Data, which is `picture`. The JPEG keeps all other properties
    that it has, and loses an older map. A packet that cannot be read is replaced.
    """
    packets = read_packets(jpeg)
    packet, extension = _parse(packets.standard), _parse(packets.extended)
    for each in (packet, extension):
        each.remove(GDEPTH)
    packet.remove(_NOTE, "HasExtendedXMP")
    text = base64.b64encode(picture).decode()
    if not packets.extended:
        whole = _parse(packet.to_bytes())
        whole.add("GDepth", GDEPTH, properties | {"Data": text})
        if len(marked := whole.to_marked_bytes()) <= MOST_IN_A_SEGMENT:
            return with_packets(jpeg, XmpPackets(standard=marked))
    return with_packets(jpeg, _divide(packet, extension, properties, text))


def _divide(packet: Packet, extension: Packet, properties: dict[str, str], text: str) -> XmpPackets:
    """Return a standard packet that fits into its segment, and an extended one with the map."""
    extension.add("GDepth", GDEPTH, {"Data": text}, packet.about)
    extended = extension.to_bytes()
    packet.add("GDepth", GDEPTH, properties)
    packet.add("xmpNote", _NOTE, {"HasExtendedXMP": digest(extended)})
    if len(marked := packet.to_marked_bytes()) <= MOST_IN_A_SEGMENT:
        return XmpPackets(standard=marked, extended=extended)
    # The photo's own properties fill the segment: any of them may move to the extended packet.
    packet.absorb(extension)
    packet.remove(GDEPTH)
    packet.remove(_NOTE, "HasExtendedXMP")
    return _divide(Packet(), packet, properties, text)


def _parse(data: bytes) -> Packet:
    try:
        return Packet(data) if data else Packet()
    except XmpUnreadable:
        return Packet()


def read_gdepth(jpeg: bytes, limits: Limits) -> StoredDepth | None:
    """Return the depth map in a JPEG's XMP, None if there is none.

    Raises DepthUnusable, and what `decode` raises for the picture in it.
    """
    packets = read_packets(jpeg)
    if GDEPTH.encode() not in packets.standard + packets.extended:
        return None
    found = _properties(packets)
    if found.get("Data") is None and found.get("Format") is None:
        return None
    try:
        picture = base64.b64decode(found.get("Data") or "")
    except ValueError as exc:
        raise DepthUnusable("It is damaged.") from exc
    stored = _shares(picture, limits)
    kind = found.get("Format") or _INVERSE
    near, far = _distance(found.get("Near")), _distance(found.get("Far"))
    # Its own orientation is none: it lies as the photo is stored.
    return StoredDepth(
        values=_inverse_distances(stored, kind, near, far), format=f"GDepth {kind}", orientation=None
    )


def _properties(packets: XmpPackets) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    try:
        for packet in (Packet(data) for data in (packets.standard, packets.extended) if data):
            for name in ("Format", "Near", "Far", "Data"):
                found[name] = found.get(name) or packet.get(GDEPTH, name)
    except XmpUnreadable as exc:
        raise DepthUnusable("Its XMP is damaged.") from exc
    return found


def _shares(picture: bytes, limits: Limits) -> Floats:
    """Decode a map's picture, a JPEG or PNG; return its values from 0 to 1."""
    if sniff_format(picture[:HEAD_BYTES]) not in (Format.JPEG, Format.PNG):
        raise DepthUnusable("It is neither a PNG nor a JPEG.")
    # This refuses what is too large or damaged, and has 8 bits.
    shown = decode(picture, limits)
    values = np.asarray(shown.rgb[..., 1], np.float32)
    if shown.format is Format.PNG and shown.orientation == 1 and read_png(picture).depth == 16:
        words = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
        if words is not None and words.dtype == np.uint16 and words.shape == values.shape:
            return np.asarray(shrink(words / np.float32(65535)), np.float32)
    return np.asarray(smooth_levels(shrink(values)) / np.float32(255), np.float32)


def _inverse_distances(shares: Floats, kind: str, near: float, far: float) -> Floats:
    """Return 1 / distance, or what is linear in it where the distances are not known."""
    known = 0 < near < far
    if kind == _INVERSE:
        return 1 / near - shares * (1 / near - 1 / far) if known else 1 - shares
    if kind == _LINEAR and known:
        return np.asarray(1 / (near + shares * (far - near)), np.float32)
    raise DepthUnusable("Its format or its distances are not those of a depth map.")


def _distance(text: str | None) -> float:
    """Return a finite number, 0 for anything else."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0
    return value if isfinite(value) else 0
