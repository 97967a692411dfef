from __future__ import annotations

import random

import pytest

from shared.jobs.job import ImageState
from shared.jobstore.bitmaps import ImageBits


def bits(states: str, *, first: int = 0, job_ended: bool = False) -> ImageBits:
    """Make bitmaps from one letter per image: `s`ucceeded, `f`ailed, `h`eld, or `.` for none."""

    def bitmap(letter: str) -> bytes:
        packed = bytearray((len(states) + 7) // 8)
        for place, state in enumerate(states):
            packed[place // 8] |= (state == letter) << 7 - place % 8
        # As on the server, a bitmap ends with the last byte that was ever written.
        return bytes(packed).rstrip(b"\0")

    return ImageBits(
        first=first,
        stop=first + len(states),
        job_ended=job_ended,
        succeeded=bitmap("s"),
        failed=bitmap("f"),
        held=frozenset(first + place for place, state in enumerate(states) if state == "h"),
    )


@pytest.mark.parametrize("seed", range(20))
def test_images_are_listed_by_their_state(seed: int):
    chance = random.Random(seed)
    some = bits(
        "".join(
            chance.choices("sfh.", weights=chance.choices(range(1, 30), k=4), k=chance.randrange(1, 200))
        ),
        first=chance.choice([0, 8, 800]),
        job_ended=chance.random() < 0.5,
    )

    for state in ImageState:
        expected = [index for index in range(some.first, some.stop) if some.state_of(index) is state]
        assert list(some.indices(state)) == expected


@pytest.mark.parametrize(
    ("job_ended", "expected"),
    [
        (False, ["succeeded", "failed", "processing", "pending"]),
        (True, ["succeeded", "failed", "canceled", "canceled"]),
    ],
)
def test_an_image_without_an_outcome_is_canceled_once_its_job_has_ended(job_ended: bool, expected: list[str]):
    some = bits("sfh.", job_ended=job_ended)

    assert [some.state_of(index) for index in range(4)] == expected


@pytest.mark.parametrize("stop", [0, 8])
def test_without_images_nothing_is_found(stop: int):
    nothing = ImageBits(first=8, stop=stop, job_ended=False, succeeded=b"", failed=b"", held=frozenset({3}))

    assert [list(nothing.indices(state)) for state in ImageState] == [[]] * len(ImageState)
