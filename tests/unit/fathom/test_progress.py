from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from fathom.commands.report import describe, print_failures, printable
from fathom.models import ImageResult, JobStatus
from fathom.progress import Display, duration, rate_note


def job_status(**changes: object) -> JobStatus:
    data: dict[str, object] = {
        "id": "j" * 26,
        "state": "processing",
        "created_at": "2026-01-02T03:04:05Z",
        "options": {},
        "counts": {"total": 8, "succeeded": 2, "failed": 1, "pending": 5},
        "progress": 0.375,
        "images_per_second": 2.5,
        "eta_seconds": 65.0,
    }
    return JobStatus.from_json({**data, **changes})


def failure(name: str, code: str = "image_empty", message: str = "The file is empty.") -> ImageResult:
    return ImageResult(index=0, name=name, state="failed", error_code=code, error_message=message, outputs={})


@pytest.fixture
def written() -> io.StringIO:
    return io.StringIO()


@pytest.fixture(params=[True, False], ids=["terminal", "plain"])
def console(request: pytest.FixtureRequest, written: io.StringIO) -> Console:
    return Console(file=written, force_terminal=request.param, width=100)


def test_the_last_line_shows_everything_as_done(console: Console, written: io.StringIO) -> None:
    with Display(console, quiet=False).line("downloading", 3, "files") as line:
        for _ in range(3):
            line.advance()

    assert "3 of 3 files" in written.getvalue()
    assert "100" in written.getvalue()


def test_bytes_are_shown_as_megabytes(console: Console, written: io.StringIO) -> None:
    with Display(console, quiet=False).line("uploading", 2_500_000, "bytes") as line:
        line.advance(2_500_000)

    assert "2.5 of 2.5 MB" in written.getvalue()


def test_repeated_bytes_do_not_exceed_the_total(console: Console, written: io.StringIO) -> None:
    with Display(console, quiet=False).line("uploading", 1_000_000, "bytes") as line:
        line.advance(900_000)
        line.advance(900_000)

    assert line.done == 1_000_000


def test_processing_shows_rate_and_time_left(console: Console, written: io.StringIO) -> None:
    with Display(console, quiet=False).line("processing", 8, "images") as line:
        line.follow(job_status())

    text = written.getvalue()
    assert "3 of 8 images" in text
    assert "1 failed, 2.5 images/s, 1:05 left" in text


def test_quiet_is_quiet(console: Console, written: io.StringIO) -> None:
    display = Display(console, quiet=True)
    with display.line("processing", 8, "images") as line:
        line.follow(job_status())
        display.say("hello")

    assert written.getvalue() == ""


@pytest.mark.parametrize(("step", "lines"), [(0.0, 101), (0.1, 11)])
def test_plain_lines_may_be_a_share_of_the_work_apart(written: io.StringIO, step: float, lines: int) -> None:
    console, minutes = Console(file=written, force_terminal=False, width=100), itertools.count(step=60)
    display = Display(console, quiet=False, plain_step=step, clock=lambda: float(next(minutes)))
    with display.line("fetching", 1000, "bytes") as line:
        for done in range(0, 1001, 10):
            line.reach(done, 1000)

    printed = written.getvalue().splitlines()
    assert len(printed) == lines
    assert printed[-1].endswith("(100%)")


def test_progress_without_work_is_complete(console: Console) -> None:
    with Display(console, quiet=False).line("downloading", 0, "files") as line:
        line.reach(0, 0)

    assert line.share == 1.0


def test_failures_are_listed_with_code_and_reason(console: Console, written: io.StringIO) -> None:
    print_failures(console, [failure("假期/空.jpg"), failure("b.jpg", "image_corrupt", "Damaged.")])

    text = written.getvalue()
    for part in ("假期/空.jpg", "image_empty", "The file is empty.", "b.jpg", "image_corrupt", "Damaged."):
        assert part in text


def test_a_name_cannot_carry_markup_or_control_characters(console: Console, written: io.StringIO) -> None:
    print_failures(console, [failure("[red]x[/red]\x1b]0;owned\x07.jpg")])

    assert "[red]x[/red]" in written.getvalue()
    assert "\x1b]0;" not in written.getvalue()


def test_a_long_list_of_failures_is_cut_and_counted(console: Console, written: io.StringIO) -> None:
    print_failures(console, [failure(f"{number}.jpg") for number in range(80)])

    assert "... and 30 more" in written.getvalue()
    assert "60.jpg" not in written.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (7.4, "7 s"), (59.6, "1:00"), (65, "1:05"), (3599.7, "1:00:00"), (7385, "2:03:05")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_job_is_described_in_a_line() -> None:
    assert describe(job_status()) == (
        f"{'j' * 26}  processing  2 of 8 images done, 1 failed, 2.5 images/s, 1:05 left"
    )


@pytest.mark.parametrize("text", ["mañana 🏔️ 猫", "\N{MAN}\u200d\N{WOMAN}", "क्\u200dष"])
def test_printable_text_is_not_changed(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("char", ["\x1b", "\n", "\r", "\u202e", "\x9b", "\u2028"])
def test_terminal_control_characters_are_replaced(char: str) -> None:
    assert printable(f"a{char}b") == "a\ufffdb"


@pytest.mark.parametrize(
    ("done", "seconds", "left", "note"),
    [
        (0, 5.0, 10, ""),
        (3, 0.0, 10, ""),
        (10, 4.0, 20, "2.5 images/s, 8 s left"),
        (10, 40.0, 100, "0.2 images/s, 6:40 left"),
        (10, 4.0, 0, "2.5 images/s"),
    ],
)
def test_the_rate_and_the_time_left_follow_from_the_progress(done: int, seconds: float, left: int, note: str):
    assert rate_note(done, seconds, left, "images") == note


def test_tracked_work_shows_its_rate_once_there_is_one(console: Console, written: io.StringIO):
    with Display(console, quiet=False).line("processing", 0, "images") as line:
        line.track(0, 8)
        assert line.note == ""
        line.track(2, 8, now=100.0)
        line.track(4, 8, now=100.1)
        assert line.note == ""
        line.track(5, 8, now=102.0)

        assert line.note == "1.5 images/s, 2 s left"
    assert "5 of 8 images" in written.getvalue()


def test_two_lines_advance_at_the_same_time(console: Console, written: io.StringIO) -> None:
    with Display(console, quiet=False).board() as add:
        upload, work = add("uploading", 2_000_000, "bytes"), add("processing", 4, "images")
        upload.track(2_000_000, 2_000_000)
        work.track(3, 4)

    assert "2.0 of 2.0 MB" in written.getvalue()
    assert "3 of 4 images" in written.getvalue()


def test_a_quiet_board_shows_nothing(console: Console, written: io.StringIO) -> None:
    with Display(console, quiet=True).board() as add:
        add("uploading", 10, "bytes").track(10, 10)

    assert written.getvalue() == ""
