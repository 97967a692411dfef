"""The loop that the authors of a network publish, in PyTorch's eager mode.

OpenCV reads the photo at full size, converts it to floats and resizes those; the network predicts; PyTorch
resizes the map to the photo's size; then min-max, Inferno, and OpenCV writes the picture. It follows
`run.py` of MiDaS v3.1 and of Depth Anything V2, but for three things that save it time: the network is
built once, the result is a JPEG instead of a PNG, and only the coloured picture is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from shared.networks import WayBack
from worker.model.checkpoint import load_network
from worker.model.preprocess import network_size
from worker.model.weights import Weights


class OfficialLoop:
    """The body of the loop, on one thread."""

    def __init__(self, weights: Weights) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._network = load_network(weights)
        self._preprocessing = weights.network.preprocessing

    def write_heatmap(self, photo: Path, out: Path) -> None:
        """Turn one file into another."""
        cv2.imwrite(str(out), cv2.applyColorMap(self.grey(photo), cv2.COLORMAP_INFERNO))

    def grey(self, photo: Path) -> NDArray[np.uint8]:
        """Return the grey levels that are coloured, H x W: near is white."""
        bgr: Any = cv2.imread(str(photo))
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) / 255.0
        with torch.no_grad():
            prediction = self._network(torch.from_numpy(self._prepare(rgb)))
            depth = self._resize(prediction, rgb.shape[:2])
        low, high = depth.min(), depth.max()
        grey: NDArray[np.uint8] = (255 * (depth - low) / max(high - low, 1e-12)).astype(np.uint8)
        return grey

    def _prepare(self, rgb: NDArray[np.float64]) -> NDArray[np.float32]:
        p = self._preprocessing
        height, width = network_size(rgb.shape[0], rgb.shape[1], p)
        resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC)
        normalised: Any = (resized - p.mean) / p.std
        return np.ascontiguousarray(normalised.transpose(2, 0, 1)[np.newaxis].astype(np.float32))

    def _resize(self, prediction: torch.Tensor, size: tuple[int, ...]) -> NDArray[np.float32]:
        linear = self._preprocessing.way_back is WayBack.LINEAR
        mode = "bilinear" if linear else "bicubic"
        resized = torch.nn.functional.interpolate(
            prediction[:, None], size=size, mode=mode, align_corners=linear
        )
        depth: NDArray[np.float32] = resized.squeeze().numpy()
        return depth
