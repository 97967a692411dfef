"""How fast clips are made, on one core: `python -m bench.clips --json`.

A photo of 12 megapixels becomes clips of 1440 x 1080. For each motion, frames a second of processor time are
those between a short clip and a longer one, so what a clip costs once does not count: that is `once_ms`.
`cost_of_frame` is in images of a plain heatmap (shared/jobs/cost.py). `extra_mb` is how much more memory a
clip takes at its peak than a heatmap did. On a busy machine, processor time grows too; compare ratios.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

from bench import processes
from bench.album import SAMPLES, make_photo
from fathom.options import Motion, Options
from shared.settings import Settings
from worker.model.engines import load_engine
from worker.pipeline.memory import bound_malloc
from worker.pipeline.pipeline import Pipeline

#: The seconds of the two clips, and their frames a second.
_SHORT, _LONG, _FPS = 1, 3, 30
_TRIES = 3


def measure(motions: Sequence[Motion]) -> dict[str, Any]:
    """Return seconds, frames a second, and memory."""
    cv2.setNumThreads(1)
    bound_malloc()
    settings = Settings.from_environ()
    pipeline = Pipeline.from_settings(load_engine(settings), settings)
    data = _photo()

    def render(**options: Any) -> Callable[[], object]:
        return lambda: pipeline.render(data, Options.parse(options))

    heatmap = _cpu(render())
    processes.reset_peak(os.getpid())
    resting = _peak(render())
    rows = {str(motion): _row(render, motion, heatmap) for motion in motions}
    extra = processes.peak_mb(os.getpid()) - resting
    return {"heatmap_ms": round(1000 * heatmap), "extra_mb": round(extra), "motions": rows}


def _row(render: Callable[..., Callable[[], object]], motion: Motion, heatmap: float) -> dict[str, float]:
    given = {"motion": motion, "fps": _FPS}
    short, long = (
        _cpu(render(outputs="clip", clip={**given, "seconds": seconds})) for seconds in (_SHORT, _LONG)
    )
    frame = (long - short) / ((_LONG - _SHORT) * _FPS)
    return {
        "frames_per_second": round(1 / frame, 1),
        "once_ms": round(1000 * (short - _SHORT * _FPS * frame)),
        "cost_of_frame": round(frame / heatmap, 3),
    }


def _cpu(work: Callable[[], object]) -> float:
    """Return the seconds of processor time of the best of several tries."""

    def once() -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    return min(once() for _ in range(_TRIES))


def _peak(work: Callable[[], object]) -> float:
    work()
    return processes.peak_mb(os.getpid())


def _photo() -> bytes:
    with Image.open(SAMPLES / "COFFEE.JPG") as picture:
        rgb = make_photo(np.asarray(picture.convert("RGB")), 3000, 4000, np.random.default_rng(0))
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=93)
    return file.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.clips", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--motion", type=Motion, choices=Motion, action="append", help="all, by default")
    parser.add_argument("--json", action="store_true", help="print JSON on one line")
    args = parser.parse_args(argv)
    print(json.dumps(measure(args.motion or tuple(Motion)), indent=None if args.json else 2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
