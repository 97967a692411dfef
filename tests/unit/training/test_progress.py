from __future__ import annotations

from io import StringIO

import pytest

from training.progress import ProgressPrinter, format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00"),
        (61.4, "0:01:01"),
        (3600 * 27 + 5, "27:00:05"),
        (float("inf"), "-"),
        (float("nan"), "-"),
    ],
)
def test_durations_read_as_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_line_shows_the_progress_the_rate_and_the_time_left() -> None:
    stream = StringIO()
    line = ProgressPrinter(label="Rendering", total=100, unit="pictures", stream=stream)
    line.start_at(40)
    line.update(100, "done")

    assert stream.getvalue().startswith("Rendering: 100 of 100 pictures, ")
    assert stream.getvalue().endswith("0:00:00 left done\n")


def test_without_a_terminal_a_line_is_printed_every_half_minute() -> None:
    stream = StringIO()
    line = ProgressPrinter(label="Rendering", total=100, unit="pictures", stream=stream)
    for done in range(50):
        line.update(done)

    assert stream.getvalue().count("\n") <= 1
