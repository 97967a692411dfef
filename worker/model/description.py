"""The description of the model on this machine, for `fathom model info`."""

from __future__ import annotations

from typing import Any

from shared.settings import Settings
from worker.model.engine import MODEL, SIMULATED
from worker.model.graph import graph_path
from worker.model.weights import Weights, resolve_weights

#: Trainable parameters of MiDaS_small; a test counts them.
PARAMETERS = 21_320_545


def describe(settings: Settings) -> dict[str, Any]:
    """Return the model's name and size, weights, engine, precision, and whether its graph is cached.

    The precision is the one that inference would use here. Loads and exports nothing. Raises
    WeightsUnavailable, WeightsInvalid or SettingsError.
    """
    if settings.engine == SIMULATED:
        return {"model": SIMULATED, "engine": SIMULATED, "simulated": settings.simulate}
    weights = resolve_weights(settings.weights, settings.cache_dir)
    graph = graph_path(weights, settings.cache_dir)
    return {
        "model": MODEL,
        "weights": weights.name,
        "path": str(weights.path) if weights.path else None,
        "sha256": weights.sha256,
        "engine": settings.engine,
        "precision": _precision(settings, weights),
        "parameters": PARAMETERS,
        "graph": str(graph),
        "graph_cached": graph.exists(),
    }


def _precision(settings: Settings, weights: Weights) -> str:
    if settings.engine == "torch":
        return settings.precision.replace("auto", "f32")
    from worker.model.openvino_engine import choose_precision, cpu_capabilities

    return choose_precision(settings.precision, weights, cpu_capabilities())
