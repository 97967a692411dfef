"""The memory of a process that processes large photos, as measured by the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Prints its peak resident memory in MB before the photos and after each.
_PROGRAM = """
from pathlib import Path
from fathom.options import Options
from shared.settings import Settings
from tests.fakes_engine import LuminanceEngine
from tests.unit.worker.pipeline.pictures import gray_jpeg, save, texture
from worker.pipeline.pipeline import Pipeline

def peak():
    # Not ru_maxrss: a process inherits that from the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

data = {picture}
pipeline, options = Pipeline.from_settings(LuminanceEngine(), Settings.from_environ({{}})), Options()
peaks = [peak()]
for _ in range({times}):
    pipeline.render(data, options)
    peaks.append(peak())
print(*peaks)
"""


def peaks(picture: str, times: int) -> list[float]:
    program = _PROGRAM.format(picture=picture, times=times)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return [float(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is needed")
@pytest.mark.parametrize(
    ("picture", "megabytes"),
    [
        pytest.param('save(texture(5000, 6000), "JPEG")', 400, id="JPEG"),
        pytest.param('save(texture(5000, 6000), "PNG", compress_level=1)', 650, id="PNG"),
    ],
)
def test_photos_of_30_megapixels_take_bounded_memory_and_no_more_each_time(
    picture: str, megabytes: int
) -> None:
    _, _, second, *others = peaks(picture, 4)

    assert others[-1] < megabytes
    assert others[-1] - second < 16


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is needed")
def test_a_photo_of_200_megapixels_is_accepted_by_default_and_never_held_in_memory_as_a_whole() -> None:
    before, after = peaks("gray_jpeg(12240, 16320)", 1)

    # As RGB it would have 600 MB; its heatmap only exists as strips and as the file.
    assert after - before < 100
