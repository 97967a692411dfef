"""Depth engines without a network, in which bright is near: fast, exact and the same on every machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import WeightsUnavailable
from shared.settings import Settings
from worker.model.engine import EngineInfo

_LUMA = np.array([0.299 * 0.229, 0.587 * 0.224, 0.114 * 0.225], np.float32)


class LuminanceEngine:
    """Predicts the luminance of the picture, smoothed, as relative inverse depth of 100 to 1100.

    `change` may damage a prediction, as a broken network would.
    """

    def __init__(self, change: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None) -> None:
        self._change = change
        #: Height and width of every input so far.
        self.seen: list[tuple[int, int]] = []

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(weights="luminance", weights_sha256="ab" * 32, engine="fake", precision="f32")

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen.append((batch.shape[2], batch.shape[3]))
        luma = np.tensordot(_LUMA, batch[0], axes=1).astype(np.float32)
        prediction = 100 + 1000 * cv2.blur(luma - np.float32(-0.46), (5, 5)).astype(np.float32)
        return self._change(prediction) if self._change else prediction


def load_luminance_engine(settings: Settings) -> LuminanceEngine:
    """Replace `load_engine` in a new process."""
    return LuminanceEngine()


class CrashingEngine(LuminanceEngine):
    """Kills its process at an all-white picture, as a fault in a library would."""

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if batch.min() > 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(batch)


def load_crashing_engine(settings: Settings) -> LuminanceEngine:
    return CrashingEngine()


def load_engine_on_a_full_disk(settings: Settings) -> LuminanceEngine:
    """Make writing the results of `full.png` into FATHOM_TEST_OUT fail with a full disk, in this process."""
    part = Path(os.environ["FATHOM_TEST_OUT"], f".full.png.{os.getpid()}.part")
    part.symlink_to("/dev/full")
    return LuminanceEngine()


def load_nothing(settings: Settings) -> LuminanceEngine:
    raise WeightsUnavailable
