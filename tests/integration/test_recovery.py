"""A real Valkey loses all or some of its data; a real S3 has the records."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fathom.options import Options
from fathom.result_names import SIDECAR
from fathom.stack.servers import ValkeyServer
from shared.control import Controls
from shared.jobs import object_keys
from shared.jobs.failure import encode_failure
from shared.jobs.job import ImageFailure, ImageState, Job, JobState, Lease, Source, new_job_id
from shared.jobs.manifest import encode_manifest
from shared.jobs.record import encode_job, new_job
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from tests.conftest import start_or_skip
from tests.fakes_chores import FakeChores
from tests.finalizing import finalize_claimed
from tests.waiting import eventually
from worker.parent.expiry import Expirer
from worker.parent.recovery import Recoverer

BAD = ImageFailure(code="image_corrupt", message="Damaged. \u5199\u771f")


@dataclass
class RestorableService:
    """The stores, with the calls of the API and of workers."""

    server: ValkeyServer
    objects: S3ObjectStore

    def __post_init__(self) -> None:
        self.client = connect_redis(self.server.url)
        self.jobs = RedisJobStore(self.client)
        self.controls = Controls(self.jobs, self.objects)

    def submit(self, total: int, *, options: Options | None = None) -> str:
        job = new_job(
            new_job_id(),
            total=total,
            options=options or Options(),
            state=JobState.QUEUED,
            created_at=1_700_000_000.0,
            owner="key-1",
            bytes=99,
        )
        sources = [Source(index=index, name=f"{index}.jpg") for index in range(total)]
        self.objects.put(object_keys.manifest(job.id), encode_manifest(sources))
        self.objects.put(object_keys.job_record(job.id), encode_job(job))
        self.jobs.create(job)
        return job.id

    def work(self, images: int) -> list[int]:
        """End this many images of the jobs whose turn it is; every fifth index fails."""
        done: list[int] = []
        while len(done) < images:
            lease = self.jobs.lease("worker", limit=images - len(done))
            assert lease is not None
            done += [self._end(lease, index) for index in lease.indices]
        return done

    def _end(self, lease: Lease, index: int) -> int:
        if index % 5 == 0:
            self.objects.put(object_keys.failure(lease.job_id, index), encode_failure(BAD))
            self.jobs.done(lease, index, failure=BAD)
        else:
            self.objects.put(object_keys.output(lease.job_id, index, "heatmap.png"), b"png")
            self.objects.put(object_keys.output(lease.job_id, index, SIDECAR), b"{}")
            self.jobs.done(lease, index)
        return index

    def finish(self) -> None:
        while (claim := self.jobs.claim_finalize()) is not None:
            finalize_claimed(claim, self.jobs, self.objects)

    def recover(self) -> int | None:
        jobs = RedisJobStore(self.client)
        return make_recoverer(jobs, self.objects, retention_seconds=7 * 86_400).recover()

    def states(self, job_id: str, total: int) -> list[ImageState]:
        return [image.state for image in self.jobs.images(job_id, limit=total).items]


def make_recoverer(
    jobs: RedisJobStore, objects: S3ObjectStore, *, retention_seconds: float | None = None
) -> Recoverer:
    return Recoverer(
        name="worker",
        jobs=jobs,
        objects=objects,
        chores=FakeChores(),
        retention_seconds=retention_seconds,
        draining=lambda: False,
    )


@pytest.fixture
def service(tmp_path: Path, object_store: S3ObjectStore) -> Iterator[RestorableService]:
    """A Valkey for one test, which stops it and restores an older copy of its data."""
    server = start_or_skip(ValkeyServer(tmp_path / "valkey"))
    service = RestorableService(server, object_store)
    yield service
    service.client.close()
    server.stop()


def test_jobs_are_restored_after_flushall(service: RestorableService) -> None:
    ended = service.submit(20)
    service.work(20)
    service.finish()
    canceled = service.submit(20)
    service.work(7)
    service.controls.cancel(canceled)
    service.finish()
    paused, running = service.submit(3), service.submit(300)
    service.controls.pause(paused)
    service.work(30)
    totals = {ended: 20, canceled: 20, paused: 3, running: 300}
    jobs = {job_id: service.jobs.get(job_id) for job_id in totals}
    states = {job_id: service.states(job_id, total) for job_id, total in totals.items()}
    failures = {job_id: list(service.jobs.failures(job_id)) for job_id in totals}

    service.client.flushall()
    assert service.recover() == 4
    assert service.recover() is None

    for job_id, before in jobs.items():
        after = service.jobs.get(job_id)
        assert (after.counts, after.owner, after.bytes) == (before.counts, "key-1", 99)
        assert after.state is (JobState.QUEUED if job_id == running else before.state)
        assert service.states(job_id, totals[job_id]) == states[job_id]
        assert list(service.jobs.failures(job_id)) == failures[job_id]
        assert service.jobs.list(owner="key-1").next_cursor is None
    assert set(service.work(270)).isdisjoint(
        i for i, state in enumerate(states[running]) if state is not ImageState.PENDING
    )
    service.finish()
    assert service.jobs.get(running).counts.succeeded == 240


def test_an_older_copy_of_the_data_is_brought_up_to_date(service: RestorableService, tmp_path: Path) -> None:
    """Stop the server, put the copy in place, and start it, as an operator does."""
    started, resumed = service.submit(50), service.submit(4)
    service.controls.pause(resumed)
    service.work(10)
    service.server.stop()
    shutil.copytree(service.server.data_dir / "appendonlydir", tmp_path / "copy")
    service.server.start()
    assert service.recover() == 2

    service.work(15)
    service.controls.pause(started)
    service.controls.resume(resumed)
    service.work(4)
    service.finish()
    since = service.submit(2)
    expected = {job_id: service.jobs.get(job_id).counts for job_id in (started, resumed, since)}
    service.server.stop()
    shutil.rmtree(service.server.data_dir / "appendonlydir")
    shutil.copytree(tmp_path / "copy", service.server.data_dir / "appendonlydir")
    service.server.start()
    assert service.jobs.get(started).counts.pending == 40

    assert service.recover() == 3

    assert {job_id: service.jobs.get(job_id).counts for job_id in expected} == expected
    assert service.jobs.get(started).state is JobState.PAUSED
    assert service.jobs.get(resumed).state is JobState.PARTIAL
    assert service.jobs.get(since).state is JobState.QUEUED


def test_data_lost_during_a_recovery_are_recovered_again(service: RestorableService) -> None:
    """Otherwise jobs that were restored before the loss would stay lost."""
    job_ids = {service.submit(2) for _ in range(3)}
    service.client.flushall()

    class LosingAllOnce(RedisJobStore):
        lost = False

        def restore(self, job: Job, **outcomes: Any) -> None:
            super().restore(job, **outcomes)
            if not self.lost:
                self.lost = True
                service.client.flushall()

    jobs = LosingAllOnce(service.client)
    recoverer = make_recoverer(jobs, service.objects)
    recoverer.recover()
    assert not service.jobs.is_reconciled()

    assert recoverer.recover() == 3
    assert {job.id for job in service.jobs.list().items} == job_ids
    assert service.jobs.is_reconciled()


def test_an_ended_job_expires_and_its_record_is_deleted_later(service: RestorableService) -> None:
    """The clock of the server cannot be set, so the retention is so short that it ends at once."""
    job_id = service.submit(6)
    service.work(6)
    service.finish()
    running = service.submit(3)
    service.recover()
    expirer = Expirer(
        name="worker",
        jobs=service.jobs,
        objects=service.objects,
        chores=FakeChores(),
        retention_seconds=0.5,
        draining=lambda: False,
    )

    expired = eventually(expirer.expire)

    assert expired == 1
    assert service.jobs.get(job_id).state is JobState.EXPIRED
    assert list(service.objects.list(object_keys.job_prefix(job_id))) == []
    eventually(expirer.sweep)
    assert [job.id for job in service.jobs.list().items] == [running]
    assert service.objects.exists(object_keys.job_record(running))
