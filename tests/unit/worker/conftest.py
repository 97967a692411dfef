from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from fathom.options import Options
from shared.errors import ImageCorrupt
from shared.jobs import object_keys
from shared.jobs.job import Counts, Job, JobState, Phase, Range, Source, new_job_id
from shared.jobs.manifest import encode_manifest
from tests.fakes import FakeClock, FakeJobStore, FakeObjectStore
from worker.child.lease_loop import Child, Pace
from worker.child.tracing import Traces


@dataclass(frozen=True, kw_only=True)
class File:
    file_name: str
    content_type: str
    data: bytes


@dataclass
class WordPipeline:
    """A pipeline whose pictures are words; it says what was asked of it."""

    rendered: list[tuple[bytes, Range | None]] = field(default_factory=list)
    #: Called with each picture before it is processed.
    before: Callable[[bytes], object] = lambda data: None
    #: What heatmaps begin with.
    heat: bytes = b"heat of "

    def measure(self, data: bytes, options: Options) -> Range:
        self._check(data)
        return Range(low=float(len(data)), high=2.0 * len(data))

    def render(self, data: bytes, options: Options, *, common: Range | None = None) -> tuple[File, ...]:
        self._check(data)
        self.rendered.append((data, common))
        return (
            File(file_name="heatmap.png", content_type="image/png", data=self.heat + data),
            File(file_name="depth.json", content_type="application/json", data=b"{}"),
        )

    def _check(self, data: bytes) -> None:
        self.before(data)
        if data.startswith(b"corrupt"):
            raise ImageCorrupt
        if data.startswith(b"bug"):
            raise ZeroDivisionError("a fault of ours")


@dataclass
class Farm:
    """Fake stores, a pipeline of words, and children that work on them."""

    jobs: FakeJobStore
    objects: FakeObjectStore
    pipeline: WordPipeline
    clock: FakeClock
    draining: bool = False

    def submit(self, *pictures: bytes, options: Options | None = None, traceparent: str | None = None) -> str:
        options = options or Options()
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
            )
        )
        return job_id

    def child(
        self,
        *,
        lease_images: int = 4,
        patience: float = 5.0,
        overtime: float = 5.0,
        traces: Traces | None = None,
    ) -> Child:
        return Child(
            name="child",
            jobs=self.jobs,
            objects=self.objects,
            pipeline=self.pipeline,
            pace=Pace(lease=15.0, image=60.0, patience=patience, overtime=overtime),
            lease_images=lease_images,
            max_image_bytes=100,
            draining=lambda: self.draining,
            traces=traces,
        )

    def output(self, job_id: str, index: int, file_name: str = "heatmap.png") -> bytes:
        return self.objects.get(object_keys.output(job_id, index, file_name))


@pytest.fixture
def farm() -> Farm:
    clock = FakeClock()
    return Farm(
        jobs=FakeJobStore(clock=clock), objects=FakeObjectStore(), pipeline=WordPipeline(), clock=clock
    )
