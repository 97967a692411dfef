"""Google's depth map metadata: a map as a PNG or JPEG in the XMP of a photo.

Format: developers.google.com/depthmap-metadata (reference and encoding). Distances from `near` to `far` are
stored from 0 to the largest value, so near is dark. RangeLinear is linear in distance, and RangeInverse in
inverse distance.
"""

from __future__ import annotations

import base64

from worker.pipeline.embedded.jpeg_xmp import (
    MOST_IN_A_SEGMENT,
    XmpPackets,
    digest,
    read_packets,
    with_packets,
)
from worker.pipeline.embedded.packet import Packet, XmpUnreadable

GDEPTH = "http://ns.google.com/photos/1.0/depthmap/"
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
