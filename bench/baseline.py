"""The usual loop: MiDaS_small in PyTorch, one photo after another, in one thread.

It does what the usual tutorial does: Pillow decodes, OpenCV resizes in floating point, PyTorch predicts in
eager mode, resizes the map to the size of the photo and finds its range, and OpenCV colours it and writes a
JPEG. It uses one thread, unless told otherwise.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from worker.model.checkpoint import load_network
from worker.model.preprocess import MEAN, STD, network_size
from worker.model.weights import Weights

JPEG_QUALITY = 95


@dataclass
class Stages:
    """Seconds spent in each stage, summed over photos."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


class Baseline:
    """The body of the tutorial's loop; the network is loaded once."""

    def __init__(self, weights: Weights, *, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        self._network = load_network(weights)

    def heatmap(self, data: bytes, stages: Stages) -> tuple[bytes, NDArray[np.uint8]]:
        """Return the heatmap as JPEG, and the grey levels from which it was coloured, H x W."""
        with stages.stage("decode"):
            rgb = np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data)).convert("RGB")))
        with stages.stage("prepare"):
            batch = _prepare(rgb)
        with stages.stage("infer"), torch.inference_mode():
            prediction = self._network(batch)
        with stages.stage("upsample"), torch.inference_mode():
            depth = _upsample(prediction, rgb.shape[:2])
        with stages.stage("normalise"):
            low, high = depth.min(), depth.max()
            grey = ((depth - low) / max(high - low, 1e-12) * 255).clip(0, 255).astype(np.uint8)
        with stages.stage("colour"):
            coloured = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)
        with stages.stage("encode"):
            _, encoded = cv2.imencode(".jpg", coloured, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return encoded.tobytes(), grey


def _prepare(rgb: NDArray[np.uint8]) -> torch.Tensor:
    """Convert to floats and then resize, as `small_transform` of the official hubconf does."""
    height, width = network_size(*rgb.shape[:2])
    resized = cv2.resize(rgb / 255.0, (width, height), interpolation=cv2.INTER_CUBIC)
    normalised: Any = (resized - MEAN) / STD
    return torch.from_numpy(normalised.transpose(2, 0, 1).astype(np.float32))[None]


def _upsample(prediction: torch.Tensor, size: tuple[int, ...]) -> NDArray[np.float32]:
    resized = torch.nn.functional.interpolate(
        prediction[:, None], size=size[:2], mode="bicubic", align_corners=False
    )
    depth: NDArray[np.float32] = resized.squeeze().numpy()
    return depth
