"""The pipelines of the networks that a child serves, loaded when they are first wanted."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fathom.options import Options
from shared.errors import ModelError
from shared.jobs.job import Range
from shared.networks import MIDAS_SMALL, Network
from shared.observability.tracing import Attributes
from worker.child.timing import StagedPipeline
from worker.model.engine import EngineInfo
from worker.pipeline.interruption import never
from worker.pipeline.memory import trim_heap
from worker.pipeline.pipeline import ResultFile
from worker.pipeline.stages import Stage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A network that is ready to be used."""

    pipeline: StagedPipeline
    info: EngineInfo


class ModelPipelines:
    """One pipeline for each network, behind the interface of one: an image's options say which it wants.

    Networks stay in memory, as long as their peaks together are below the bound; then the one unused for the
    longest time goes.
    """

    def __init__(
        self, networks: Mapping[str, Network], load: Callable[[str], LoadedModel], *, memory_mb: int
    ) -> None:
        """`load` loads a network by its name. Without a bound (0), all stay."""
        self.networks = networks
        self._load = load
        self._memory_mb = memory_mb
        #: The one used last is last.
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()

    @property
    def seconds(self) -> Mapping[Stage, float]:
        """How long each step of the latest photo took."""
        return self._latest.pipeline.seconds

    @property
    def facts(self) -> Attributes:
        """The network used last and its engine, for traces."""
        info = self._latest.info
        return {
            "fathom.model": info.network.name,
            "fathom.engine": info.engine,
            "fathom.precision": info.precision,
        }

    def prepare(self, model: str) -> None:
        """Load a network, unless it is in memory. Raises ModelError if it is not served, and as `load`."""
        if model not in self.networks:
            raise ModelError(f"This worker does not serve {model}.")
        if model not in self._loaded:
            self._make_room(self.networks[model].memory_mb)
            self._loaded[model] = self._load(model)
        self._loaded.move_to_end(model)

    def measure(self, data: bytes, options: Options) -> Range:
        return self._of(options).measure(data, options)

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        return self._of(options).render(data, options, common=common, labels=labels, is_unwanted=is_unwanted)

    def _of(self, options: Options) -> StagedPipeline:
        self.prepare(options.model or MIDAS_SMALL.name)
        return self._latest.pipeline

    @property
    def _latest(self) -> LoadedModel:
        return next(reversed(self._loaded.values()))

    def _make_room(self, wanted_mb: int) -> None:
        """Drop networks until another of this size fits."""
        while self._memory_mb and self._loaded and self._used_mb() + wanted_mb > self._memory_mb:
            model, _ = self._loaded.popitem(last=False)
            trim_heap()
            logger.info("The network %s left the memory.", model, extra={"action": "drop_model"})

    def _used_mb(self) -> int:
        return sum(self.networks[model].memory_mb for model in self._loaded)
