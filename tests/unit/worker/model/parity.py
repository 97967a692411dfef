"""Outputs of the official code of the larger networks, with the weights of `random`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PARITY = Path(__file__).parents[3] / "data" / "parity"

#: The folders with the data of the networks, by name.
FOLDERS = {
    "midas_large": "midas_v21_384",
    "dpt_hybrid": "dpt_hybrid_384",
    "dpt_large": "dpt_large_384",
    "dpt_swin2_tiny": "dpt_swin2_tiny_256",
    "depth_anything_v2_small": "depth_anything_v2_vits",
}

_SIZES = {"landscape": (128, 192), "portrait": (192, 96)}

#: Height and width of the noise that each output was made from.
SIZES = {
    "midas_large": _SIZES,
    "dpt_hybrid": _SIZES,
    "dpt_large": _SIZES,
    "dpt_swin2_tiny": {"square": (256, 256)},
    "depth_anything_v2_small": {"landscape": (126, 196), "portrait": (196, 98)},
}


def read_parity(name: str) -> dict[str, NDArray[Any]]:
    with np.load(_PARITY / FOLDERS[name] / "parity.npz") as data:
        return dict(data)


def read_picture() -> NDArray[np.uint8]:
    """Return the picture of all `picture_...` entries, RGB, 480 x 640."""
    with np.load(_PARITY / "midas_small_parity.npz") as data:
        return np.asarray(data["picture_rgb"], np.uint8)


def read_entries(name: str) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every entry of the official state dict."""
    entries = json.loads((_PARITY / FOLDERS[name] / "state_dict_keys.json").read_text())
    return {key: tuple(shape) for key, shape in entries}


def error_of(found: NDArray[Any], parity: dict[str, NDArray[Any]], tag: str) -> float:
    """Return the largest difference from an output, as a share of its maximum."""
    steps = {f"{tag}_output": 1, f"{tag}_output_every_2nd": 2, f"{tag}_output_every_8th": 8}
    (name,) = steps.keys() & parity.keys()
    step, wanted = steps[name], parity[name]
    return float(np.abs(found[::step, ::step] - wanted).max() / wanted.max())


def picture_error(depth: NDArray[Any], parity: dict[str, NDArray[Any]]) -> float:
    """Return the largest difference of a full-size map, as a share of the official one's maximum."""
    low, high = parity["picture_depth_min_max"]
    grid = np.abs(depth[::4, ::4] - parity["picture_depth_every_4th"]).max()
    return float(max(grid, abs(depth.min() - low), abs(depth.max() - high)) / high)
