"""A real worker in which some pictures are poison: `celery -A tests.acceptance.poison_worker worker`.

The bytes of a picture say what it does to whoever decodes it; all others are left to the
pipeline. Everything but that is the worker's own.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Mapping
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
from worker.pipeline.pipeline import ResultFile
from worker.pipeline.stages import Stage

#: Of `eat`: what is eaten at once, and in all; it is more than a child of these tests may have.
_BITE, _ENOUGH = 64 * 2**20, 1280 * 2**20


class Poisoned:
    """A pipeline that swallows whatever it is given."""

    def __init__(self, pipeline: StagedPipeline) -> None:
        self._pipeline = pipeline

    @property
    def seconds(self) -> Mapping[Stage, float]:
        return self._pipeline.seconds

    def measure(self, data: bytes, options: Options) -> Range:
        swallow(data)
        return self._pipeline.measure(data, options)

    def render(self, data: bytes, options: Options, *, common: Range | None = None) -> tuple[ResultFile, ...]:
        swallow(data)
        return self._pipeline.render(data, options, common=common)


def swallow(data: bytes) -> None:
    """Do what the first word says."""
    word, _, rest = data.decode("latin-1").partition(" ")
    if word == "crash":
        ctypes.string_at(0)
    elif word == "hang":
        time.sleep(1000)
    elif word == "seize":
        # Native code that never comes back and keeps Python's lock: not even threads go on.
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif word == "eat":
        hoard = [os.urandom(1) * _BITE for _ in range(_ENOUGH // _BITE)]
        time.sleep(1000)
        del hoard
    elif word == "bad":
        raise ImageCorrupt
    elif word == "sleep":
        time.sleep(float(rest.split()[0]))


@cache
def lease_loop() -> LeaseLoop:
    return make_lease_loop(settings, wrap=Poisoned)


settings = Settings.from_environ()
app = create_celery_app(settings)
app.conf.worker_consumer = "worker.consumer:PatientConsumer"
connect_signals(app, settings)


@app.task(name=WORK)  # type: ignore[untyped-decorator]  # Celery ships no types.
def work() -> None:
    run_ticket(lease_loop)
