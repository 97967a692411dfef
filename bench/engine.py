"""The engine as a worker has it after its first photos: what is measured is what lasts."""

from __future__ import annotations

from shared.settings import Settings
from worker.model.engine import InferenceEngine
from worker.model.engines import load_engine
from worker.model.openvino_engine import OpenVinoEngine


def warm_engine(settings: Settings) -> InferenceEngine:
    """Return the engine that `settings` name as it is after a while, not as it starts."""
    engine = load_engine(settings)
    if isinstance(engine, OpenVinoEngine):
        engine.branch()
    return engine
