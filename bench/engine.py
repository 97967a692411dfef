"""The engine as it is in a worker after the first photos, so that benchmarks measure the steady state."""

from __future__ import annotations

from shared.settings import Settings
from worker.model.engine import InferenceEngine
from worker.model.engines import load_engine
from worker.model.openvino_engine import OpenVinoEngine


def warm_engine(settings: Settings) -> InferenceEngine:
    """Return the engine of the settings in its steady state."""
    engine = load_engine(settings)
    # The branches are of MiDaS_small's sizes.
    if isinstance(engine, OpenVinoEngine) and engine.info.network.is_default:
        engine.branch()
    return engine
