"""Make the outputs of a photo whose depth a test chooses, and read them."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fathom.options import Options
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import LIMITS
from worker.pipeline.pipeline import Pipeline, ResultFile


class ChosenEngine(LuminanceEngine):
    """Predicts a depth of 192 x 256, as every photo of 4:3 has it."""

    def __init__(self, depth: NDArray[np.float32]) -> None:
        super().__init__(lambda prediction: depth)
        assert depth.shape == (192, 256)


def render(data: bytes, depth: NDArray[np.float32] | None = None, **given: Any) -> dict[str, ResultFile]:
    """Return the results of a photo by name. Its depth is its brightness, or the one given."""
    engine = LuminanceEngine() if depth is None else ChosenEngine(depth)
    files = Pipeline(engine, limits=LIMITS).render(data, Options.parse(given))
    return {file.output: file for file in files}


def read_npy(file: ResultFile) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.load(io.BytesIO(file.data), allow_pickle=False)
    return values


def read_png(file: ResultFile) -> NDArray[Any]:
    """Return the samples of a PNG as OpenCV reads them, RGB."""
    samples = cv2.imdecode(np.frombuffer(file.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert samples is not None
    return np.asarray(cv2.cvtColor(samples, cv2.COLOR_BGR2RGB))
