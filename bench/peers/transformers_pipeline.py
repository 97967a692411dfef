"""The depth-estimation pipeline of `transformers`, one photo after another.

The network is Depth Anything's small one (25 million weights; MiDaS_small has 17 to 21), made from its
configuration with random weights, so nothing is downloaded. It sees as many pixels as MiDaS_small, not its
usual 518. The heatmaps mean nothing; their cost is the same.
"""

from __future__ import annotations

import importlib
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from bench.peers.folder_program import read_arguments
from worker.model.timm_import import import_timm

#: The shorter side, a multiple of its patches' 14: it sees 196 x 266 pixels where MiDaS_small sees 192 x 256.
_SIDE = 196
_QUALITY = 95


def load_pipeline() -> Any:
    """Return the pipeline, with the same random weights each time."""
    transformers = _import_transformers()
    torch.manual_seed(0)
    # The defaults of this configuration are those of Depth Anything's small network.
    configuration = transformers.DepthAnythingConfig()
    network = transformers.DepthAnythingForDepthEstimation(configuration).eval()
    processor = transformers.DPTImageProcessor(
        size={"height": _SIDE, "width": _SIDE},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    return transformers.pipeline("depth-estimation", model=network, image_processor=processor, device="cpu")


def _import_transformers() -> Any:
    """Import transformers, and torchvision, even where its operators were built for another torch."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        # It declares the operators; the pipeline uses none of them.
        import_timm()
    return importlib.import_module("transformers")


def main() -> None:
    args = read_arguments(__doc__)
    torch.set_num_threads(args.cores)
    cv2.setNumThreads(args.cores)
    estimate = load_pipeline()
    for path in args.photos:
        depth: Image.Image = estimate(Image.open(path))["depth"]
        coloured = cv2.applyColorMap(np.asarray(depth), cv2.COLORMAP_INFERNO)
        cv2.imwrite(str(args.out / path.name), coloured, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


if __name__ == "__main__":
    main()
