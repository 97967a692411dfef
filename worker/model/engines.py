"""The engine that the settings ask for."""

from __future__ import annotations

import logging

from shared.errors import ModelError
from shared.model_registry import find_model
from shared.settings import Settings
from worker.model.engine import SIMULATED, EngineInfo, InferenceEngine
from worker.model.graph import ensure_graph, graph_path
from worker.model.trial import try_network
from worker.model.weights import Weights, find_weights

logger = logging.getLogger(__name__)

_SIMULATED_WARNING = (
    "SIMULATED: no network is loaded, and what comes out are NOT depth maps. FATHOM_ENGINE=simulated "
    "is for benchmarks only."
)


def prepare_engine(settings: Settings, *, may_export: bool = True) -> None:
    """Find the weights and cache the network's graph, so that every child loads it fast.

    Loads nothing into this process. Raises what `load_engine` raises, and ModelError if the network would
    have to be exported and may not: that can take minutes and gigabytes.
    """
    if settings.engine == SIMULATED:
        logger.warning(_SIMULATED_WARNING, extra={"action": "prepare_engine"})
        return
    weights = _find_weights(settings)
    if settings.engine == "openvino":
        network = weights.network
        if not (may_export or network.is_file or graph_path(weights, settings.cache_dir).exists()):
            raise ModelError(f"It is not prepared; `fathom model fetch {network.name}` does that.")
        graph = ensure_graph(weights, settings.cache_dir)
        if not network.is_default:
            # The default network is known to compile, and a new worker should not keep its user waiting.
            try_network(graph, weights, settings.precision, settings.cache_dir)


def load_engine(settings: Settings) -> InferenceEngine:
    """Load the weights and the engine that `settings` name; only that engine's packages are imported.

    Raises WeightsUnavailable, WeightsInvalid or ModelError, each saying what to do.
    """
    if settings.engine == SIMULATED:
        return _load_simulated(settings)
    weights = _find_weights(settings)
    engine = (
        _load_torch(weights, settings) if settings.engine == "torch" else _load_openvino(weights, settings)
    )
    _log_loaded(engine.info)
    return engine


def _find_weights(settings: Settings) -> Weights:
    """Find the weights, and refuse a model that the engine cannot run."""
    weights = find_weights(settings)
    if settings.engine == "torch" and weights.network.is_file:
        raise ModelError(
            f"{weights.network.name} is an ONNX file, which FATHOM_ENGINE=torch cannot run: set "
            "FATHOM_ENGINE=openvino."
        )
    return weights


def _load_simulated(settings: Settings) -> InferenceEngine:
    from worker.model.simulated import SimulatedEngine

    logger.warning(_SIMULATED_WARNING, extra={"action": "load_engine", "weights": SIMULATED})
    return SimulatedEngine(find_model(settings.model, settings.cache_dir))


def _load_openvino(weights: Weights, settings: Settings) -> InferenceEngine:
    from worker.model.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(ensure_graph(weights, settings.cache_dir), weights, precision=settings.precision)


def _load_torch(weights: Weights, settings: Settings) -> InferenceEngine:
    try:
        from worker.model.torch_engine import TorchEngine
    except ModuleNotFoundError as exc:
        raise ModelError(
            f"The engine torch needs the package {exc.name}: run `pip install -e '.[model]'` in "
            "Fathom's folder, or set FATHOM_ENGINE=openvino."
        ) from exc
    return TorchEngine(weights, precision=settings.precision)


def _log_loaded(info: EngineInfo) -> None:
    extra = {"action": "load_engine", "weights": info.weights, "weights_sha256": info.weights_sha256}
    if info.weights == "random":
        logger.warning("The network runs on random weights: what comes out are not depth maps.", extra=extra)
        return
    line = "The network %s runs on the %s weights, by %s in %s."
    logger.info(line, info.model, info.weights, info.engine, info.precision, extra=extra)
