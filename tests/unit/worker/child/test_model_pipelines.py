from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from fathom.options import Options
from shared.errors import ModelError
from shared.jobs.job import Range
from shared.networks import NETWORKS
from worker.child.model_pipelines import LoadedModel, ModelPipelines
from worker.model.engine import EngineInfo
from worker.pipeline.interruption import never
from worker.pipeline.pipeline import ResultFile
from worker.pipeline.stages import Stage

SMALL, HYBRID, LARGE = "midas_small", "dpt_hybrid", "dpt_large"


@dataclass
class NamedPipeline:
    """Gives every photo the name of its network."""

    name: str

    @property
    def seconds(self) -> Mapping[Stage, float]:
        return {Stage.INFER: float(len(self.name))}

    def measure(self, data: bytes, options: Options) -> Range:
        return Range(low=0.0, high=float(len(self.name)))

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        return (ResultFile(output=self.name, file_name="", content_type="", data=data),)


@dataclass
class Loader:
    loaded: list[str] = field(default_factory=list)

    def __call__(self, model: str) -> LoadedModel:
        if model == "dpt_swin2_tiny":
            raise ModelError("It is damaged.")
        self.loaded.append(model)
        info = EngineInfo(
            network=NETWORKS[model], weights="random", weights_sha256="", engine="torch", precision="f32"
        )
        return LoadedModel(pipeline=NamedPipeline(model), info=info)


@pytest.fixture
def loader() -> Loader:
    return Loader()


def made_by(pipelines: ModelPipelines, model: str) -> str:
    (file,) = pipelines.render(b"photo", Options(model=model))
    return file.output


def test_each_job_gets_the_network_that_it_names(loader: Loader):
    pipelines = ModelPipelines(NETWORKS, loader, memory_mb=0)

    assert [made_by(pipelines, name) for name in (SMALL, LARGE, "", LARGE)] == [SMALL, LARGE, SMALL, LARGE]
    assert pipelines.measure(b"photo", Options(model=HYBRID)).high == len(HYBRID)
    assert loader.loaded == [SMALL, LARGE, HYBRID]


def test_seconds_and_facts_are_those_of_the_network_used_last(loader: Loader):
    pipelines = ModelPipelines(NETWORKS, loader, memory_mb=0)
    for name in (LARGE, SMALL, LARGE):
        made_by(pipelines, name)

        assert pipelines.seconds == {Stage.INFER: len(name)}
        assert pipelines.facts["fathom.model"] == name


def test_the_network_unused_for_the_longest_time_makes_room(loader: Loader):
    """The three take 300, 1400 and 3700 MB."""
    pipelines = ModelPipelines(NETWORKS, loader, memory_mb=5120)
    for name in (SMALL, HYBRID, SMALL, LARGE):
        made_by(pipelines, name)
    assert loader.loaded == [SMALL, HYBRID, LARGE]

    made_by(pipelines, SMALL)
    assert loader.loaded == [SMALL, HYBRID, LARGE]
    made_by(pipelines, HYBRID)

    assert loader.loaded == [SMALL, HYBRID, LARGE, HYBRID]


def test_a_network_as_large_as_the_memory_is_alone_in_it(loader: Loader):
    pipelines = ModelPipelines(NETWORKS, loader, memory_mb=3700)
    for name in (SMALL, HYBRID, LARGE, SMALL):
        made_by(pipelines, name)

    assert loader.loaded == [SMALL, HYBRID, LARGE, SMALL]


def test_a_network_that_cannot_be_loaded_leaves_the_others(loader: Loader):
    pipelines = ModelPipelines(NETWORKS, loader, memory_mb=0)
    made_by(pipelines, SMALL)
    for model in ("dpt_swin2_tiny", "file:nobodys"):
        with pytest.raises(ModelError):
            pipelines.prepare(model)

    assert made_by(pipelines, SMALL) == SMALL
    assert loader.loaded == [SMALL]
