from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from fathom.options import Options
from shared.errors import ImageCorrupt
from shared.jobs import object_keys
from shared.jobs.cost import cost_of
from shared.jobs.job import Counts, Job, JobState, Phase, Range, Source, new_job_id
from shared.jobs.manifest import encode_manifest
from shared.jobstore.port import DEFAULT_MODELS
from shared.observability.tracing import OFF
from tests.fakes import FakeClock, FakeJobStore, FakeObjectStore, FakeTickets
from tests.fakes_chores import FakeChores
from tests.waiting import eventually
from worker.child.fetch import Fetcher
from worker.child.lease_loop import LeaseLoop, Timeouts
from worker.child.tracing import Traces
from worker.parent.maintenance import Maintenance
from worker.pipeline.interruption import Interrupted, never
from worker.pipeline.pipeline import ResultFile
from worker.supervision.breaker import Breakers
from worker.supervision.heartbeat import Heartbeat, HeartbeatSlot

T = TypeVar("T")


@dataclass
class WordPipeline:
    """A fake pipeline whose pictures are words; it records its calls."""

    rendered: list[tuple[bytes, Range | None]] = field(default_factory=list)
    #: The label picture of each.
    labels: list[bytes | None] = field(default_factory=list)
    #: Called with each picture before it is processed.
    before: Callable[[bytes], object] = lambda data: None
    #: The first bytes of every heatmap.
    heat: bytes = b"heat of "
    #: A picture that is not done before its results are unwanted.
    endless: bytes = b"endless"

    def measure(self, data: bytes, options: Options) -> Range:
        self._check(data)
        return Range(low=float(len(data)), high=2.0 * len(data))

    def render(
        self,
        data: bytes,
        options: Options,
        *,
        common: Range | None = None,
        labels: bytes | None = None,
        is_unwanted: Callable[[], bool] = never,
    ) -> tuple[ResultFile, ...]:
        self._check(data)
        if data == self.endless:
            eventually(is_unwanted)
            raise Interrupted
        self.rendered.append((data, common))
        self.labels.append(labels)
        return (
            ResultFile(
                output="heatmap",
                file_name="heatmap.png",
                content_type="image/png",
                data=self.heat + data,
            ),
            ResultFile(output="depth", file_name="depth.json", content_type="application/json", data=b"{}"),
        )

    def _check(self, data: bytes) -> None:
        self.before(data)
        if data.startswith(b"corrupt"):
            raise ImageCorrupt
        if data.startswith(b"bug"):
            raise ZeroDivisionError("a fault of ours")


@dataclass
class WorkerHarness:
    """Fake stores, a fake pipeline, and lease loops that use them."""

    jobs: FakeJobStore
    objects: FakeObjectStore
    pipeline: WordPipeline
    clock: FakeClock
    chores: FakeChores = field(default_factory=FakeChores)
    draining: bool = False

    def submit(self, *pictures: bytes, options: Options | None = None, traceparent: str | None = None) -> str:
        options = options or Options()
        cost = cost_of(options)
        job_id = new_job_id()
        for index, data in enumerate(pictures):
            self.objects.put(object_keys.input_image(job_id, index), data)
        sources = [Source(index=i, name=f"{i}.jpg") for i in range(len(pictures))]
        self.objects.put(object_keys.manifest(job_id), encode_manifest(sources))
        phase = Phase.MEASURE if options.normalize == "job" else Phase.RENDER
        self.jobs.create(
            Job(
                id=job_id,
                state=JobState.QUEUED,
                options=options,
                counts=Counts(total=len(pictures)),
                created_at=0.0,
                phase=phase,
                traceparent=traceparent,
                cost=cost,
            )
        )
        return job_id

    def child(
        self,
        *,
        lease_images: int = 4,
        lease_seconds: float = 15.0,
        patience: float = 5.0,
        grace: float = 5.0,
        fetcher: Fetcher | None = None,
        traces: Traces | None = None,
        models: Iterable[str] = DEFAULT_MODELS,
        load_model: Callable[[str], object] = lambda model: None,
    ) -> LeaseLoop:
        breakers = Breakers()
        return LeaseLoop(
            name="child",
            jobs=self.jobs,
            objects=self.objects,
            fetcher=fetcher or self.fetcher(breakers, patience),
            pipeline=self.pipeline,
            timeouts=Timeouts(lease=lease_seconds, image=60.0, patience=patience, grace=grace),
            lease_images=lease_images,
            draining=self.is_draining,
            breakers=breakers,
            heartbeat=Heartbeat(HeartbeatSlot(), memory_bytes=0),
            traces=traces or Traces(OFF, seconds=dict, facts=dict),
            models=models,
            load_model=load_model,
        )

    def fetcher(self, breakers: Breakers, patience: float) -> Fetcher:
        """Make a fetcher that waits for the object store, as in a child."""

        def call_store(call: Callable[[], T], /) -> T:
            return breakers.objects.call(call, seconds=patience, give_up=self.is_draining)

        return Fetcher(
            self.objects,
            most_bytes=101,
            outbound=None,
            buckets=(),
            call_store=call_store,
            draining=self.is_draining,
        )

    def is_draining(self) -> bool:
        return self.draining

    def maintenance(
        self,
        tickets: FakeTickets | None = None,
        *,
        name: str = "worker",
        slots: int = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> Maintenance:
        return Maintenance(
            name=name,
            slots=slots,
            lease_images=4,
            lease_seconds=15.0,
            jobs=self.jobs,
            objects=self.objects,
            tickets=tickets or FakeTickets(),
            chores=self.chores,
            tracer=OFF,
            clock=clock,
        )

    def output(self, job_id: str, index: int, file_name: str = "heatmap.png") -> bytes:
        return self.objects.get(object_keys.output(job_id, index, file_name))


@pytest.fixture
def harness() -> WorkerHarness:
    clock = FakeClock()
    return WorkerHarness(
        jobs=FakeJobStore(clock=clock), objects=FakeObjectStore(), pipeline=WordPipeline(), clock=clock
    )
