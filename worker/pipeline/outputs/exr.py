"""The map as OpenEXR, for compositing."""

from __future__ import annotations

from fathom.options import DepthSource
from worker.pipeline.encode.exr import encode_exr
from worker.pipeline.outputs.rendering import Rendering
from worker.pipeline.stages import Stage


def exr(r: Rendering) -> bytes:
    """Return the values of `npy` in one float32 channel; attributes say what they are."""
    attributes = {
        "comments": "Relative inverse depth: bigger is nearer, with unknown scale and shift. No metres.",
        "depthKind": "relative_inverse_depth",
        "depthNear": "high",
        **_origin(r),
    }
    with r.stopwatch.time(Stage.ENCODE):
        strips = (strip for _, strip in r.depth.upsampler.strips())
        return encode_exr(strips, r.depth.shape, r.options.exr.channel, attributes)


def _origin(r: Rendering) -> dict[str, str]:
    if r.embedded_format is not None:
        return {"depthSource": DepthSource.EMBEDDED, "embeddedFormat": r.embedded_format}
    return {
        "depthSource": DepthSource.MODEL,
        "model": r.info.model,
        "weights": r.info.weights,
        "weightsSha256": r.info.weights_sha256,
    }
