"""The larger networks against the official ones: names, shapes, sizes and numbers."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from fathom.options import Options
from shared.errors import ModelError, WeightsInvalid
from shared.networks import NETWORKS
from tests.unit.worker.model.conftest import SettingsFactory
from tests.unit.worker.model.parity import (
    FOLDERS,
    SIZES,
    error_of,
    picture_error,
    read_entries,
    read_parity,
    read_picture,
)
from tests.unit.worker.pipeline.pictures import save, texture
from worker.model.checkpoint import load_network
from worker.model.engine import InferenceEngine
from worker.model.engines import load_engine
from worker.model.graph import constants_path
from worker.model.networks.build import build, official_name
from worker.model.networks.dpt import Dpt
from worker.model.networks.position import cubic, linear, resize_positions
from worker.model.preprocess import check_batch, is_capped, network_size, prepare
from worker.model.trial import try_network
from worker.model.weights import Weights, resolve_weights
from worker.pipeline.depth import upsample
from worker.pipeline.pipeline import Pipeline
from worker.pipeline.scratch import Scratch

BatchFactory = Callable[..., NDArray[np.float32]]

NAMES = tuple(FOLDERS)
#: The largest allowed difference from the official network, as a share of its maximum.
ENGINES = {"torch": 1e-4, "openvino": 1e-3}


def random_of(name: str) -> Weights:
    return resolve_weights("random", Path(), network=NETWORKS[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_state_dict_is_the_official_one_in_names_and_shapes(name: str):
    network = NETWORKS[name]

    module = build(network)
    found = {official_name(network, key): tuple(t.shape) for key, t in module.state_dict().items()}

    official = read_entries(name)
    dropped = {key for key in official if network.dropped and key.endswith(network.dropped)}
    assert found == {key: shape for key, shape in official.items() if key not in dropped}
    computed = ("attn_mask", "running_mean", "running_var", "num_batches_tracked")
    parameters = (shape for key, shape in official.items() if not key.endswith(computed))
    assert sum(math.prod(shape) for shape in parameters) == network.parameters


@pytest.mark.parametrize("name", NAMES)
def test_every_normalisation_has_the_official_epsilon(name: str):
    """The numbers of the parity data would not show another one."""
    layer_norm = 1e-5 if name == "dpt_swin2_tiny" else 1e-6
    epsilons = {nn.LayerNorm: layer_norm, nn.GroupNorm: 1e-5, nn.BatchNorm2d: 1e-5}

    for module in build(NETWORKS[name]).modules():
        for kind, epsilon in epsilons.items():
            if isinstance(module, kind):
                assert module.eps == epsilon


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_the_official_one(name: str):
    parity, preprocessing = read_parity(name), NETWORKS[name].preprocessing

    batch = prepare(read_picture(), preprocessing)

    assert np.abs(batch[0, :, ::8, ::8] - parity["picture_input_every_8th"]).max() < 5e-5


@pytest.mark.parametrize("name", NAMES)
def test_the_sizes_are_the_official_ones_up_to_the_longest_side(name: str):
    preprocessing = NETWORKS[name].preprocessing

    for height, width, *official in read_parity(name)["network_sizes"].tolist():
        found = network_size(height, width, preprocessing)
        if max(official) <= preprocessing.longest:
            assert list(found) == official
            assert not is_capped(height, width, preprocessing)
        else:
            assert max(found) == preprocessing.longest
            assert is_capped(height, width, preprocessing)


@pytest.mark.parametrize("name", NAMES)
def test_no_side_is_zero_and_every_side_is_a_multiple(name: str):
    preprocessing = NETWORKS[name].preprocessing

    for photo in [(50, 2000), (2000, 50), (1, 9000), (9000, 1), (1, 1), (32, 32), (500, 3000)]:
        size = network_size(*photo, preprocessing)
        assert all(side > 0 and side % preprocessing.multiple == 0 for side in size)
        assert max(size) <= preprocessing.longest


@pytest.mark.parametrize(("kernel", "mode", "offset"), [(linear, "bilinear", 0.0), (cubic, "bicubic", 0.1)])
@pytest.mark.parametrize("grid", [(7, 5), (11, 23), (7, 7), (1, 30)])
def test_positions_are_resized_as_the_official_code_does(kernel, mode: str, offset: float, grid):
    embedding = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0))
    stored = embedding[:, 1:].reshape(1, 7, 7, 3).permute(0, 3, 1, 2)
    factors = [(side + offset) / 7 for side in grid]
    wanted = stored
    if grid != (7, 7):
        wanted = (
            F.interpolate(stored, scale_factor=factors, mode=mode)
            if offset
            else F.interpolate(stored, size=grid, mode=mode)
        )

    found = resize_positions(embedding, 7, torch.zeros(1, 1, *grid), kernel, offset)

    assert torch.equal(found[:, :1], embedding[:, :1])
    assert torch.allclose(found[:, 1:], wanted.flatten(2).transpose(1, 2), atol=1e-5)


#: What is proved on each engine. The export of DPT-Large takes 6 GB of memory, so OpenVINO's is left out.
PROVED = [
    ("torch", "dpt_swin2_tiny"),
    pytest.param("openvino", "dpt_swin2_tiny", marks=pytest.mark.slow),
    *(
        pytest.param(engine, name, marks=pytest.mark.slow)
        for engine in ENGINES
        for name in ("depth_anything_v2_small", "midas_large", "dpt_hybrid")
    ),
    pytest.param("torch", "dpt_large", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("engine_name", "name"), PROVED)
def test_the_network_is_the_official_one_from_noise_and_from_a_picture(
    settings_factory: SettingsFactory,
    batch_factory: BatchFactory,
    engine_name: str,
    name: str,
    tmp_path: Path,
):
    parity, network = read_parity(name), NETWORKS[name]
    # A large network's graph and compiled form take gigabytes, so they are not kept.
    settings = settings_factory(engine=engine_name, model=name, precision="f32", cache_dir=tmp_path)
    engine: InferenceEngine = load_engine(settings)

    for tag, size in SIZES[name].items():
        depth = engine.predict(batch_factory(*size, tag=tag))
        assert depth.shape == size
        assert error_of(depth, parity, tag) < ENGINES[engine_name]

    picture = read_picture()
    prediction = engine.predict(prepare(picture, network.preprocessing))
    height, width = picture.shape[:2]
    full = upsample(prediction, height, width, Scratch(), way_back=network.preprocessing.way_back)
    assert picture_error(full.values, parity) < ENGINES[engine_name]
    assert (full.low, full.high) == (full.values.min(), full.values.max())


@pytest.mark.slow
def test_the_rewritten_hybrid_computes_the_same(batch_factory: BatchFactory):
    module, picture = load_network(random_of("dpt_hybrid")), torch.from_numpy(batch_factory(64, 96))
    assert isinstance(module, Dpt)

    with torch.inference_mode():
        before = module(picture)
        module.freeze()
        after = module(picture)

    assert (after - before).abs().max() < 1e-4 * before.max()
    assert not any(isinstance(each, nn.GroupNorm) for each in module.pretrained.modules())


def official_file(name: str, folder: Path, leave_out: tuple[str, ...] = ()) -> Path:
    """Write a file as the authors publish it: all official entries, in half precision to keep it small."""
    network = NETWORKS[name]
    module = load_network(random_of(name))
    tensors = {official_name(network, key): value.half() for key, value in module.state_dict().items()}
    for key, shape in read_entries(name).items():
        tensors.setdefault(key, torch.zeros(shape))
    kept = {key: value for key, value in tensors.items() if not key.startswith(leave_out or ("-",))}
    path = folder / "official.safetensors"
    save_file(kept, path)
    return path


@pytest.mark.parametrize(
    "name", ["depth_anything_v2_small", pytest.param("dpt_swin2_tiny", marks=pytest.mark.slow)]
)
def test_a_file_with_the_official_names_loads_strictly(name: str, tmp_path: Path):
    path = official_file(name, tmp_path)

    module = load_network(resolve_weights(str(path), tmp_path, network=NETWORKS[name]))

    for (key, found), wanted in zip(
        module.state_dict().items(), load_network(random_of(name)).state_dict().values(), strict=True
    ):
        assert torch.equal(found, wanted.half().float()), key


def test_a_file_of_another_network_is_refused_by_name(tmp_path: Path):
    path = official_file("depth_anything_v2_small", tmp_path, ("depth_head.projects.",))

    with pytest.raises(WeightsInvalid, match=r"Depth Anything V2 Small: it lacks depth_head\.projects\.0"):
        load_network(resolve_weights(str(path), tmp_path, network=NETWORKS["depth_anything_v2_small"]))
    with pytest.raises(WeightsInvalid, match="weights of DPT SwinV2-Tiny: it lacks"):
        load_network(resolve_weights(str(path), tmp_path, network=NETWORKS["dpt_swin2_tiny"]))


def test_a_photo_goes_through_the_whole_pipeline_and_its_sidecar_says_how(settings_factory: SettingsFactory):
    settings = settings_factory(engine="torch", model="depth_anything_v2_small")
    pipeline = Pipeline.from_settings(load_engine(settings), settings)
    photo = save(texture(300, 3000), "JPEG")

    depth, sidecar = pipeline.render(photo, Options.parse({"outputs": "npy", "edges": "snap"}))

    values, facts = np.load(io.BytesIO(depth.data)), json.loads(sidecar.data)
    assert values.shape == (300, 3000)
    assert np.isfinite(values).all()
    assert values.std() > 0
    assert facts["model"] == "Depth Anything V2 Small"
    assert facts["licence"] == {"code": "Apache-2.0", "weights": None, "note": None}
    assert facts["preprocessing_size"] == {"width": 1036, "height": 98}
    assert facts["preprocessing"] == {
        "rule": "lower_bound",
        "side": 518,
        "multiple": 14,
        "longest": 1036,
        "capped": True,
        "interpolation": "cubic",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }


def test_a_network_that_runs_leaves_its_compiled_form_for_the_workers(
    random_graph: Path, random_weights: Weights, tmp_path: Path
):
    graph = Path(shutil.copy(random_graph, tmp_path))
    shutil.copy(constants_path(random_graph), tmp_path)

    try_network(graph, random_weights, "f32", tmp_path)

    assert [path.name.startswith(graph.stem) for path in tmp_path.glob("*.blob")] == [True]
    # It is not tried again until OpenVINO or the precision changes.
    for path in (graph, *tmp_path.glob("*.blob")):
        path.unlink()
    try_network(graph, random_weights, "f32", tmp_path)
    with pytest.raises(ModelError):
        try_network(graph, random_weights, "bf16", tmp_path)


def test_a_network_that_does_not_run_is_an_error_of_the_process_that_asked(
    random_weights: Weights, tmp_path: Path
):
    (tmp_path / "damaged.xml").write_text("<net")

    with pytest.raises(ModelError, match=r"cannot load the network .*damaged\.xml"):
        try_network(tmp_path / "damaged.xml", random_weights, "f32", tmp_path)


def test_a_process_that_ends_without_a_word_is_an_error_too(random_weights: Weights, tmp_path: Path):
    nameless = replace(random_weights, network=replace(random_weights.network, name="nameless"))

    with pytest.raises(ModelError, match=r"OpenVINO ended with status 1 when it was to run MiDaS_small"):
        try_network(tmp_path / "any.xml", nameless, "f32", tmp_path)


def test_a_network_of_a_fixed_size_refuses_others(batch_factory: BatchFactory):
    with pytest.raises(ModelError, match="DPT SwinV2-Tiny takes pictures of 256 x 256 only, not 256 x 192"):
        check_batch(batch_factory(256, 192), NETWORKS["dpt_swin2_tiny"])
