"""The sidecar `depth.json`: what the numbers of an image's results mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fathom.options import DepthSource, Normalize, Options
from shared.jobs.job import Range
from shared.networks import Rule
from worker.model.preprocess import is_capped
from worker.pipeline.depth import DepthMap
from worker.pipeline.photo import Photo

if TYPE_CHECKING:
    from worker.model.engine import EngineInfo


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts that a sidecar holds."""

    info: EngineInfo
    options: Options
    photo: Photo
    depth: DepthMap
    #: The values mapped to the darkest and the brightest colour.
    span: Range
    #: True if `span` is the whole job's.
    common: bool
    #: Height and width of the network's largest input, or of the photo's own depth.
    cells: tuple[int, int]
    #: Height and width of every input that the network was given.
    network_sizes: tuple[tuple[int, int], ...]
    #: How the photo held its own depth, if that was used: the network has not run then.
    embedded_format: str | None
    #: Why the photo's own depth was not used.
    warning: str | None
    #: The source file's hash, in lower-case hexadecimal.
    sha256: str


def encode_sidecar(facts: Facts) -> bytes:
    """Return the sidecar as strict JSON in UTF-8.

    `min` and `max` are those of the map in `pfm` and `npy`. They undo `depth16`:
    `min + value / 65535 * (max - min)`.
    """
    return (json.dumps(_fields(facts), ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode()


def _fields(facts: Facts) -> dict[str, Any]:
    photo, depth, info = facts.photo, facts.depth, facts.info
    return {
        "kind": "relative_inverse_depth",
        "near": "high",
        "depth_source": str(DepthSource.EMBEDDED if facts.embedded_format else DepthSource.MODEL),
        "embedded_format": facts.embedded_format,
        "min": depth.low,
        "max": depth.high,
        "range": {
            "low": facts.span.low,
            "high": facts.span.high,
            "of": str(Normalize.JOB if facts.common else Normalize.IMAGE),
        },
        "non_finite": depth.non_finite,
        "model": info.model,
        "weights": {"name": info.weights, "sha256": info.weights_sha256},
        "licence": _licence(info),
        "engine": info.engine,
        "precision": info.precision,
        "preprocessing_size": _size(*facts.cells),
        "network_sizes": [_size(*size) for size in facts.network_sizes],
        "preprocessing": _preprocessing(facts),
        "original_size": _size(photo.height, photo.width),
        "output_size": _size(*depth.shape),
        "source": {"format": str(photo.format), "sha256": facts.sha256},
        "orientation_applied": photo.orientation,
        "options": facts.options.to_json(),
        "warnings": _warnings(facts),
    }


def _licence(info: EngineInfo) -> dict[str, str | None] | None:
    """Return the licences of the network; None if none ran, and no word on weights of the user's own."""
    if info.engine == "simulated":
        return None
    network = info.network
    own = network.name if network.is_file else "official"
    weights = {own: network.weights_licence, "starter": "Apache-2.0"}.get(info.weights)
    note = network.licence_note if info.weights == own else ""
    return {"code": network.code_licence, "weights": weights, "note": note or None}


def _preprocessing(facts: Facts) -> dict[str, Any] | None:
    """Return how the photo became the network's input; None if the network has not run."""
    if facts.embedded_format is not None:
        return None
    p, photo = facts.info.network.preprocessing, facts.photo
    return {
        "rule": str(p.rule),
        "side": p.side,
        **({"width": p.width} if p.rule is Rule.FIXED else {}),
        "multiple": p.multiple,
        "longest": p.longest,
        "capped": is_capped(photo.height, photo.width, p),
        "interpolation": "cubic",
        "mean": list(p.mean),
        "std": list(p.std),
    }


def _size(height: int, width: int) -> dict[str, int]:
    return {"width": width, "height": height}


def _warnings(facts: Facts) -> list[str]:
    warnings = [facts.warning] if facts.warning else []
    if facts.embedded_format is None:
        warnings += _network_warnings(facts)
    if facts.depth.is_constant:
        warnings.append("The depth map is constant: its heatmap and depth16 are all zeros.")
    return warnings


def _network_warnings(facts: Facts) -> list[str]:
    warnings = []
    if facts.info.weights == "random":
        warnings.append("The network ran on random weights: this is not a depth map.")
    if facts.info.engine == "simulated":
        warnings.append("The network was simulated, for a benchmark: this is not a depth map.")
    if facts.depth.non_finite:
        warnings.append(f"{facts.depth.non_finite} values of the prediction were not finite and became 0.")
    return warnings
