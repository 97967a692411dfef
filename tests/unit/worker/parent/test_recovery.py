"""Restore from the object store what the job store has lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from fathom.options import Options
from shared.control import Controls
from shared.errors import InvalidTransition, JobNotFound, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.accepted_uploads import AcceptedUploads
from shared.jobs.failure import encode_failure
from shared.jobs.job import ImageFailure, ImageState, Job, JobState, Range, Source, new_job_id
from shared.jobs.manifest import encode_manifest
from shared.jobs.record import encode_job, new_job
from tests.fakes import FakeObjectStore
from tests.fakes_hooks import Hooked
from tests.fakes_job_store import FakeJobStore
from tests.finalizing import claim, finalize_claimed
from tests.unit.worker.conftest import WorkerHarness
from worker.parent.recovery import Recoverer

DAY = 86_400.0


class FakeService:
    """A harness whose job store may lose everything, or return to an earlier copy."""

    def __init__(self, harness: WorkerHarness) -> None:
        self.harness = harness

    @property
    def jobs(self) -> FakeJobStore:
        return self.harness.jobs

    @property
    def objects(self) -> FakeObjectStore:
        return self.harness.objects

    @property
    def controls(self) -> Controls:
        return Controls(self.jobs, self.objects)

    def submit(
        self, *pictures: bytes, state: JobState = JobState.QUEUED, options: Options | None = None
    ) -> str:
        job = new_job(
            new_job_id(), total=len(pictures), options=options or Options(), state=state, created_at=5.0
        )
        job = replace(job, owner="an-owner", weight=2.5, bytes=77, title="A walk")
        for index, data in enumerate(pictures):
            self.objects.put(object_keys.input_image(job.id, index), data)
        sources = [Source(index=index, name=f"{index}.jpg") for index in range(len(pictures))]
        self.objects.put(object_keys.manifest(job.id), encode_manifest(sources))
        self.objects.put(object_keys.job_record(job.id), encode_job(job))
        self.jobs.create(job)
        return job.id

    def work(self) -> None:
        self.harness.child().work(60)

    def finish_up(self) -> None:
        self.harness.maintenance().finish_up()

    def lose_everything(self) -> None:
        self.harness.jobs = FakeJobStore(clock=self.harness.clock)

    def recover(self, *, retention: float | None = None) -> int | None:
        recoverer = Recoverer(
            name="worker",
            jobs=self.jobs,
            objects=self.objects,
            chores=self.harness.chores,
            retention_seconds=retention,
            draining=lambda: False,
        )
        return recoverer.recover()

    def job(self, job_id: str) -> Job:
        """Return everything that must be the same after a loss."""
        return replace(self.jobs.get(job_id), images_per_second=None, started_at=None, ended_at=None)

    def states(self, job_id: str) -> list[ImageState]:
        return [image.state for image in self.jobs.images(job_id).items]

    def codes(self, job_id: str) -> dict[int, str]:
        return {i.index: i.failure.code for i in self.jobs.failures(job_id) if i.failure is not None}


@pytest.fixture
def service(harness: WorkerHarness) -> FakeService:
    return FakeService(harness)


def stop_after(service: FakeService, pictures: int, then: Callable[[], object]) -> None:
    """Call `then` once this many pictures are begun or done, and drop the rest."""
    seen: list[bytes] = []

    def before(data: bytes) -> None:
        seen.append(data)
        if len(seen) == pictures:
            then()
            service.harness.draining = True

    service.harness.pipeline.before = before
    service.harness.child(lease_images=100).work(60)
    service.harness.draining = False
    service.harness.pipeline.before = lambda data: None


def test_an_interrupted_job_continues_and_nothing_is_done_twice(service: FakeService):
    pictures = [b"picture %d" % n for n in range(10)]
    job_id = service.submit(*pictures)
    stop_after(service, 4, lambda: None)
    before = service.job(job_id)
    service.lose_everything()

    assert service.recover() == 1

    after = service.job(job_id)
    assert after.counts == before.counts
    assert (after.owner, after.weight, after.bytes, after.title) == ("an-owner", 2.5, 77, "A walk")
    assert (after.created_at, after.options) == (before.created_at, before.options)
    service.work()
    assert service.jobs.get(job_id).counts.succeeded == 10
    assert sorted(data for data, _ in service.harness.pipeline.rendered) == sorted(pictures)


def test_failed_images_stay_failed_with_their_reasons(service: FakeService):
    job_id = service.submit(b"one", b"corrupt", b"three", b"four")
    stop_after(service, 3, lambda: None)
    service.lose_everything()

    service.recover()

    assert service.codes(job_id) == {1: "image_corrupt"}
    assert service.states(job_id)[1] is ImageState.FAILED
    service.work()
    assert [data for data, _ in service.harness.pipeline.rendered].count(b"corrupt") == 0
    assert service.jobs.get(job_id).counts.failed == 1


def test_an_image_given_up_by_the_reaper_stays_failed(service: FakeService):
    job_id = service.submit(b"one", b"two")
    for _ in range(3):
        lease = service.jobs.lease("dead", limit=1)
        assert lease is not None
        service.jobs.renew(lease, in_hand=0)
        service.harness.clock.advance(60)
        service.jobs.reap()
        service.harness.clock.advance(60)
    service.finish_up()
    service.lose_everything()

    service.recover()

    assert service.codes(job_id) == {0: "worker_crashed"}


def test_outputs_without_a_sidecar_do_not_count_as_done(service: FakeService):
    job_id = service.submit(b"one", b"two")
    service.objects.put(object_keys.output(job_id, 0, "heatmap.png"), b"half done")
    service.objects.put(object_keys.output(job_id, 1, "depth.json"), b"{}")
    service.lose_everything()

    service.recover()

    assert service.states(job_id) == [ImageState.PENDING, ImageState.SUCCEEDED]


@pytest.mark.parametrize(
    ("pictures", "state", "codes"),
    [
        ([b"one", b"two"], JobState.SUCCEEDED, {}),
        ([b"one", b"corrupt", b"three"], JobState.PARTIAL, {1: "image_corrupt"}),
        ([b"corrupt"], JobState.FAILED, {0: "image_corrupt"}),
    ],
)
def test_an_ended_job_is_restored_unchanged(
    service: FakeService, pictures: list[bytes], state: JobState, codes: dict[int, str]
):
    job_id = service.submit(*pictures)
    service.work()
    service.finish_up()
    before, states = service.jobs.get(job_id), service.states(job_id)
    service.lose_everything()

    service.recover()

    after = service.jobs.get(job_id)
    assert (after.state, after.counts) == (state, before.counts)
    assert (after.started_at, after.ended_at) == (before.started_at, before.ended_at)
    assert service.states(job_id) == states
    assert service.codes(job_id) == codes
    assert service.jobs.claim_finalize() is None


def test_the_outputs_of_ended_jobs_are_not_listed(service: FakeService):
    for _ in range(3):
        service.submit(b"one", b"corrupt")
    service.work()
    service.finish_up()
    service.lose_everything()
    listed: list[str] = []

    def note(prefix: str, *, after: str = "") -> None:
        listed.append(prefix)

    service.objects.before(service.objects.list, note)
    service.recover()

    assert not [prefix for prefix in listed if "outputs" in prefix]


def test_a_canceled_job_stays_canceled_and_keeps_its_results(service: FakeService):
    job_id = service.submit(*(b"picture %d" % n for n in range(5)))
    stop_after(service, 2, lambda: service.controls.cancel(job_id))
    service.finish_up()
    states = service.states(job_id)
    assert states.count(ImageState.CANCELED) == 3
    service.lose_everything()

    service.recover()

    assert service.jobs.get(job_id).state is JobState.CANCELED
    assert service.states(job_id) == states


def test_a_job_canceled_just_before_the_loss_ends_as_canceled(service: FakeService):
    job_id = service.submit(b"one", b"two")
    service.controls.cancel(job_id)
    service.lose_everything()

    service.recover()
    service.work()
    service.finish_up()

    assert service.jobs.get(job_id).state is JobState.CANCELED
    assert service.harness.pipeline.rendered == []


@pytest.mark.parametrize(
    ("verbs", "state"),
    [
        ([], JobState.UPLOADING),
        (["start"], JobState.QUEUED),
        (["start", "pause"], JobState.PAUSED),
        (["start", "pause", "resume"], JobState.QUEUED),
    ],
)
def test_the_last_verb_before_the_loss_holds(service: FakeService, verbs: list[str], state: JobState):
    job_id = service.submit(b"one", state=JobState.UPLOADING)
    for verb in verbs:
        getattr(service.controls, verb)(job_id)
    service.lose_everything()

    service.recover()

    assert service.jobs.get(job_id).state is state


def test_a_retried_job_has_not_ended_and_has_no_failures(service: FakeService):
    job_id = service.submit(b"one", b"bad luck", b"three")
    service.objects.delete(object_keys.input_image(job_id, 1))
    service.work()
    service.finish_up()
    service.objects.put(object_keys.input_image(job_id, 1), b"better luck")
    service.controls.retry(job_id)
    service.lose_everything()

    service.recover()

    assert service.states(job_id) == [ImageState.SUCCEEDED, ImageState.PENDING, ImageState.SUCCEEDED]
    service.work()
    service.finish_up()
    assert service.jobs.get(job_id).state is JobState.SUCCEEDED


#: The steps of a finaliser in order; the last one sets the end in the job store.
STEPS = ("failures", "result", "finish")


def overtake(service: FakeService, step: str, others: Callable[[], object], *, dies: bool) -> None:
    """Finalise the waiting job, but run `others` just before one step; the worker may die after it."""
    jobs, objects = service.jobs, service.objects
    steps: dict[str, tuple[Hooked, Callable[..., object]]] = {
        "failures": (objects, objects.put_stream),
        "result": (objects, objects.put),
        "finish": (jobs, jobs.finish),
    }
    store, method = steps[step]

    def die(*args: object, **kwargs: object) -> None:
        raise ObjectStoreUnavailable

    def overtake(first: object, *args: object, **kwargs: object) -> None:
        if step == "result" and not str(first).endswith("result.json"):
            return
        store.before(method, None)
        others()
        store.after(method, die if dies else None)

    ending = claim(jobs)
    store.before(method, overtake)
    with suppress(ObjectStoreUnavailable, InvalidTransition):
        finalize_claimed(ending, jobs, objects)
    store.after(method, None)


def end_and_retry(service: FakeService, job_id: str) -> None:
    """Let another worker finalise the job, and its owner retry it with a fixed photo."""
    service.harness.clock.advance(65)
    service.finish_up()
    service.objects.put(object_keys.input_image(job_id, 1), b"mended")
    service.controls.retry(job_id)


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("goes_on", ["waits", "works", "ends"])
def test_a_slow_finaliser_does_not_restore_an_end_that_a_retry_withdrew(
    service: FakeService, step: str, dies: bool, goes_on: str
):
    job_id = service.submit(b"one", b"corrupt", b"three", b"corrupt for good")
    service.work()

    def others() -> None:
        end_and_retry(service, job_id)
        if goes_on != "waits":
            service.work()
        if goes_on == "ends":
            service.finish_up()

    overtake(service, step, others, dies=dies)
    before = service.job(job_id)
    service.lose_everything()
    service.recover()

    assert service.states(job_id)[1] is (ImageState.PENDING if goes_on == "waits" else ImageState.SUCCEEDED)
    if not dies or goes_on == "waits":
        assert service.job(job_id) == before
        assert service.codes(job_id) == ({} if goes_on == "waits" else {3: "image_corrupt"})
    service.work()
    service.finish_up()
    end = service.jobs.get(job_id)
    assert (end.state, end.counts.failed) == (JobState.PARTIAL, 1)


@pytest.mark.parametrize("step", STEPS)
def test_a_later_finaliser_of_the_same_end_changes_nothing(service: FakeService, step: str):
    job_id = service.submit(b"one", b"corrupt", b"three")
    service.work()

    def others() -> None:
        service.harness.clock.advance(65)
        service.finish_up()

    overtake(service, step, others, dies=False)
    before = service.job(job_id)
    service.lose_everything()
    service.recover()

    assert service.job(job_id) == before
    assert service.codes(job_id) == {1: "image_corrupt"}


@pytest.mark.parametrize("step", STEPS)
def test_a_finaliser_leaves_nothing_of_a_job_deleted_meanwhile(service: FakeService, step: str):
    job_id = service.submit(b"one", b"corrupt")
    service.work()

    with pytest.raises(JobNotFound):
        overtake(service, step, lambda: service.controls.delete(job_id), dies=False)

    assert list(service.objects.list(object_keys.job_prefix(job_id))) == []


@pytest.mark.parametrize("step", STEPS)
def test_a_finaliser_keeps_everything_of_a_job_that_redis_loses_meanwhile(service: FakeService, step: str):
    job_id = service.submit(b"one", b"corrupt")
    service.work()
    before = service.harness.jobs

    with pytest.raises(JobNotFound):
        overtake(service, step, lambda: before.delete(job_id), dies=False)
    service.lose_everything()
    service.recover()

    assert service.states(job_id) == [ImageState.SUCCEEDED, ImageState.FAILED]
    assert service.codes(job_id) == {1: "image_corrupt"}


def test_an_image_with_outputs_has_succeeded_whatever_failure_a_slow_worker_wrote(service: FakeService):
    job_id = service.submit(b"one", b"corrupt", b"three")
    service.work()
    service.finish_up()
    end_and_retry(service, job_id)
    stop_after(service, 1, lambda: None)
    service.objects.put(
        object_keys.failure(job_id, 1), encode_failure(ImageFailure(code="old", message="Old."))
    )
    service.lose_everything()
    service.recover()

    assert service.states(job_id) == [ImageState.SUCCEEDED] * 3
    assert service.codes(job_id) == {}


def test_a_deleted_job_stays_deleted(service: FakeService):
    job_id = service.submit(b"one")
    service.controls.delete(job_id)
    # A worker that processed it may store its outputs a moment later.
    service.objects.put(object_keys.output(job_id, 0, "depth.json"), b"{}")
    service.lose_everything()

    service.recover()

    assert service.jobs.list().items == ()


def test_a_job_deleted_during_its_recovery_stays_deleted(service: FakeService):
    job_id = service.submit(b"one")
    service.lose_everything()

    def delete(job: Job, **outcomes: object) -> None:
        service.objects.delete_prefix(object_keys.job_prefix(job_id))

    service.jobs.before(service.jobs.restore, delete)
    service.recover()

    assert service.jobs.list().items == ()


def test_a_job_that_failed_as_a_whole_keeps_its_reason(service: FakeService):
    job_id = service.submit(state=JobState.UPLOADING)
    service.controls.abort(job_id, ImageFailure(code="invalid_archive", message="No ZIP."))
    service.lose_everything()

    service.recover()

    job = service.jobs.get(job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == "invalid_archive"


def test_the_number_of_images_from_the_start_is_restored(service: FakeService):
    job_id = service.submit(state=JobState.UPLOADING)
    for index in range(3):
        service.objects.put(object_keys.input_image(job_id, index), b"x%d" % index)
    service.controls.start(job_id, total=3)
    service.lose_everything()

    service.recover()

    assert service.jobs.get(job_id).counts.total == 3
    service.work()
    assert service.jobs.get(job_id).counts.succeeded == 3


def accept(service: FakeService, *pictures: bytes) -> str:
    """Start a job of uploads as the API does; 77 bytes were announced."""
    job_id = service.submit(*pictures, state=JobState.UPLOADING)
    uploads = AcceptedUploads(len(pictures))
    for index, info in enumerate(service.objects.list(object_keys.inputs_prefix(job_id))):
        uploads.add(index, info)
    service.controls.start(job_id, uploads=uploads)
    return job_id


def test_an_upload_replaced_before_a_loss_is_detected_after_it(service: FakeService):
    job_id = accept(service, b"one", b"two")
    service.objects.put(object_keys.input_image(job_id, 0), b"uno")
    service.lose_everything()

    service.recover()
    service.work()
    service.finish_up()

    (failed,) = service.jobs.images(job_id, state=ImageState.FAILED).items
    assert (failed.index, failed.failure and failed.failure.code) == (0, "input_changed")
    assert service.jobs.get(job_id).bytes == 6


def test_a_retry_processes_only_accepted_photos(service: FakeService):
    job_id = accept(service, b"one", b"two")
    service.objects.put(object_keys.input_image(job_id, 0), b"uno")
    for content in (b"uno", b"dos", b"one"):
        service.work()
        service.finish_up()
        assert service.jobs.get(job_id).counts.failed == 1
        service.objects.put(object_keys.input_image(job_id, 0), content)
        service.controls.retry(job_id)
    service.work()
    service.finish_up()
    service.lose_everything()
    service.recover()

    job = service.jobs.get(job_id)
    assert (job.state, job.bytes) == (JobState.SUCCEEDED, 6)
    assert [data for data, _ in service.harness.pipeline.rendered] == [b"two", b"one"]


def test_a_job_normalised_as_a_whole_continues_with_the_same_range(service: FakeService):
    pictures = [b"a", b"four", b"longest of all", b"pic"]
    job_id = service.submit(*pictures, options=Options.parse({"normalize": "job"}))
    # The pipeline of words writes no range, but a real sidecar does.
    stop_after(service, 6, lambda: None)
    assert len(service.harness.pipeline.rendered) == 2
    common = service.harness.pipeline.rendered[0][1]
    assert common is not None
    span = {"range": {"low": common.low, "high": common.high, "of": "job"}}
    for index in range(2):
        service.objects.put(object_keys.output(job_id, index, "depth.json"), json.dumps(span).encode())
    service.lose_everything()

    service.recover()
    service.work()

    ranges = {common for _, common in service.harness.pipeline.rendered}
    assert ranges == {Range(low=1.0, high=28.0)}
    assert [data for data, _ in service.harness.pipeline.rendered] == pictures
    assert service.jobs.get(job_id).counts.succeeded == 4


def test_an_older_copy_of_redis_is_updated_from_s3(service: FakeService):
    """In the copy, the job was just accepted; later some images ended, one failed, and it was paused."""
    job_id = service.submit(*(b"picture %d" % n for n in range(5)), b"corrupt")
    copy = service.jobs.get(job_id)
    stop_after(service, 6, lambda: service.controls.pause(job_id))
    service.lose_everything()
    service.jobs.create(copy)

    service.recover()

    job = service.jobs.get(job_id)
    assert (job.counts.succeeded, job.counts.failed) == (5, 1)
    service.finish_up()
    assert service.jobs.get(job_id).state is JobState.PARTIAL


@pytest.mark.parametrize(
    ("verbs", "state"),
    [
        (["pause"], JobState.PAUSED),
        (["pause", "resume"], JobState.QUEUED),
        (["cancel"], JobState.CANCELING),
    ],
)
def test_verbs_later_than_an_older_copy_hold(service: FakeService, verbs: list[str], state: JobState):
    job_id = service.submit(b"one", b"two")
    copy = service.jobs.get(job_id)
    for verb in verbs:
        getattr(service.controls, verb)(job_id)
    service.lose_everything()
    service.jobs.create(copy)

    service.recover()

    assert service.jobs.get(job_id).state is state


def test_a_job_that_ended_after_an_older_copy_has_ended(service: FakeService):
    job_id = service.submit(b"one", b"corrupt")
    copy = service.jobs.get(job_id)
    service.work()
    service.finish_up()
    service.lose_everything()
    service.jobs.create(copy)

    service.recover()

    assert service.jobs.get(job_id).state is JobState.PARTIAL
    assert service.codes(job_id) == {1: "image_corrupt"}


def test_a_retry_later_than_an_older_copy_holds(service: FakeService):
    job_id = service.submit(b"one", b"corrupt")
    service.work()
    service.finish_up()
    # The copy was made here; then the job was retried.
    service.controls.retry(job_id)
    lease = service.jobs.lease("worker", limit=2)
    assert lease is not None
    copy = service.jobs.get(job_id)
    service.lose_everything()
    service.jobs.restore(replace(copy, state=JobState.PARTIAL, ended_at=1.0), succeeded=[0])

    service.recover()

    assert service.jobs.get(job_id).state is JobState.QUEUED
    assert service.states(job_id) == [ImageState.SUCCEEDED, ImageState.PENDING]


def test_recovery_ignores_expired_jobs(service: FakeService):
    old = service.submit(b"one")
    service.work()
    service.finish_up()
    service.harness.clock.advance(3 * DAY)
    young = service.submit(b"two")
    service.work()
    service.finish_up()
    service.lose_everything()

    service.recover(retention=2 * DAY)

    assert [job.id for job in service.jobs.list().items] == [young]
    assert service.objects.exists(object_keys.job_record(old))


def test_recovery_runs_once_after_every_start(service: FakeService):
    service.submit(b"one")

    assert service.recover() == 1
    assert service.recover() is None
    service.jobs.reconciled = False
    assert service.recover() == 1


def test_one_worker_at_a_time_recovers(service: FakeService):
    service.submit(b"one")
    service.jobs.acquire("recovery", "another worker", 20)

    assert service.recover() is None
    service.harness.clock.advance(21)
    assert service.recover() == 1


def test_an_interrupted_recovery_starts_over(service: FakeService):
    job_ids = [service.submit(b"picture") for _ in range(5)]
    service.lose_everything()
    calls = itertools.count(1)

    def fail_once(key: str, **span: int | None) -> None:
        if next(calls) == 7:
            raise ObjectStoreUnavailable

    service.objects.before(service.objects.get, fail_once)
    with pytest.raises(ObjectStoreUnavailable):
        service.recover()
    assert not service.jobs.is_reconciled()

    assert service.recover() == 5
    assert {job.id for job in service.jobs.list().items} == set(job_ids)


@pytest.mark.parametrize("record", [b"", b"no json", b"{}", b"[]", b'{"id": 1, "total": "x"}'])
def test_a_damaged_record_does_not_prevent_the_recovery_of_others(service: FakeService, record: bytes):
    broken, whole = service.submit(b"one"), service.submit(b"two")
    service.objects.put(object_keys.job_record(broken), record)
    service.lose_everything()

    service.recover()

    assert [job.id for job in service.jobs.list().items] == [whole]
    assert service.jobs.is_reconciled()


def test_other_objects_in_the_bucket_are_ignored(service: FakeService):
    job_id = service.submit(b"one")
    for key in ("jobs/loose", "jobs/not-a-job/job.json", "keys/abc.json", "other"):
        service.objects.put(key, b"x")
    service.lose_everything()

    assert service.recover() == 1
    assert [job.id for job in service.jobs.list().items] == [job_id]


def test_a_record_of_an_earlier_version_is_read(service: FakeService):
    job_id = service.submit(b"one")
    record = json.loads(service.objects.get(object_keys.job_record(job_id)))
    for newer in ("state", "owner", "bytes", "urgent", "title"):
        del record[newer]
    service.objects.put(object_keys.job_record(job_id), json.dumps(record).encode())
    service.lose_everything()

    service.recover()

    job = service.jobs.get(job_id)
    assert (job.state, job.owner, job.bytes, job.urgent) == (JobState.QUEUED, "anyone", 0, False)
