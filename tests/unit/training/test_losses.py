from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.losses import (
    CEILING,
    LossWeights,
    align,
    edge_error,
    gradient_matching,
    measure_range,
    normalise,
    ordinal_error,
    relative_error,
    training_loss,
    trimmed_absolute,
)


@pytest.fixture
def inverse_depth() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, 1, 6, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(48, 64), mode="bilinear")[:, 0] + 0.05


def test_a_perfect_prediction_has_no_loss_but_the_ordinal_one(inverse_depth: Tensor) -> None:
    weights = LossWeights(ordinal=0.0)
    loss = training_loss(normalise(inverse_depth), inverse_depth, weights)

    # Clipping the farthest two percent leaves a small relative error.
    assert float(loss) == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (0.2, 0.0), (1.0, 0.7)])
def test_the_target_does_not_depend_on_scale_or_shift(
    inverse_depth: Tensor, scale: float, shift: float
) -> None:
    changed = normalise(inverse_depth * scale + shift)

    assert torch.allclose(changed, normalise(inverse_depth), atol=1e-4)


def test_the_target_runs_from_zero_to_the_ceiling(inverse_depth: Tensor) -> None:
    inverse_depth[:, :2, :2] = 50
    target = normalise(inverse_depth)

    assert float(target.min()) == 0
    assert float(target.max()) == pytest.approx(CEILING)


def test_a_constant_picture_gives_a_finite_loss() -> None:
    loss = training_loss(torch.rand(1, 32, 32), torch.full((1, 32, 32), 0.5), LossWeights())

    assert torch.isfinite(loss)


@pytest.mark.parametrize(("scale", "shift"), [(0.6, 0.0), (1.8, 0.3), (1.0, -5.0)])
def test_alignment_undoes_a_moderate_scale_and_any_shift(
    inverse_depth: Tensor, scale: float, shift: float
) -> None:
    target = normalise(inverse_depth)

    assert torch.allclose(align(target / scale + shift, target), target, atol=1e-4)


def test_alignment_cannot_blow_up_a_flat_prediction(inverse_depth: Tensor) -> None:
    target = normalise(inverse_depth)
    aligned = align(torch.full_like(target, 0.3) + 1e-4 * torch.rand_like(target), target)

    assert float((aligned.amax((1, 2)) - aligned.amin((1, 2))).max()) < 1e-3


def test_alignment_passes_no_gradient_through_its_fit(inverse_depth: Tensor) -> None:
    prediction = normalise(inverse_depth).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(align(prediction, normalise(inverse_depth)).sum(), prediction)

    assert torch.allclose(gradient, torch.ones_like(gradient), atol=1e-3)


def test_trimming_leaves_out_the_worst_pixels() -> None:
    residual = torch.zeros(1, 10, 10)
    residual[0, 0, :] = 100

    assert float(trimmed_absolute(residual, 0.15)) == 0
    assert float(trimmed_absolute(residual, 0.05)) > 4


def test_gradient_matching_ignores_a_constant_and_punishes_a_step() -> None:
    step = torch.zeros(1, 32, 32)
    step[:, :, 16:] = 1

    assert float(gradient_matching(torch.full((1, 32, 32), 7.0))) == 0
    # One step of height 1 in a row of n pixels means 1 / (n - 1) at each of four scales.
    assert float(gradient_matching(step)) == pytest.approx(1 / 31 + 1 / 15 + 1 / 7 + 1 / 3, rel=1e-4)


def test_blur_costs_more_at_a_depth_edge_than_elsewhere() -> None:
    target = torch.zeros(1, 32, 32)
    target[:, :, 16:] = 1
    blurred = torch.nn.functional.avg_pool2d(target[:, None], 9, 1, 4, count_include_pad=False)[:, 0]

    assert float(edge_error(blurred - target, target)) > 0.2
    assert float(edge_error(target - target, target)) == 0


def test_relative_error_counts_ratios_near_and_far_alike(inverse_depth: Tensor) -> None:
    low, span = measure_range(inverse_depth)
    exact = (inverse_depth - low) / span

    assert float(relative_error(exact, inverse_depth)) == pytest.approx(0, abs=2e-3)
    doubled = float(relative_error((2 * inverse_depth - low) / span, inverse_depth))
    assert 0.5 < doubled < math.log(2)


def test_relative_error_leaves_the_sky_out() -> None:
    inverse = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)) + 0.5
    inverse[:, :8] = 0
    low, span = measure_range(inverse)
    wrong_there = ((inverse - low) / span).clone()
    wrong_there[:, :8] = 1

    assert float(relative_error(wrong_there, inverse)) == pytest.approx(0, abs=1e-5)


def test_the_right_order_costs_less_than_the_wrong_one(inverse_depth: Tensor) -> None:
    target = normalise(inverse_depth)
    torch.manual_seed(0)
    right = ordinal_error(target, inverse_depth, target)
    wrong = ordinal_error(-target, inverse_depth, target)

    assert float(right) < 0.3
    assert float(wrong) > 3


def test_far_surfaces_that_differ_by_a_tenth_still_have_an_order() -> None:
    inverse = torch.full((1, 32, 32), 0.001)
    inverse[:, :, 16:] = 0.002
    inverse[:, 30:] = 1.0
    flat = torch.zeros(1, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(ordinal_error(flat, inverse, normalise(inverse)), flat)

    assert float(gradient[0, :30, 16:].sum()) < 0 < float(gradient[0, :30, :16].sum())
