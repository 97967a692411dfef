"""The simulated pipeline, which decodes no photo."""

from __future__ import annotations

import hashlib
import io
import json
import time
from typing import Any

import pytest
from PIL import Image

from fathom.options import Options
from shared.jobs.job import Range
from shared.settings import Settings
from tests.unit.worker.pipeline.pictures import save, scene
from worker.model.simulated import SimulatedEngine
from worker.pipeline.pipeline import Pipeline, ResultFile
from worker.pipeline.simulated import SimulatedPipeline, pipeline_for


def build(simulate: str) -> Pipeline:
    environ = {"FATHOM_ENGINE": "simulated", "FATHOM_SIMULATE": simulate}
    return pipeline_for(SimulatedEngine(), Settings.from_environ(environ))


def facts(files: tuple[ResultFile, ...]) -> dict[str, Any]:
    assert files[-1].file_name == "depth.json"
    return dict(json.loads(files[-1].data))


def test_the_sidecar_of_a_simulated_network_says_so() -> None:
    photo = save(scene(48, 64), "JPEG")
    found = facts(build("network").render(photo, Options()))

    assert (found["model"], found["engine"], found["weights"]["name"]) == ("simulated",) * 3
    assert found["warnings"] == ["The network was simulated, for a benchmark: this is not a depth map."]
    assert found["original_size"] == {"width": 64, "height": 48}


@pytest.mark.parametrize("data", [b"", b"no picture", save(scene(48, 64), "JPEG")])
def test_a_simulated_pipeline_decodes_no_photo_and_says_so(data: bytes) -> None:
    files = build("pipeline").render(data, Options())
    found = facts(files)

    assert [file.file_name for file in files] == ["heatmap.png", "depth.json"]
    assert Image.open(io.BytesIO(files[0].data)).size == (32, 32)
    assert found["source"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert [sentence.split(",")[0].split(":")[0] for sentence in found["warnings"]] == [
        "The network was simulated",
        "The photo was not looked at",
    ]


def test_a_simulated_pipeline_obeys_options_and_the_common_range() -> None:
    pipeline = build("pipeline")
    every = Options.parse({"outputs": "heatmap,depth16,pfm,npy,comparison,thumbnail"})
    common = Range(low=-5.0, high=5.0)

    assert len(pipeline.render(b"", every)) == 7
    assert len(pipeline.render(b"", Options())) == 2
    assert facts(pipeline.render(b"", Options(), common=common))["range"]["of"] == "job"
    assert facts(pipeline.render(b"", Options()))["range"]["of"] == "image"
    assert pipeline.measure(b"", Options()).low < pipeline.measure(b"", Options()).high


@pytest.mark.parametrize("seconds", [0.0, 0.05])
def test_a_simulated_photo_takes_as_long_as_configured(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    environ = {
        "FATHOM_ENGINE": "simulated",
        "FATHOM_SIMULATE": "pipeline",
        "FATHOM_SIMULATE_SECONDS": str(seconds),
    }
    pipeline = pipeline_for(SimulatedEngine(), Settings.from_environ(environ))
    pipeline.render(b"", Options())
    pipeline.measure(b"", Options())

    assert slept == [seconds] * 2


def test_the_real_pipeline_is_used_unless_two_settings_simulate_it() -> None:
    real = pipeline_for(SimulatedEngine(), Settings.from_environ({}))

    assert type(real) is Pipeline
    assert type(build("network")) is Pipeline
    assert type(build("pipeline")) is SimulatedPipeline
