"""Write frames as a film or as an animated picture, one after another."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from worker.pipeline.photo import Pixels

if TYPE_CHECKING:
    from worker.pipeline.scene.motion.parallax import Planes

#: `crf` is constant quality, 0 (lossless) to 51. The preset does not look ahead; with `mbtree`, files are
#: half as large, and are made faster.
_X264 = {"preset": "superfast", "crf": "20", "x264-params": "mbtree=1:rc-lookahead=10"}
_WEBP_QUALITY = 75
#: Of a GIF, one palette is made from so many frames.
_PALETTE_FRAMES = 4


def encode_mp4(frames: Iterable[Planes], size: tuple[int, int], fps: int) -> bytes:
    """Write frames of even height and width as H.264 in MP4: yuv420p, BT.709, its index first.

    Needs PyAV; raises ImportError without it.
    """
    import av

    with tempfile.TemporaryDirectory(prefix="fathom-") as folder:
        # FFmpeg moves the index to the beginning by reading its own file again.
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as film:
            stream: Any = film.add_stream("libx264", rate=fps, options=_X264)
            _describe(stream, size, fps)
            for number, planes in enumerate(frames):
                frame = _to_frame(planes, av.VideoFrame)
                frame.pts, frame.time_base = number, Fraction(1, fps)
                film.mux(stream.encode(frame))
            film.mux(stream.encode(None))
        return path.read_bytes()


def _describe(stream: Any, size: tuple[int, int], fps: int) -> None:
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = Fraction(1, fps)
    # A child has one core.
    stream.codec_context.thread_count = 1
    # ITU-T H.273: 1 is BT.709 for all three, and 1 is the range of television.
    for name in ("color_primaries", "color_trc", "colorspace", "color_range"):
        setattr(stream.codec_context, name, 1)


def _to_frame(planes: Planes, kind: Any) -> Any:
    height, width = planes.y.shape
    frame = kind(width, height, "yuv420p")
    for target, plane in zip(frame.planes, (planes.y, planes.u, planes.v), strict=True):
        rows = np.frombuffer(target, np.uint8).reshape(-1, target.line_size)
        rows[: plane.shape[0], : plane.shape[1]] = plane
    return frame


def encode_webp(frames: Iterable[Pixels], fps: int) -> bytes:
    """Write RGB frames as an animated WebP that repeats for ever.

    The container is that of RFC 9649, section 2.7. Pillow would hold all frames in memory.
    """
    chunks: list[bytes] = []
    for number, frame in enumerate(frames):
        if not chunks:
            chunks += [_webp_canvas(frame), _chunk(b"ANIM", struct.pack("<IH", 0, 0))]
        milliseconds = round(1000 * (number + 1) / fps) - round(1000 * number / fps)
        still = _encode(Image.fromarray(frame), "WEBP", quality=_WEBP_QUALITY, method=2)
        # At the place (0, 0), with flags that say: do not blend. A still begins with 12 bytes of RIFF.
        place = bytes(6) + _webp_size(frame) + milliseconds.to_bytes(3, "little") + b"\2"
        chunks.append(_chunk(b"ANMF", place + still[12:]))
    return _chunk(b"RIFF", b"WEBP" + b"".join(chunks))


def _webp_canvas(frame: Pixels) -> bytes:
    """Return the first chunk, which says that there is an animation, and its size."""
    return _chunk(b"VP8X", b"\2\0\0\0" + _webp_size(frame))


def _webp_size(frame: Pixels) -> bytes:
    height, width = frame.shape[:2]
    return b"".join(int(side - 1).to_bytes(3, "little") for side in (width, height))


def _chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def encode_gif(frames: Iterable[Pixels], fps: int) -> bytes:
    """Write RGB frames as a GIF that repeats for ever, with one palette for all of them.

    A GIF counts time in hundredths of a second, so `fps` must divide 100. Pillow would hold all frames in
    memory; so each is written as a file, of which all but the first lose their header.
    """
    parts: list[bytes] = []
    for picture in _with_one_palette(iter(frames)):
        loop = {} if parts else {"loop": 0}
        still = _encode(picture, "GIF", optimize=False, duration=1000 // fps, disposal=1, **loop)
        parts.append(still[_gif_header(still) if parts else 0 : -1])
    return b"".join([*parts, b";"])


def _gif_header(file: bytes) -> int:
    """Return the length of a GIF's header and palette (GIF89a, sections 17 to 19)."""
    return int(13 + 3 * 2 ** ((file[10] & 7) + 1))


def _encode(picture: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **settings)
    return file.getvalue()


def _with_one_palette(frames: Iterator[Pixels]) -> Iterator[Image.Image]:
    first = [frame.copy() for frame in islice(frames, _PALETTE_FRAMES)]
    palette = Image.fromarray(np.concatenate(first)).quantize(256, Image.Quantize.MEDIANCUT)
    for frame in [*first, *frames]:
        yield Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
