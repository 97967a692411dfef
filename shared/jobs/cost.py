"""What an image of a job costs: the one catalogue.

The unit is an image of a plain heatmap, so a cost is a ratio of CPU time. The fair queue, the size of leases
and the time limit of an image count in it.
"""

from __future__ import annotations

from fathom.options import ClipOptions, Options, Output, Quality, Size
from shared.jobs.job import Cost
from shared.networks import MIDAS_SMALL, NETWORKS

#: To read a photo, and to predict its depth with the default network.
_READING, _PREDICTION = 0.3, 0.3

#: What the second prediction of `quality=detailed` adds: 2.25 times the pixels for the network. Only the
#: default network makes one.
_DETAIL = 1.4

#: What each output adds. `python -m bench.outputs` measures these, at 12 megapixels and on one core.
_OUTPUTS: dict[Output, float] = {
    Output.HEATMAP: 0.4,
    Output.DEPTH16: 0.8,
    Output.PFM: 0.6,
    Output.NPY: 0.6,
    Output.COMPARISON: 1.1,
    Output.THUMBNAIL: 0.3,
    Output.EXR: 0.8,
    Output.NORMALS: 0.8,
    Output.CONTROLNET: 0.5,
    Output.STEREO: 2.4,
    Output.MESH: 1.4,
    Output.CLOUD: 1.1,
    Output.LAYERS: 4.2,
    Output.REFOCUS: 3.3,
    Output.EMBEDDED: 0.3,
    Output.CLIP: 2.0,
}

#: What each megapixel of a clip's frames adds (`python -m bench.clips`).
_CLIP_MEGAPIXEL = 0.15

#: The part of that which remains for maps as small as the prediction.
_NETWORK_SIZE = 0.1


def cost_of(options: Options, model_cost: float = 1.0) -> Cost:
    """Return what an image with these options costs in each pass.

    `model_cost` is how many times as long a prediction takes as one of the default network. The first of
    two passes (normalize=job) only predicts, and so does the second before it renders.
    """
    is_default = options.model in ("", MIDAS_SMALL.name)
    detail = _DETAIL if options.quality is Quality.DETAILED and is_default else 0.0
    prediction = round(_READING + _PREDICTION * model_cost + detail, 6)
    part = _NETWORK_SIZE if options.size is Size.NETWORK else 1.0
    rendering = part * sum(_OUTPUTS[output] for output in options.outputs)
    if Output.CLIP in options.outputs:
        rendering += _frames_of(options.clip)
    # Sums of decimal fractions are rounded, so that a cost of 4 is 4.
    return Cost(measure=prediction, render=round(prediction + rendering, 6))


def _frames_of(clip: ClipOptions) -> float:
    """Return what the frames of a clip cost, if they are 4:3."""
    megapixels = 4 / 3 * clip.height**2 / 1e6
    return clip.seconds * clip.fps * megapixels * _CLIP_MEGAPIXEL


_DEAREST = max(NETWORKS.values(), key=lambda network: network.cost)
#: What the dearest image costs with an official network.
HIGHEST = cost_of(
    Options(
        outputs=tuple(Output),
        clip=ClipOptions(seconds=12, fps=60, height=2160),
        model=_DEAREST.name,
    ),
    _DEAREST.cost,
).render
