from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from shared.errors import WeightsInvalid
from worker.model.checkpoint import UNUSED_PREFIX, checked_state, load_network, random_state, read_tensors
from worker.model.weights import resolve_weights

KERNEL = "pretrained.layer1.0.weight"
VARIANCE = "pretrained.layer1.1.running_var"
COUNTER = "pretrained.layer1.1.num_batches_tracked"


def load(path: Path) -> Any:
    return load_network(resolve_weights(str(path), path.parent))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_both_formats_give_the_network_that_was_saved(
    tmp_path: Path, random_tensors: dict[str, Tensor], suffix: str
):
    path = tmp_path / f"weights{suffix}"
    save = torch.save if suffix == ".pt" else save_file
    save(random_tensors, path)

    network = load(path)

    state = network.state_dict()
    assert list(state) == list(random_tensors)
    assert all(torch.equal(state[name], tensor) for name, tensor in random_tensors.items())
    assert not network.training


def test_half_precision_is_raised_to_single_and_the_unused_unit_filled_with_zeros(
    half_file: Path, random_tensors: dict[str, Tensor]
):
    state = load(half_file).state_dict()

    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    assert torch.equal(state[KERNEL], random_tensors[KERNEL].half().float())
    assert all(not tensor.any() for name, tensor in state.items() if name.startswith(UNUSED_PREFIX))


def test_random_weights_load_without_a_file_and_give_a_depth_map_that_varies(random_weights):
    with torch.inference_mode():
        depth = load_network(random_weights)(torch.zeros(1, 3, 64, 64))

    assert torch.isfinite(depth).all()
    assert depth.max() - depth.min() > 1.0


def test_random_weights_are_the_same_numbers_everywhere(random_tensors: dict[str, Tensor]):
    first_three = random_tensors[KERNEL].flatten()[:3].tolist()
    assert first_three == pytest.approx([0.0497337, 0.0575516, 0.5890234], abs=1e-7)
    assert random_tensors[VARIANCE].min() >= 0.5
    assert random_tensors[COUNTER].item() == 0


