from __future__ import annotations

from typing import Any

import pytest

from fathom.options import Options
from shared.errors import QuotaExceeded
from shared.jobs.job import (
    ALREADY,
    ENDS,
    TRANSITIONS,
    Cost,
    Counts,
    Job,
    JobState,
    Phase,
    is_job_id,
    new_job_id,
    quota_error,
    refusal,
)


def job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": new_job_id(),
        "state": JobState.PROCESSING,
        "options": Options(),
        "counts": Counts(total=10),
        "created_at": 0.0,
    }
    return Job(**(fields | changes))


def test_new_job_ids_are_unique_and_valid():
    ids = {new_job_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(is_job_id(id) for id in ids)


@pytest.mark.parametrize(
    "text", ["", "a" * 25, "a" * 27, "A" * 26, "a" * 25 + "1", "a" * 26 + "\n", "../" + "a" * 23]
)
def test_anything_else_is_not_a_valid_job_id(text: str):
    assert not is_job_id(text)


def test_only_a_retry_and_expiry_leave_an_end_state():
    leaving = {verb for verb, moves in TRANSITIONS.items() if ENDS & set(moves)}

    assert leaving == {"retry", "expire"}


def test_no_verb_has_a_transition_from_a_state_where_it_has_no_effect():
    assert set(ALREADY) == {"start", "pause", "resume", "cancel", "retry", "abort", "expire"}
    for verb, already in ALREADY.items():
        assert not already & set(TRANSITIONS[verb]), verb


@pytest.mark.parametrize(
    ("verb", "state", "text"),
    [
        ("pause", JobState.FAILED, "The job is failed; pause needs a job that is queued or processing."),
        ("abort", JobState.QUEUED, "The job is queued; abort needs a job that is uploading."),
        ("retry", JobState.FAILED, "The job failed before it had images; there is nothing to retry."),
    ],
)
def test_a_refusal_names_the_states_that_the_verb_needs(verb: str, state: JobState, text: str):
    assert str(refusal(verb, state)) == text


@pytest.mark.parametrize(
    ("bound", "added", "text"),
    [
        (
            "images",
            3,
            "This server takes 10 unfinished images at most, and has 8. Send this job again when some",
        ),
        ("owner_images", 10, "You may have 10 unfinished images at most, and have 8. Send this job again"),
        (
            "owner_bytes",
            5,
            "keep 10 bytes of photos at most, and keep 8. Send this job again when some of them are",
        ),
        ("owner_images", 11, "This job alone is more than that: send it in parts."),
    ],
)
def test_a_job_beyond_a_limit_names_the_limit_and_a_remedy(bound: str, added: int, text: str):
    error = quota_error(bound, 8, added, 10)

    assert isinstance(error, QuotaExceeded)
    assert text in str(error)


def test_the_progress_of_a_job_with_uncounted_images_is_zero():
    assert job(state=JobState.UPLOADING, counts=Counts(total=0)).progress == 0.0


def test_the_second_pass_begins_at_half_even_if_the_first_was_skipped():
    options = Options.parse({"normalize": "job"})

    assert job(options=options, phase=Phase.RENDER, counts=Counts(total=4)).progress == pytest.approx(0.5)
    assert job(options=options, phase=Phase.MEASURE, counts=Counts(total=4)).progress == 0.0


def test_progress_is_the_share_of_images_that_ended():
    assert job(counts=Counts(total=10, succeeded=3, failed=1)).progress == pytest.approx(0.4)


def test_a_job_of_two_passes_is_half_done_after_the_first():
    options = Options.parse({"normalize": "job"})

    assert job(options=options, counts=Counts(total=10, measured=10)).progress == pytest.approx(0.5)
    assert job(options=options, counts=Counts(total=10, measured=9, failed=1)).progress == pytest.approx(0.55)


def test_each_of_two_passes_counts_by_its_cost():
    options, cost = Options.parse({"normalize": "job"}), Cost(measure=0.5, render=4.5)

    first = job(options=options, cost=cost, phase=Phase.MEASURE, counts=Counts(total=10, measured=10))
    second = job(options=options, cost=cost, counts=Counts(total=10, measured=10, succeeded=5))
    assert first.progress == pytest.approx(0.1)
    assert second.progress == pytest.approx(0.55)


def test_an_ended_job_has_full_progress_whatever_failed():
    assert job(state=JobState.CANCELED).progress == 1.0


def test_the_eta_follows_from_the_rate_and_is_unknown_without_one():
    assert job(counts=Counts(total=10, succeeded=4), images_per_second=2.0).eta_seconds == pytest.approx(3.0)
    assert job().eta_seconds is None
    assert job(state=JobState.PAUSED, images_per_second=2.0).eta_seconds is None
