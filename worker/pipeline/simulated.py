"""A pipeline that ignores its photos, for benchmarks of everything around it."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fathom.options import Options
from fathom.result_names import SIDECAR
from shared.jobs.job import Range
from shared.settings import Settings
from worker.pipeline.interruption import never
from worker.pipeline.pipeline import Pipeline, ResultFile

if TYPE_CHECKING:
    from worker.model.engine import InferenceEngine

#: The sides of the picture used in place of every photo, in pixels.
_SIDE = 32
_WARNING = "The photo was not looked at: every photo gets the result of the same small picture."


class SimulatedPipeline(Pipeline):
    """Gives every photo the results of one small picture, made once; the sidecar says so.

    Only the SHA-256 is the photo's own, so a test can check that each result belongs to its photo.
    """

    #: Seconds that a photo takes, all of them asleep, so many such children fit on one core.
    takes: float = 0.0
    _made: tuple[Options, Range | None, tuple[ResultFile, ...]] | None = None

    def measure(self, data: bytes, options: Options) -> Range:
        time.sleep(self.takes)
        return super().measure(self._picture, options)

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        time.sleep(self.takes)
        if self._made is None or self._made[:2] != (options, common):
            self._made = (options, common, super().render(self._picture, options, common=common))
        return tuple(_of_photo(file, data) for file in self._made[2])

    @cached_property
    def _picture(self) -> bytes:
        ramp = np.linspace(0, 255, _SIDE * _SIDE * 3).astype(np.uint8).reshape(_SIDE, _SIDE, 3)
        file = io.BytesIO()
        Image.fromarray(ramp).save(file, "PNG")
        return file.getvalue()


def pipeline_for(engine: InferenceEngine, settings: Settings) -> Pipeline:
    """Return the pipeline that the settings ask for: the real one, unless two of them say otherwise."""
    if settings.simulate != "pipeline":
        return Pipeline.from_settings(engine, settings)
    pipeline = SimulatedPipeline.from_settings(engine, settings)
    pipeline.takes = settings.simulate_seconds
    return pipeline


def _of_photo(file: ResultFile, data: bytes) -> ResultFile:
    if file.file_name != SIDECAR:
        return file
    facts = json.loads(file.data)
    facts["source"]["sha256"] = hashlib.sha256(data).hexdigest()
    facts["warnings"].append(_WARNING)
    return replace(file, data=json.dumps(facts).encode())
