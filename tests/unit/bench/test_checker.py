"""The checker of `bench.chaos` must find everything that can go wrong in a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bench.chaos.checker import FILES, KEY_BYTES_MARGIN, check
from bench.chaos.observations import (
    Cause,
    Fetched,
    FinalJob,
    InjectedFault,
    Leftovers,
    Observations,
    Recorded,
    Stored,
)

JOB = "a" * 26
TOTAL = 10
Change = Callable[[Observations], Observations]


def photo(index: int) -> str:
    return f"{index:064x}"


@pytest.fixture
def correct_run() -> Observations:
    """A correct run in which one child was killed while it held image 3."""
    job = FinalJob(
        id=JOB,
        total=TOTAL,
        state="succeeded",
        succeeded=TOTAL,
        failed=0,
        bitcounts=(TOTAL, 0),
        succeeded_bits=frozenset(range(TOTAL)),
        failed_bits=frozenset(),
        outputs=dict.fromkeys(range(TOTAL), FILES),
        sources={index: photo(index) for index in range(TOTAL)},
        photos=tuple(photo(index) for index in range(TOTAL)),
        result={
            "id": JOB,
            "state": "succeeded",
            "counts": {"total": TOTAL, "succeeded": TOTAL, "failed": 0},
        },
    )
    leftovers = Leftovers(
        unfinished={"tickets": 0, "leases": 0},
        slots=4,
        slots_wanted=4,
        keys_of_jobs=(),
        objects_of_jobs=(),
        bytes_before={"{fathom}:slots": 5000},
        bytes_after={"{fathom}:slots": 4900, "{fathom}:totals": 100},
    )
    return Observations(
        jobs=(job,),
        leftovers=leftovers,
        fetched=tuple(Fetched(at=float(i), image=(JOB, i), pid=100) for i in range(TOTAL)),
        stored=tuple(Stored(at=i + 0.5, image=(JOB, i), pid=100) for i in range(TOTAL)),
        recorded=tuple(Recorded(at=i + 0.6, image=(JOB, i), outcome="ok") for i in range(TOTAL)),
        faults=(InjectedFault(cause=Cause.KILL, began_at=3.55, ended_at=3.55, pids=frozenset({99})),),
        faults_planned=1,
        faults_injected=1,
    )


def failed_claims(observations: Observations) -> set[str]:
    return {verdict.name for verdict in check(observations) if not verdict.holds}


def with_job(**changes: Any) -> Change:
    return lambda observations: replace(observations, jobs=(replace(observations.jobs[0], **changes),))


def with_leftovers(**changes: Any) -> Change:
    return lambda observations: replace(observations, leftovers=replace(observations.leftovers, **changes))


def without(index: int) -> dict[int, frozenset[str]]:
    return {other: FILES for other in range(TOTAL) if other != index}


def again(
    *,
    killed_at: float,
    pid: int = 100,
    begun_at: float = 20.0,
    recorded: bool = False,
    cause: Cause = Cause.KILL,
) -> Change:
    """Let image 3, stored at 3.5 by process 100, be stored again at 21 by process 200."""

    def change(observations: Observations) -> Observations:
        records = [r for r in observations.recorded if recorded or r.image != (JOB, 3)]
        records += [] if recorded else [Recorded(at=21.1, image=(JOB, 3), outcome="ok")]
        return replace(
            observations,
            fetched=(*observations.fetched, Fetched(at=begun_at, image=(JOB, 3), pid=200)),
            stored=(*observations.stored, Stored(at=21.0, image=(JOB, 3), pid=200)),
            recorded=tuple(records),
            faults=(
                InjectedFault(cause=cause, began_at=killed_at, ended_at=killed_at, pids=frozenset({pid})),
            ),
        )

    return change


def test_every_claim_holds_for_a_correct_run(correct_run: Observations) -> None:
    verdicts = check(correct_run)

    assert [verdict.complaints for verdict in verdicts if not verdict.holds] == []
    assert len(verdicts) >= 14


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (with_job(state="processing"), {"ended", "result_agrees"}),
        (with_job(state="canceled"), {"ended", "result_agrees"}),
        (with_job(succeeded=TOTAL + 1), {"counted", "result_agrees"}),
        (with_job(failed=1), {"ended", "counted", "result_agrees"}),
        (with_job(bitcounts=(TOTAL - 1, 0)), {"counted"}),
        (with_job(bitcounts=(TOTAL, 1)), {"counted"}),
        (with_job(succeeded_bits=frozenset(range(TOTAL - 1))), {"complete", "counted", "stored"}),
        (
            with_job(succeeded_bits=frozenset(range(TOTAL + 1))),
            {"complete", "counted", "stored", "own_photo"},
        ),
        (with_job(failed_bits=frozenset({4})), {"complete", "counted", "failed_for_a_reason"}),
        (with_job(outputs=without(5)), {"stored"}),
        (with_job(outputs={**without(5), 5: frozenset({"depth.json"})}), {"stored"}),
        (with_job(outputs={**without(5), 5: FILES | {"other.png"}}), {"stored"}),
        (with_job(outputs={**without(5), 5: frozenset({"depth.json", "heatmap.png (empty)"})}), {"stored"}),
        (with_job(outputs={**without(TOTAL), TOTAL: FILES}), {"stored"}),
        (with_job(sources={**{i: photo(i) for i in range(TOTAL)}, 2: photo(3)}), {"own_photo"}),
        (with_job(sources={}), {"own_photo"}),
        (with_job(result=None), {"result_agrees"}),
        (with_job(result={"id": JOB, "state": "succeeded", "counts": {}}), {"result_agrees"}),
    ],
)
def test_a_wrong_job_is_found(correct_run: Observations, change: Change, names: set[str]) -> None:
    assert failed_claims(change(correct_run)) == names


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (with_leftovers(unfinished={"tickets": 1, "leases": 0}), {"nothing_in_hand"}),
        (with_leftovers(unfinished={"tickets": 0, "leases": 2}), {"nothing_in_hand"}),
        (with_leftovers(slots=3), {"workers_back"}),
        (with_leftovers(slots=6), {"workers_back"}),
        (with_leftovers(keys_of_jobs=("{fathom}:job:x:ok",)), {"nothing_left"}),
        (with_leftovers(objects_of_jobs=("jobs/x/job.json",)), {"nothing_left"}),
        (with_leftovers(bytes_after={"{fathom}:totals": 5001 + KEY_BYTES_MARGIN}), {"nothing_left"}),
        (lambda seen: replace(seen, faults_injected=0), {"all_injected"}),
        (lambda seen: replace(seen, faults_planned=0, faults_injected=0), {"all_injected"}),
        (lambda seen: replace(seen, anomalies=("No worker was stopped.",)), {"all_injected"}),
        (lambda seen: replace(seen, timed={"It": (30.1, 30.0)}), {"in_time"}),
        (lambda seen: replace(seen, timed={"It": (float("nan"), 30.0)}), {"in_time"}),
    ],
)
def test_leftovers_and_missing_faults_are_found(
    correct_run: Observations, change: Change, names: set[str]
) -> None:
    assert failed_claims(change(correct_run)) == names


def test_an_outcome_recorded_twice_is_found(correct_run: Observations) -> None:
    twice = replace(
        correct_run, recorded=(*correct_run.recorded, Recorded(at=9.9, image=(JOB, 2), outcome="ok"))
    )

    assert failed_claims(twice) == {"recorded_once"}


def test_an_outcome_that_was_never_recorded_is_found(correct_run: Observations) -> None:
    assert failed_claims(replace(correct_run, recorded=correct_run.recorded[1:])) == {"recorded_once"}


@pytest.mark.parametrize(
    ("cause", "began_at", "holds"),
    [
        # The record at 2.6 may not have reached the disk.
        (Cause.RESTART, 3.0, True),
        # It had two seconds to reach the disk.
        (Cause.RESTART, 5.0, False),
        # Everything is recorded again, from S3.
        (Cause.FLUSH, 5.0, True),
        # Both records came after the loss.
        (Cause.FLUSH, 1.0, False),
        (Cause.KILL, 3.0, False),
        (Cause.S3, 3.0, False),
    ],
)
def test_an_outcome_is_recorded_again_only_where_valkey_may_have_lost_it(
    correct_run: Observations, cause: Cause, began_at: float, holds: bool
) -> None:
    fault = InjectedFault(cause=cause, began_at=began_at, ended_at=began_at + 1)
    twice = replace(
        correct_run,
        recorded=(*correct_run.recorded, Recorded(at=9.9, image=(JOB, 2), outcome="ok")),
        faults=(fault,),
    )

    assert ("recorded_once" not in failed_claims(twice)) is holds


def test_an_image_may_be_stored_again_if_its_process_was_killed_before_recording_it(
    correct_run: Observations,
) -> None:
    assert failed_claims(again(killed_at=3.55)(correct_run)) == set()


@pytest.mark.parametrize(
    "change",
    [
        # Another process was killed.
        again(killed_at=3.55, pid=101),
        # It was killed before it held the image.
        again(killed_at=2.5),
        # The second process began while the first was alive.
        again(killed_at=3.55, begun_at=3.2),
        # The image was recorded before the kill, so it was done.
        again(killed_at=4.5, recorded=True),
        # The fault of S3 was at another time.
        again(killed_at=2.0, cause=Cause.S3),
        # It was stored long before Valkey was killed.
        again(killed_at=8.0, cause=Cause.RESTART),
        again(killed_at=4.0, cause=Cause.FLUSH),
    ],
)
def test_an_image_stored_again_without_an_explanation_is_found(
    correct_run: Observations, change: Change
) -> None:
    assert failed_claims(change(correct_run)) == {"stored_once"}


@pytest.mark.parametrize("cause", [Cause.RESTART, Cause.FLUSH, Cause.S3])
def test_an_image_may_be_stored_again_after_a_fault_while_it_was_held(
    correct_run: Observations, cause: Cause
) -> None:
    assert "stored_once" not in failed_claims(again(killed_at=3.4, cause=cause)(correct_run))


@pytest.mark.parametrize(("kills", "holds"), [(2, False), (3, True)])
def test_an_image_fails_only_after_as_many_kills_as_there_are_attempts(
    correct_run: Observations, kills: int, holds: bool
) -> None:
    holders = [Fetched(at=10.0 + n, image=(JOB, 4), pid=300 + n) for n in range(3)]
    faults = [
        InjectedFault(cause=Cause.KILL, began_at=10.5 + n, ended_at=10.5 + n, pids=frozenset({300 + n}))
        for n in range(kills)
    ]
    job = replace(
        correct_run.jobs[0],
        state="partial",
        succeeded=TOTAL - 1,
        failed=1,
        bitcounts=(TOTAL - 1, 1),
        succeeded_bits=frozenset(range(TOTAL)) - {4},
        failed_bits=frozenset({4}),
        outputs=without(4),
        result={
            "id": JOB,
            "state": "partial",
            "counts": {"total": TOTAL, "succeeded": TOTAL - 1, "failed": 1},
        },
    )
    seen = replace(correct_run, jobs=(job,), fetched=(*correct_run.fetched, *holders), faults=tuple(faults))

    assert failed_claims(seen) == (set() if holds else {"failed_for_a_reason"})


@pytest.mark.parametrize(("times", "holds"), [(20, True), (200, False)])
def test_too_many_requests_to_an_s3_that_answers_503_are_found(
    correct_run: Observations, times: int, holds: bool
) -> None:
    fault = InjectedFault(cause=Cause.S3, began_at=50.0, ended_at=52.0)
    asked = tuple((50.0 + n / 100, 100) for n in range(times))
    seen = replace(correct_run, faults=(*correct_run.faults, fault), answered_503=asked)

    assert failed_claims(seen) == (set() if holds else {"backed_off"})


def test_a_verdict_quotes_its_first_complaints_and_counts_all(correct_run: Observations) -> None:
    bits: frozenset[int] = frozenset()
    (verdict,) = [v for v in check(with_job(succeeded_bits=bits)(correct_run)) if v.name == "complete"]
    report = verdict.to_json()

    assert (report["holds"], report["contradictions"], len(report["examples"])) == (False, TOTAL, 5)
    assert report["examples"][0] == f"{JOB}: image 0 has 0 outcomes."
