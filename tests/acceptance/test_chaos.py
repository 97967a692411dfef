"""The short form of `python -m bench.chaos`: children and workers are killed, and a judge looks at it all."""

from __future__ import annotations

import pytest

from bench.chaos.run import Orders, Report, run
from bench.chaos.stack import Size

#: The plan of this seed kills children, a whole worker, and a worker's parent alone.
SEED = 2
KILLS = 6


@pytest.fixture(scope="module")
def report(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One run, on a stack of its own. `environ` skips it where the servers are missing."""
    orders = Orders(
        seed=SEED,
        images=240,
        small_jobs=3,
        small_images=10,
        kills=KILLS,
        patience=120.0,
        size=Size(workers=2, children=2),
    )
    return run(orders, tmp_path_factory.mktemp("chaos") / "data", say=print)


def test_whatever_is_killed_every_verdict_holds(report: Report) -> None:
    assert [f"{v.name}: {v.complaints[:3]}" for v in report.verdicts if not v.holds] == []


def test_the_verdicts_rest_on_something(report: Report) -> None:
    """A judge that saw nothing would find no fault."""
    seen = report.evidence

    assert [job.total for job in seen.jobs] == [240, 10, 10, 10]
    assert sum(bool(blow.pids) for blow in seen.blows) >= KILLS
    assert len({store.image for store in seen.stored}) == 270
    assert len(seen.fetched) >= 270
    assert None not in {fetch.pid for fetch in seen.fetched if fetch.at < seen.blows[0].began_at}
