"""Memory of a process that works off large photos, measured from outside by the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Prints the peak of its resident memory before the photos and after each, in MB.
_PROGRAM = """
from pathlib import Path
from shared.options import Options
from tests.fakes_engine import LuminanceEngine
from tests.unit.pipeline.pictures import LIMITS, save, texture
from worker.pipeline.pipeline import Pipeline

def peak():
    # Not ru_maxrss: a process inherits that from the one that started it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

data = save(texture({height}, {width}), "{file_format}")
pipeline, options = Pipeline(LuminanceEngine(), limits=LIMITS), Options.parse({options})
peaks = [peak()]
for _ in range(4):
    pipeline.render(data, options)
    peaks.append(peak())
print(*peaks)
"""


def peaks(height: int, width: int, file_format: str, options: dict[str, str]) -> list[float]:
    program = _PROGRAM.format(height=height, width=width, file_format=file_format, options=options)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return [float(word) for word in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is needed")
@pytest.mark.parametrize(("file_format", "megabytes"), [("JPEG", 400), ("PNG", 650)])
def test_photos_of_30_megapixels_take_bounded_memory_and_no_more_each_time(
    file_format: str, megabytes: int
) -> None:
    _, _, second, *others = peaks(5000, 6000, file_format, {})

    assert others[-1] < megabytes
    assert others[-1] - second < 16
