"""A real worker in which some pictures are poison: `celery -A tests.acceptance.poison_worker worker`.

The bytes of such a picture say what happens in the process that decodes it. The pipeline gets all other
pictures, and the rest is the real worker.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Callable, Mapping
from functools import cache

from fathom.options import Options
from shared.errors import ImageCorrupt
from shared.jobs.job import Range
from shared.settings import Settings
from shared.tickets import WORK, create_celery_app
from worker.child.lease_loop import LeaseLoop
from worker.child.run_ticket import run_ticket
from worker.child.timing import StagedPipeline
from worker.child.wiring import make_lease_loop
from worker.parent.lifecycle import connect_signals
from worker.pipeline.interruption import never
from worker.pipeline.pipeline import ResultFile
from worker.pipeline.stages import Stage

#: For `fill_memory`: the size of one block, and of all together, which is more than a child may use.
_BLOCK, _ALL = 64 * 2**20, 1280 * 2**20


class PoisonedPipeline:
    """A pipeline that obeys poisoned pictures."""

    def __init__(self, pipeline: StagedPipeline) -> None:
        self._pipeline = pipeline

    @property
    def seconds(self) -> Mapping[Stage, float]:
        return self._pipeline.seconds

    def measure(self, data: bytes, options: Options) -> Range:
        obey(data)
        return self._pipeline.measure(data, options)

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        obey(data)
        return self._pipeline.render(data, options, common=common, labels=labels, is_unwanted=is_unwanted)


def obey(data: bytes) -> None:
    """Do what the first word of a picture says."""
    word, _, rest = data.decode("latin-1").partition(" ")
    if word == "crash":
        ctypes.string_at(0)
    elif word == "hang":
        time.sleep(1000)
    elif word == "hold_gil":
        # Native code that never returns and holds the GIL, so that all other threads stop too.
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif word == "fill_memory":
        hoard = [os.urandom(1) * _BLOCK for _ in range(_ALL // _BLOCK)]
        time.sleep(1000)
        del hoard
    elif word == "bad":
        raise ImageCorrupt
    elif word == "sleep":
        time.sleep(float(rest.split()[0]))


@cache
def lease_loop() -> LeaseLoop:
    return make_lease_loop(Settings.from_environ(), wrap=PoisonedPipeline)


settings = Settings.from_environ()
app = create_celery_app(settings)
app.conf.worker_consumer = "worker.consumer:PatientConsumer"
connect_signals(app, settings)


@app.task(name=WORK)  # type: ignore[untyped-decorator]  # Celery ships no types.
def work() -> None:
    run_ticket(lease_loop)
