"""The simulated engine, which is never used by accident or silently."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.errors import ModelError
from shared.settings import Settings
from tests.unit.worker.model.conftest import SettingsFactory
from worker.model.description import describe
from worker.model.engines import load_engine, prepare_engine
from worker.model.simulated import SimulatedEngine


def test_simulated_depth_is_the_mean_of_the_colours() -> None:
    batch = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    depth = SimulatedEngine().predict(batch)

    assert depth.shape == (64, 96)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, batch[0].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(SimulatedEngine().predict(batch), depth)


def test_the_simulated_engine_refuses_sizes_that_the_network_refuses() -> None:
    with pytest.raises(ModelError, match="multiples of 32"):
        SimulatedEngine().predict(np.zeros((1, 3, 50, 64), np.float32))


@pytest.mark.parametrize("call", [load_engine, prepare_engine])
def test_the_simulated_engine_logs_a_warning(
    settings_factory: SettingsFactory, caplog: pytest.LogCaptureFixture, call: Callable[[Settings], object]
) -> None:
    call(settings_factory(engine="simulated", simulate="network"))

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "NOT depth maps" in record.message


def test_the_simulated_engine_needs_no_weights(settings_factory: SettingsFactory, tmp_path: Path) -> None:
    settings = settings_factory(
        engine="simulated", simulate="network", weights=str(tmp_path / "none.pt"), cache_dir=tmp_path
    )
    prepare_engine(settings)
    info = load_engine(settings).info

    assert list(tmp_path.iterdir()) == []
    assert (info.model, info.weights, info.engine) == ("simulated",) * 3
    assert describe(settings) == {"model": "simulated", "engine": "simulated", "simulated": "network"}
