from __future__ import annotations

from bench.load import RequestTally, _form


def test_a_summary_counts_errors_and_includes_their_times():
    tally = RequestTally()
    for milliseconds in range(1, 101):
        tally.add("200", milliseconds / 1000)
    tally.add("503", 0.5)
    tally.add("lost (TimeoutError)", 30.0)
    summary = tally.summary()

    assert summary["requests"] == 102
    assert summary["errors"] == 2
    assert summary["milliseconds"]["p50"] == 51.5
    assert summary["milliseconds"]["max"] == 30_000.0


def test_all_photos_of_a_form_differ():
    form = _form(3)
    photos = [part for part in form.split(b"--load") if b"image" in part]

    assert len(set(photos)) == 3
    assert form.endswith(b"--load--\r\n")
