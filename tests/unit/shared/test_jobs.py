from __future__ import annotations

import pytest

from shared.jobs import ENDS, TRANSITIONS, Counts, Job, JobState, is_job_id, new_job_id
from shared.options import Options


def job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "id": new_job_id(),
        "state": JobState.PROCESSING,
        "options": Options(),
        "counts": Counts(total=10),
        "created_at": 0.0,
    }
    return Job(**(fields | changes))  # type: ignore[arg-type]


def test_job_ids_are_many_and_recognised():
    ids = {new_job_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(is_job_id(id) for id in ids)


@pytest.mark.parametrize(
    "text", ["", "a" * 25, "a" * 27, "A" * 26, "a" * 25 + "1", "a" * 26 + "\n", "../" + "a" * 23]
)
def test_anything_else_is_no_job_id(text: str):
    assert not is_job_id(text)


def test_nothing_leaves_an_end_but_a_retry():
    leaving = {verb for verb, moves in TRANSITIONS.items() if ENDS & set(moves)}

    assert leaving == {"retry"}


def test_progress_is_the_share_of_images_that_ended():
    assert job(counts=Counts(total=10, succeeded=3, failed=1)).progress == pytest.approx(0.4)


def test_a_job_of_two_passes_is_half_done_after_the_first():
    options = Options.parse({"normalize": "job"})

    assert job(options=options, counts=Counts(total=10, measured=10)).progress == pytest.approx(0.5)
    assert job(options=options, counts=Counts(total=10, measured=9, failed=1)).progress == pytest.approx(0.55)


def test_an_ended_job_is_all_done_whatever_failed():
    assert job(state=JobState.CANCELED).progress == 1.0


def test_the_eta_follows_from_the_rate_and_is_unknown_without_one():
    assert job(counts=Counts(total=10, succeeded=4), images_per_second=2.0).eta_seconds == pytest.approx(3.0)
    assert job().eta_seconds is None
    assert job(state=JobState.PAUSED, images_per_second=2.0).eta_seconds is None
