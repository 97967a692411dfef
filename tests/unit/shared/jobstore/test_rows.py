from __future__ import annotations

import json
from typing import Any

import pytest

from fathom.options import Options
from shared.errors import JobStoreFull, QuotaExceeded
from shared.jobs.job import (
    Cost,
    Counts,
    ImageFailure,
    Job,
    JobState,
    Phase,
    Quota,
    Webhook,
    WebhookEvent,
    new_job_id,
)
from shared.jobstore.rows import (
    event_number,
    flatten,
    quota_json,
    rate,
    to_events,
    to_fields,
    to_job,
    to_reasons,
    to_refusal,
    to_restored_fields,
    to_totals,
)
from tests.traces import SAMPLED


def a_job(**changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": new_job_id(),
        "state": JobState.QUEUED,
        "options": Options.parse({"normalize": "job", "clip": [0.5, 99]}),
        "counts": Counts(total=7),
        "created_at": 1_700_000_000.123456,
        "phase": Phase.MEASURE,
    }
    return Job(**(fields | changes))


def answered(job: Job, fields: dict[str, str | int]) -> list[Any]:
    """Return a script's snapshot of a job that was just recorded with these fields."""
    counters = {"ok": 0, "bad": 0, "measured": 0}
    flat = [str(item).encode() for item in flatten({**fields, **counters})]
    return [job.id.encode(), flat, [], 1_700_000_001_000]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"owner": "key-1", "bytes": 2**50, "urgent": True, "weight": 0.1, "title": "Été: «1»"},
        {"error": ImageFailure(code="no_images", message="Nothing — «x.zip».")},
        {"gathered": True, "webhook": Webhook(url="https://example.org/x", events=(WebhookEvent.PROGRESS,))},
        {"traceparent": SAMPLED},
        {"cost": Cost(measure=0.1 + 0.2, render=4.0)},
    ],
    ids=["plain", "owned", "aborted", "gathered", "traced", "dear"],
)
def test_a_job_row_round_trips(changes: dict[str, Any]):
    job = a_job(**changes)

    assert to_job(answered(job, to_fields(job))) == job


def test_the_row_of_an_untraced_job_is_unchanged():
    assert "traceparent" not in to_fields(a_job())


def test_a_restored_job_is_written_with_its_times():
    job = a_job(state=JobState.FAILED, started_at=12.5, ended_at=20.125)

    assert to_job(answered(job, to_restored_fields(job))) == job


def test_a_job_that_continues_has_no_end_in_its_row():
    assert "ended_at" not in to_restored_fields(a_job(state=JobState.QUEUED, ended_at=20.0))


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (None, {}),
        (b"", {}),
        (b"64:0123456789ab 127:ab0123456789 ", {64: b"0123456789ab", 127: b"ab0123456789"}),
    ],
)
def test_failures_are_read_by_image(chunk: bytes | None, expected: dict[int, bytes]):
    assert to_reasons(chunk) == expected


def test_only_existing_limits_are_written():
    assert json.loads(quota_json(Quota(images=5, owner_bytes=0))) == {"images": 5, "owner_bytes": 0}


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        ([b"memory"], JobStoreFull, "out of memory"),
        ([b"images", 5, 6, 10], QuotaExceeded, "takes 10 unfinished images at most, and has 5"),
        ([b"owner_images", 10, 1, 10], QuotaExceeded, "You may have 10"),
        ([b"owner_bytes", 0, 11, 10], QuotaExceeded, "alone is more than that"),
    ],
)
def test_a_refusal_says_why(row: list[Any], kind: type[Exception], text: str):
    error = to_refusal(row)

    assert type(error) is kind
    assert text in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1700000000000001", 1_700_000_000_000_001),
        *((text, None) for text in ("", "-1", "1-1", "1 ", "1e3", "٣", "9" * 19)),
    ],
)
def test_events_are_requested_by_number(text: str, expected: int | None):
    assert event_number(text) == expected


@pytest.mark.parametrize(
    ("after", "first", "complete"),
    [
        (None, 101, True),
        ("100", 101, True),
        (None, 102, False),
        ("103", 104, True),
        ("102", 104, False),
        ("105", 106, True),
        ("106", 106, False),
        ("99", 101, False),
        ("x", 101, False),
    ],
)
def test_events_are_complete_if_none_is_missing_in_between(after: str | None, first: int, complete: bool):
    entries = [[b"%d-0" % number, [b"s", b"failed", b"i", b"3"]] for number in range(first, 106)]

    events = to_events([b"100", b"105", entries], after)

    assert events.complete is complete
    assert [event.id for event in events.events] == [str(number) for number in range(first, 106)]
    assert {(event.state, event.index) for event in events.events} <= {("failed", 3)}


def test_totals_contain_only_states_with_jobs():
    counters = [b"images", b"5", b"state:queued", b"2", b"state:paused", b"0", b"outcome:timed_out", b"1"]

    totals = to_totals([counters, 3, [b"worker-1", b"4"]])

    assert totals.jobs == {JobState.QUEUED: 2}
    assert (totals.unfinished_images, totals.leases) == (5, 3)
    assert (totals.outcomes, totals.workers) == ({"timed_out": 1}, {"worker-1": 4})


@pytest.mark.parametrize(
    ("buckets", "now", "started", "expected"),
    [
        pytest.param({}, 1000.0, 900.0, None, id="nothing ended"),
        pytest.param({190: 5}, 1000.0, 900.0, None, id="nothing ended of late"),
        pytest.param({200: 8}, 1000.2, 1000.0, 8.0, id="less than a second counts as one"),
        pytest.param({200: 8}, 1004.0, 1000.0, 2.0, id="since the job's start"),
        pytest.param({200: 8}, 1004.0, 1002.0, 4.0, id="a start within the bucket"),
        pytest.param({100: 99, 199: 10, 200: 10}, 1005.0, 0.0, 2.0, id="since the first image after a rest"),
        pytest.param({n: 10 for n in range(150, 200)}, 1000.0, 0.0, 2.0, id="the last half minute"),
    ],
)
def test_the_rate_covers_the_last_half_minute(
    buckets: dict[int, int], now: float, started: float, expected: float | None
):
    assert rate(buckets, now, started) == expected