class Hostile:
    """Unpickling this creates a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.mkdir, (self.folder,)


def save_hostile(path: Path, folder: Path) -> None:
    torch.save({KERNEL: Hostile(folder)}, path)


def save_hostile_legacy(path: Path, folder: Path) -> None:
    torch.save({KERNEL: Hostile(folder)}, path, _use_new_zipfile_serialization=False)


def save_hostile_pickle(path: Path, folder: Path) -> None:
    path.write_bytes(pickle.dumps({KERNEL: Hostile(folder)}))


@pytest.mark.parametrize("save", [save_hostile, save_hostile_legacy, save_hostile_pickle])
def test_code_in_a_file_is_refused_and_never_runs(tmp_path: Path, save: Callable[[Path, Path], None]):
    path, folder = tmp_path / "hostile.pt", tmp_path / "made-by-the-file"
    save(path, folder)

    with pytest.raises(WeightsInvalid, match=r"hostile\.pt"):
        load(path)

    assert not folder.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused_by_name(
    tmp_path: Path, random_tensors: dict[str, Tensor], suffix: str, share: float
):
    path = tmp_path / f"cut{suffix}"
    (torch.save if suffix == ".pt" else save_file)({KERNEL: random_tensors[KERNEL]}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    with pytest.raises(WeightsInvalid, match=r"cut\..* cannot be read as weights: ."):
        load(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("seed", range(20))
def test_noise_is_refused_whatever_it_holds(tmp_path: Path, suffix: str, seed: int):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(np.random.default_rng(seed).bytes(seed**3))

    with pytest.raises(WeightsInvalid):
        load(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_of_the_other_format_is_refused(
    tmp_path: Path, random_tensors: dict[str, Tensor], suffix: str
):
    path = tmp_path / f"other{suffix}"
    (save_file if suffix == ".pt" else torch.save)({KERNEL: random_tensors[KERNEL]}, path)

    with pytest.raises(WeightsInvalid):
        load(path)


@pytest.mark.parametrize("content", [[1, 2, 3], torch.zeros(3), {1: torch.zeros(3)}, None, "weights"])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: Any):
    path = tmp_path / "something.pt"
    torch.save(content, path)

    with pytest.raises(WeightsInvalid, match=r"something\.pt holds a \w+, not named weights"):
        read_tensors(path)


def test_three_missing_entries_are_named_and_the_rest_counted(expected: dict[str, Tensor]):
    with pytest.raises(WeightsInvalid) as caught:
        checked_state({}, expected, Path("empty.pt"))

    assert caught.value.message.startswith(
        "empty.pt does not hold weights of MiDaS_small: it lacks pretrained."
    )
    assert caught.value.message.endswith("and 475 more.")


@pytest.mark.parametrize(
    "name", ["scratch.output_conv.6.weight", "module.weight", UNUSED_PREFIX + "conv3.bias"]
)
def test_an_unknown_entry_is_refused(random_tensors: dict[str, Tensor], name: str):
    with pytest.raises(WeightsInvalid, match=f"has the unknown {name}"):
        checked_state({**random_tensors, name: torch.zeros(1)}, random_tensors, Path("w.pt"))


@pytest.mark.parametrize("name", [KERNEL, COUNTER, "scratch.refinenet4.resConfUnit2.conv1.bias"])
def test_a_missing_entry_is_refused(random_tensors: dict[str, Tensor], name: str):
    tensors = {key: tensor for key, tensor in random_tensors.items() if key != name}

    with pytest.raises(WeightsInvalid, match=f"it lacks {name}"):
        checked_state(tensors, random_tensors, Path("w.pt"))


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        (KERNEL, torch.zeros(32, 3, 5, 5), "has shape .32, 3, 5, 5., not .32, 3, 3, 3."),
        (KERNEL, torch.zeros(864), "has shape"),
        (KERNEL, torch.full((32, 3, 3, 3), float("nan")), "not finite"),
        (KERNEL, torch.full((32, 3, 3, 3), float("inf")), "not finite"),
        (KERNEL, torch.full((32, 3, 3, 3), 1e300, dtype=torch.float64), "not finite"),
        (KERNEL, torch.zeros(32, 3, 3, 3, dtype=torch.int8), "has dtype torch.int8"),
        (KERNEL, torch.zeros(32, 3, 3, 3, dtype=torch.complex64), "has dtype torch.complex64"),
        (KERNEL, torch.zeros(32, 3, 3, 3).to_sparse(), "not a tensor of numbers"),
        (KERNEL, torch.zeros(32, 3, 3, 3, device="meta"), "not a tensor of numbers"),
        (KERNEL, [0.0] * 864, "not a tensor of numbers"),
        (KERNEL, None, "not a tensor of numbers"),
        (COUNTER, torch.tensor(0.5), "has dtype torch.float32"),
        (COUNTER, torch.zeros(1, dtype=torch.int64), "has shape"),
    ],
)
def test_an_entry_that_does_not_fit_is_refused_by_its_name(
    random_tensors: dict[str, Tensor], name: str, value: Any, complaint: str
):
    with pytest.raises(WeightsInvalid, match=rf"w\.pt: {name} .*{complaint}"):
        checked_state({**random_tensors, name: value}, random_tensors, Path("w.pt"))


def test_the_order_of_a_file_does_not_matter(random_tensors: dict[str, Tensor]):
    backwards = dict(reversed(random_tensors.items()))

    assert list(checked_state(backwards, random_tensors, Path("w.pt"))) == list(random_tensors)


def test_the_formula_gives_every_entry_different_numbers(expected: dict[str, Tensor]):
    first, second = random_state(expected), random_state(expected)

    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["scratch.output_conv.0.bias"], first["scratch.output_conv.2.bias"])
