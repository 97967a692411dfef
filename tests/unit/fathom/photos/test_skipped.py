from __future__ import annotations

import pytest

from fathom.photos.kinds import FileKind
from fathom.photos.skipped import NAMED, Skipped


def skipped(*, videos: int = 0, sidecars: int = 0, others: int = 0) -> Skipped:
    found = Skipped()
    for kind, count in ((FileKind.VIDEO, videos), (FileKind.SIDECAR, sidecars), (FileKind.OTHER, others)):
        for number in range(count):
            found.add(f"{kind}-{number}", kind)
    return found


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (skipped(videos=12, sidecars=2), "Skipped 14 files that are no photos: 12 videos, 2 sidecars."),
        (skipped(sidecars=1), "Skipped 1 file that is no photo: 1 sidecar."),
        (skipped(videos=1, others=2), "Skipped 3 files that are no photos: 1 video, 2 other files."),
        (skipped(), ""),
    ],
)
def test_one_line_says_how_many_and_why(found: Skipped, said: str) -> None:
    assert str(found) == said


def test_all_are_counted_and_the_first_are_named() -> None:
    found = Skipped.from_json(skipped(videos=NAMED + 1).to_json())

    assert (found.count, found.videos, len(found.names)) == (NAMED + 1, NAMED + 1, NAMED)


def test_the_format_of_an_earlier_version_is_read() -> None:
    assert Skipped.from_json(b'{"count": 1, "names": ["a"]}') == Skipped(count=1, names=["a"])
