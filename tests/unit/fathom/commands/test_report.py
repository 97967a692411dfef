from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from fathom.commands.report import age, print_failures, print_jobs
from fathom.models import ImageResult, JobStatus


def job(**fields: Any) -> JobStatus:
    counts = {"total": 10, "succeeded": 4, "failed": 1, "pending": 5}
    created = (datetime.now(UTC) - timedelta(minutes=5, seconds=1)).isoformat()
    base = {"id": "abcd" * 6 + "22", "state": "processing", "counts": counts, "progress": 0.5}
    return JobStatus.from_json({**base, "created_at": created, **fields})


def shown(*jobs: JobStatus, terminal: bool = True) -> str:
    out = io.StringIO()
    print_jobs(Console(file=out, width=120, force_terminal=terminal, no_color=True), jobs)
    return out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (12.4, "12 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (200_000, "2 d"),
        (-50, "0 s"),
    ],
)
def test_an_age_is_shown_in_its_largest_unit(seconds: float, text: str) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)

    assert age((now - timedelta(seconds=seconds)).isoformat(), now=now) == text


@pytest.mark.parametrize("moment", ["", "yesterday", "2026-01-02T03:04:05"])
def test_an_invalid_time_has_no_age(moment: str) -> None:
    assert age(moment, now=datetime(2026, 1, 2, tzinfo=UTC)) == ""


def test_a_job_is_a_line_with_its_age_progress_and_rate() -> None:
    line = shown(job(images_per_second=2.5, eta_seconds=65.0)).splitlines()[1]

    for part in ("abcdabcd ", "5 min", "processing", "5/10", "1 failed", "2.5/s", "1:05"):
        assert part in line


def test_a_job_that_has_ended_has_no_rate() -> None:
    assert "2.5/s" not in shown(job(state="partial", images_per_second=2.5, eta_seconds=0.0))


def test_failures_are_listed_without_terminal_control_characters() -> None:
    out = io.StringIO()
    failure = ImageResult(
        index=0,
        name="[red]\x1b[2J.jpg",
        state="failed",
        error_code="image_corrupt",
        error_message="Cut.",
        outputs={},
    )

    print_failures(Console(file=out, width=100, force_terminal=True, no_color=True), [failure])

    assert "[red]\N{REPLACEMENT CHARACTER}[2J.jpg" in out.getvalue()
    assert "image_corrupt" in out.getvalue()
