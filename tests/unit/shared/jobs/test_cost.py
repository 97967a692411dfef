from __future__ import annotations

from typing import Any

import pytest

from fathom.options import Options, Output
from shared.jobs.cost import HIGHEST, cost_of
from shared.jobs.job import Phase
from shared.networks import NETWORKS


def render_cost(**options: Any) -> float:
    return cost_of(Options.parse(options)).render


def test_a_plain_heatmap_costs_exactly_one():
    assert cost_of(Options()).of(Phase.RENDER) == 1.0


@pytest.mark.parametrize("output", Output)
def test_every_output_costs_more_than_the_prediction_alone(output: Output):
    assert render_cost(outputs=[output]) > cost_of(Options()).measure


def test_outputs_add_up_and_share_one_prediction():
    each = [render_cost(outputs=[output]) - cost_of(Options()).measure for output in ("stereo", "layers")]

    assert render_cost(outputs=["stereo", "layers"]) == pytest.approx(cost_of(Options()).measure + sum(each))


def test_the_dearest_job_has_all_outputs():
    longest = {"seconds": 12, "fps": 60, "height": 2160}

    dearest = max(network.cost for network in NETWORKS.values())
    options = Options.parse({"outputs": list(Output), "clip": longest, "model": "dpt_large"})

    assert cost_of(options, dearest).render == pytest.approx(HIGHEST)


def test_the_network_counts_in_every_pass_and_the_outputs_stay():
    plain, dear = cost_of(Options()), cost_of(Options(model="dpt_large"), 100.0)

    assert dear.measure > 25 * plain.measure
    assert dear.render - dear.measure == pytest.approx(plain.render - plain.measure)


def test_only_the_default_network_makes_a_second_prediction():
    detailed = [
        Options.parse({"quality": "detailed", "model": name}) for name in ("", "midas_small", "other")
    ]

    assert [cost_of(options).measure > 1 for options in detailed] == [True, True, False]


def test_a_clip_costs_as_much_as_it_has_pixels():
    short, long, large = (
        render_cost(outputs="clip", clip=clip)
        for clip in ({"seconds": 2}, {"seconds": 4}, {"seconds": 2, "height": 2160})
    )

    still = 2 * short - long
    assert large - still == pytest.approx(4 * (short - still))
    assert short > 10


def test_maps_of_the_size_of_the_prediction_cost_less_but_never_nothing():
    small = render_cost(outputs=["heatmap", "pfm"], size="network")

    assert cost_of(Options()).measure < small < render_cost(outputs=["heatmap", "pfm"])


def test_measuring_costs_the_same_whatever_is_rendered():
    plain, dear = (
        Options.parse({"normalize": "job"}),
        Options.parse({"normalize": "job", "outputs": ["layers"]}),
    )

    assert cost_of(plain).of(Phase.MEASURE) == cost_of(dear).of(Phase.MEASURE) < 1.0


def test_a_second_prediction_costs_as_much_more_in_both_passes():
    detailed, plain = (cost_of(Options.parse({"quality": quality})) for quality in ("detailed", "standard"))
    more = detailed.measure - plain.measure

    assert detailed.measure == pytest.approx(3.25 * plain.measure, rel=0.1)
    assert detailed.render - plain.render == pytest.approx(more)
