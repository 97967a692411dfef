"""Short runs of `python -m bench.chaos`: children and workers are killed, and the checker checks the rest."""

from __future__ import annotations

import pytest

from bench.chaos.run import ChaosReport, Experiment, run
from bench.chaos.stack import StackSize

#: Both seeds kill children, a whole worker, and the parent of a worker alone. In the small one, photos take
#: time, and all faults are due before a third of them is done.
SMALL = Experiment(
    seed=331,
    images=40,
    small_jobs=1,
    small_images=10,
    kills=3,
    timeout=120.0,
    size=StackSize(workers=2, children=1, lease_seconds=2.0, image_seconds=0.2),
)
LARGE = Experiment(
    seed=2,
    images=240,
    small_jobs=3,
    small_images=10,
    kills=6,
    timeout=120.0,
    size=StackSize(workers=2, children=2),
)


@pytest.fixture(
    scope="module", params=[SMALL, pytest.param(LARGE, marks=pytest.mark.slow)], ids=["few", "many"]
)
def report(
    request: pytest.FixtureRequest, environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> ChaosReport:
    """One run, on its own stack. `environ` skips it if the servers are missing."""
    return run(request.param, tmp_path_factory.mktemp("chaos") / "data", log=print)


def test_every_claim_holds_whatever_is_killed(report: ChaosReport) -> None:
    assert [f"{v.name}: {v.complaints[:3]}" for v in report.verdicts if not v.holds] == []


def test_the_verdicts_rest_on_observations(report: ChaosReport) -> None:
    """A checker without observations would find nothing wrong."""
    seen, experiment = report.observations, report.experiment
    sizes = [experiment.images] + [experiment.small_images] * experiment.small_jobs

    assert [job.total for job in seen.jobs] == sizes
    assert sum(bool(fault.pids) for fault in seen.faults) >= experiment.kills
    assert len({store.image for store in seen.stored}) == sum(sizes)
    assert len(seen.fetched) >= sum(sizes)
    assert None not in {fetch.pid for fetch in seen.fetched if fetch.at < seen.faults[0].began_at}
