"""Clips, read by PyAV and Pillow."""

from __future__ import annotations

import io
import sys
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from fathom.options import ClipFormat, Motion, Options
from shared.errors import ClipsUnavailable
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import LIMITS, save
from worker.pipeline.interruption import Interrupted
from worker.pipeline.pipeline import Pipeline

SHORT = {"seconds": 1, "fps": 10, "height": 96}


def lit_square(height: int = 120, width: int = 160) -> NDArray[np.uint8]:
    """A bright square, which is near for the engine of these tests, before something coloured."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = (60, 20, 120)
    picture[height // 4 : -height // 4, width // 4 : -width // 4] = (250, 240, 200)
    return picture


def clip(picture: NDArray[np.uint8], **given: Any) -> bytes:
    options = Options.parse({"outputs": "clip", "clip": SHORT | given})
    return Pipeline(LuminanceEngine(), limits=LIMITS).render(save(picture, "PNG"), options)[0].data


def decoded(data: bytes) -> list[NDArray[np.uint8]]:
    with av.open(io.BytesIO(data), "r") as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    return [np.asarray(frame, np.uint8) for frame in frames]


def test_a_clip_is_a_film_that_every_browser_plays():
    data = clip(lit_square())

    with av.open(io.BytesIO(data), "r") as film:
        (stream,) = film.streams.video
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 128, 96)
        tags = context.color_primaries, context.color_trc, context.colorspace, context.color_range
        assert tags == (1, 1, 1, 1)
        assert stream.average_rate == 10
        assert film.duration == av.time_base
    assert len(decoded(data)) == 10
    assert data.index(b"moov") < data.index(b"mdat"), "It plays before all of it has arrived."


def durations(picture: Image.Image) -> list[int]:
    """How long each frame is shown, in milliseconds."""
    found = []
    for frame in ImageSequence.Iterator(picture):
        frame.load()
        found.append(frame.info["duration"])
    return found


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_a_clip_can_be_a_picture_that_repeats_for_ever(kind: str):
    with Image.open(io.BytesIO(clip(lit_square(), format=kind))) as picture:
        assert (picture.format, picture.size, picture.info["loop"]) == (kind.upper(), (128, 96), 0)
        assert durations(picture) == [100] * 10


def test_a_webp_is_as_long_as_it_should_be_at_every_rate():
    with Image.open(io.BytesIO(clip(lit_square(), format="webp", fps=30))) as picture:
        assert sum(durations(picture)) == 1000
        assert set(durations(picture)) == {33, 34}


def test_a_gif_has_one_palette():
    data = clip(lit_square(), format="gif")

    # Bit 7 of the flags of a frame, behind its place and size, says that it has a palette of its own.
    frames = [at for at in range(len(data) - 9) if data[at : at + 5] == b"\x2c\0\0\0\0"]
    assert frames
    assert not any(data[at + 9] & 0x80 for at in frames[:1])
    assert data[10] & 0x80


def test_animated_pictures_are_at_most_480_pixels_high():
    data = clip(np.full((600, 900, 3), 90, np.uint8), format="webp", height=1080, fps=5)

    assert Image.open(io.BytesIO(data)).size == (720, 480)


@pytest.mark.parametrize("format", ["mp4", "webp", "gif"])
def test_the_colours_are_those_of_the_photo(format: str):
    data = clip(lit_square(), format=format)
    frame = decoded(data)[0] if format == "mp4" else np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    assert np.abs(frame[4:8, 4:8].astype(int) - (60, 20, 120)).max() < 10
    assert np.abs(frame[46:50, 60:64].astype(int) - (250, 240, 200)).max() < 10


@pytest.mark.parametrize("motion", Motion)
def test_something_moves_and_the_loop_closes_as_smoothly_as_it_goes(motion: Motion):
    frames = [frame.astype(int) for frame in decoded(clip(lit_square(), motion=motion, amount=5))]

    steps = [
        np.abs(after - before).mean() for before, after in zip(frames, frames[1:] + frames[:1], strict=True)
    ]
    assert max(steps) > 0.5
    assert steps[-1] <= 1.5 * max(steps[0], steps[-2])


@pytest.mark.parametrize("format", ClipFormat)
def test_a_clip_that_nobody_wants_any_more_stops_between_two_frames(format: ClipFormat):
    answers = iter([False] * 4 + [True])
    options = Options.parse({"outputs": "clip", "clip": SHORT | {"format": format}})

    with pytest.raises(Interrupted):
        Pipeline(LuminanceEngine(), limits=LIMITS).render(
            save(lit_square(), "PNG"), options, is_unwanted=lambda: next(answers)
        )

    assert list(answers) == []


def test_a_photo_is_not_enlarged_and_an_odd_size_becomes_even():
    with av.open(io.BytesIO(clip(lit_square(75, 101), height=1080))) as film:
        context = film.streams.video[0].codec_context
        assert context.height in (74, 76)
        assert context.width in (100, 102)


@pytest.mark.parametrize("picture", [np.full((32, 32, 3), 128, np.uint8), lit_square(40, 160)])
def test_odd_photos_have_clips_too(picture: NDArray[np.uint8]):
    assert len(decoded(clip(picture))) == 10


@pytest.mark.parametrize("kind", ["mp4", "webp", "gif"])
def test_a_long_panorama_has_frames_that_players_take(kind: str):
    data = clip(np.tile(lit_square(32, 64), (1, 520, 1)), format=kind, fps=5)
    size = Image.open(io.BytesIO(data)).size if kind != "mp4" else decoded(data)[0].shape[1::-1]

    assert size == (16_000, 16)


def test_a_point_can_be_in_focus():
    """The near square stays in its place, and what is behind it moves."""
    frames = [
        frame.astype(int) for frame in decoded(clip(lit_square(), focus="0.5,0.5", amount=5, motion="sway"))
    ]

    inner = [np.nonzero(frame[48].sum(axis=1) > 500)[0] for frame in frames]
    assert max(each.min() for each in inner) - min(each.min() for each in inner) <= 2


def test_a_gif_has_a_rate_that_it_can_tell():
    with Image.open(io.BytesIO(clip(lit_square(), format="gif", fps=30))) as picture:
        assert durations(picture) == [40] * 25


def test_without_pyav_a_film_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)

    with pytest.raises(ClipsUnavailable, match="clips"):
        clip(lit_square())
