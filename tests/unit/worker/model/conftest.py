from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from shared.settings import Settings
from worker.model.checkpoint import UNUSED_PREFIX, load_network, random_state, unfilled_network
from worker.model.graph import ensure_graph
from worker.model.network import MidasSmall
from worker.model.openvino_engine import OpenVinoEngine
from worker.model.openvino_import import import_openvino
from worker.model.weights import Weights, resolve_weights

PARITY = Path(__file__).parents[3] / "data" / "parity"

SettingsFactory = Callable[..., Settings]


@pytest.fixture(scope="session")
def parity() -> Mapping[str, NDArray[Any]]:
    """The output of the official network with the weights of `random`."""
    with np.load(PARITY / "midas_small_parity.npz") as data:
        return dict(data)


@pytest.fixture(scope="session")
def official_entries() -> list[tuple[str, list[int]]]:
    """The name and shape of every entry of the official state dict, in order."""
    entries = json.loads((PARITY / "midas_small_state_dict_keys.json").read_text())
    return [(name, shape) for name, shape in entries]


@pytest.fixture(scope="session")
def expected() -> dict[str, Tensor]:
    """The names, shapes and dtypes of the state dict of the network, without data."""
    return unfilled_network().state_dict()


@pytest.fixture(scope="session")
def random_tensors(expected: dict[str, Tensor]) -> dict[str, Tensor]:
    return random_state(expected)


@pytest.fixture
def half_file(random_tensors: dict[str, Tensor], tmp_path: Path) -> Path:
    """Weights as in a bundled file: half precision, without the unused unit."""
    path = tmp_path / "half.safetensors"
    stored = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in random_tensors.items()
        if not name.startswith(UNUSED_PREFIX)
    }
    save_file(stored, path)
    return path


@pytest.fixture(scope="session")
def random_weights(cache_dir: Path) -> Weights:
    return resolve_weights("random", cache_dir)


@pytest.fixture(scope="session")
def random_graph(random_weights: Weights, cache_dir: Path) -> Path:
    return ensure_graph(random_weights, cache_dir)


@pytest.fixture(scope="session")
def network(random_weights: Weights) -> MidasSmall:
    """The network itself. Copy it to change it."""
    loaded = load_network(random_weights)
    assert isinstance(loaded, MidasSmall)
    return loaded


@pytest.fixture(scope="session")
def compiled_graph(random_graph: Path) -> Any:
    """The graph as OpenVINO compiles it by itself, in float32."""
    return import_openvino().Core().compile_model(random_graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.fixture(scope="session")
def prepared_graph(random_graph: Path, random_weights: Weights) -> Path:
    """The default network's graph, with the compiled network beside it."""
    OpenVinoEngine(random_graph, random_weights, precision="f32")
    return random_graph


@pytest.fixture
def cache(tmp_path: Path, prepared_graph: Path) -> Path:
    """A cache of its own, in which the default network is prepared already."""
    graphs = tmp_path / "cache" / "graphs"
    graphs.mkdir(parents=True)
    for path in prepared_graph.parent.glob(f"{prepared_graph.stem}*"):
        (graphs / path.name).symlink_to(path)
    return tmp_path / "cache"


@pytest.fixture
def settings_factory(cache_dir: Path) -> SettingsFactory:
    """Make settings for the model only, with random weights: `settings_factory(engine="torch")`."""
    settings = Settings.from_environ({"FATHOM_WEIGHTS": "random", "FATHOM_CACHE_DIR": str(cache_dir)})

    def build(**changes: Any) -> Settings:
        return dataclasses.replace(settings, **changes)

    return build


@pytest.fixture(scope="session")
def batch_factory() -> Callable[..., NDArray[np.float32]]:
    """Normal noise as input of the network, seeded by a word, as in the parity data."""

    def build(height: int, width: int, *, tag: str = "", count: int = 1) -> NDArray[np.float32]:
        rng = np.random.Generator(np.random.PCG64(len(tag)))
        return rng.standard_normal((count, 3, height, width)).astype(np.float32)

    return build
