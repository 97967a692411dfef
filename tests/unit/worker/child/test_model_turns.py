from __future__ import annotations

from collections import Counter

import pytest

from fathom.options import Options
from shared.jobs.job import Lease
from worker.child.model_turns import ModelTurns


def a_lease(model: str, *, cost: float = 1.0, images: int = 1, owners: int = 1) -> Lease:
    return Lease(
        id="lease",
        job_id="job",
        indices=tuple(range(images)),
        options=Options(model=model),
        cost=cost,
        owners=owners,
    )


def serve(turns: ModelTurns, leases: int, **costs: tuple[float, int]) -> Counter[str]:
    """Take leases of the networks that have work; return what each network got."""
    got: Counter[str] = Counter()
    for _ in range(leases):
        model = next(name for name in turns.order() if name in costs)
        cost, owners = costs[model]
        turns.note(a_lease(model, cost=cost, owners=owners))
        got[model] += round(cost)
    return got


def test_networks_get_the_same_time_however_much_their_images_cost():
    got = serve(ModelTurns(["dear", "cheap"]), 404, dear=(100.0, 1), cheap=(1.0, 1))

    assert got["dear"] == pytest.approx(got["cheap"], abs=100)


def test_a_network_for_which_more_owners_wait_gets_more():
    got = serve(ModelTurns(["many", "one"]), 400, many=(1.0, 3), one=(1.0, 1))

    assert got == {"many": 300, "one": 100}


def test_time_without_work_earns_nothing():
    turns = ModelTurns(["busy", "idle"])
    serve(turns, 1000, busy=(1.0, 1))

    assert serve(turns, 10, busy=(1.0, 1), idle=(1.0, 1)) == {"busy": 5, "idle": 5}


def test_time_alone_costs_nothing():
    turns = ModelTurns(["late", "early"])
    serve(turns, 1000, early=(1.0, 1))

    assert serve(turns, 11, late=(1.0, 1), early=(1.0, 1))["early"] >= 5


def test_all_networks_are_offered_at_every_turn():
    turns = ModelTurns(["a", "b", "c"])
    serve(turns, 7, a=(1.0, 1), b=(2.0, 1))

    assert sorted(turns.order()) == ["a", "b", "c"]


def test_a_dropped_network_is_offered_no_more():
    turns = ModelTurns(["a", "b"])
    turns.drop("a")
    turns.drop("a")

    assert turns.order() == ["b"]
