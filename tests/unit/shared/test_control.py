from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread

import pytest

from fathom.options import Options
from shared.control import Controls
from shared.errors import (
    FathomError,
    InvalidTransition,
    JobBusy,
    JobNotFound,
    JobStoreUnavailable,
    ObjectStoreUnavailable,
)
from shared.jobs import object_keys
from shared.jobs.intent import Intent, intended_state, read_intent
from shared.jobs.job import ImageFailure, JobState, new_job_id
from shared.jobs.record import decode_job, decode_result, encode_job, new_job
from tests.fakes import FakeObjectStore
from tests.fakes_job_store import FakeJobStore
from tests.finalizing import finish_as

VERBS = ("start", "pause", "resume", "cancel", "retry")
BAD = ImageFailure(code="image_corrupt", message="Damaged.")


@pytest.fixture
def jobs() -> FakeJobStore:
    return FakeJobStore()


@pytest.fixture
def objects() -> FakeObjectStore:
    return FakeObjectStore()


@pytest.fixture
def controls(jobs: FakeJobStore, objects: FakeObjectStore) -> Controls:
    return Controls(jobs, objects)


@pytest.fixture
def submit(jobs: FakeJobStore, objects: FakeObjectStore) -> Callable[..., str]:
    def submit(state: JobState = JobState.QUEUED, total: int = 3) -> str:
        job = new_job(new_job_id(), total=total, options=Options(), state=state, created_at=1.0)
        objects.put(object_keys.job_record(job.id), encode_job(job))
        jobs.create(job)
        return job.id

    return submit


def end(jobs: FakeJobStore, objects: FakeObjectStore, job_id: str) -> None:
    """End a job whose first image failed."""
    lease = jobs.lease("worker", limit=10)
    assert lease is not None
    for index in lease.indices:
        jobs.done(lease, index, failure=None if index else BAD)
    finish_as(jobs, job_id, JobState.PARTIAL)
    for key in (object_keys.result(job_id), object_keys.failures(job_id), object_keys.failure(job_id, 0)):
        objects.put(key, b"{}")


def test_the_last_verb_is_the_intent(
    controls: Controls, objects: FakeObjectStore, submit: Callable[..., str]
):
    job_id = submit(JobState.UPLOADING)
    accepted = decode_job(objects.get(object_keys.job_record(job_id)))
    seen = [intended_state(accepted, read_intent(objects, job_id))]

    for verb in ("start", "pause", "resume", "cancel"):
        getattr(controls, verb)(job_id)
        seen.append(intended_state(accepted, read_intent(objects, job_id)))

    assert seen == [
        JobState.UPLOADING,
        JobState.QUEUED,
        JobState.PAUSED,
        JobState.QUEUED,
        JobState.CANCELING,
    ]


def test_the_number_of_images_stays_known(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str]
):
    job_id = submit(JobState.UPLOADING, total=0)

    controls.start(job_id, total=7)
    controls.pause(job_id)

    assert read_intent(objects, job_id) == Intent(verb="pause", total=7)
    assert jobs.get(job_id).counts.total == 7


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_without_the_object_store_no_verb_is_applied(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str], verb: str
):
    job_id = submit()
    objects.away = True

    with pytest.raises(ObjectStoreUnavailable):
        getattr(controls, verb)(job_id)

    assert jobs.get(job_id).state is JobState.QUEUED


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_repeating_a_verb_completes_it_after_a_crash_between_the_stores(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str], verb: str
):
    job_id = submit()
    method = getattr(jobs, verb)

    def crash(job_id: str) -> None:
        raise JobStoreUnavailable

    jobs.before(method, crash)
    with pytest.raises(JobStoreUnavailable):
        getattr(controls, verb)(job_id)
    jobs.before(method, None)
    assert read_intent(objects, job_id) == Intent(verb=verb)

    done = getattr(controls, verb)(job_id)

    assert done.state in (JobState.PAUSED, JobState.CANCELING)


@pytest.mark.parametrize("verb", VERBS)
def test_a_refused_verb_leaves_no_trace(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str], verb: str
):
    job_id = submit(JobState.UPLOADING)
    controls.cancel(job_id)
    if verb == "cancel":
        finish_as(jobs, job_id, JobState.CANCELED)
        jobs.expire(job_id, before=jobs.now() + 1)
    before = dict(objects.objects)

    with pytest.raises(InvalidTransition):
        getattr(controls, verb)(job_id)

    assert objects.objects == before


def test_a_verb_that_comes_too_late_is_withdrawn(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str]
):
    job_id = submit()
    controls.pause(job_id)
    controls.resume(job_id)

    def end_first(job_id: str) -> None:
        lease = jobs.lease("worker", limit=10)
        assert lease is not None
        for index in lease.indices:
            jobs.done(lease, index)

    jobs.before(jobs.cancel, end_first)
    with pytest.raises(InvalidTransition):
        controls.cancel(job_id)

    assert read_intent(objects, job_id) == Intent(verb="resume")


def test_a_retry_removes_the_result_and_a_repeated_retry_removes_nothing_newer(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str]
):
    job_id = submit()
    end(jobs, objects, job_id)

    assert controls.retry(job_id).state is JobState.QUEUED
    left = {key.removeprefix(object_keys.job_prefix(job_id)) for key in objects.objects}
    assert left == {"job.json", "intent.json"}

    objects.put(object_keys.failure(job_id, 0), b"{}")
    controls.retry(job_id)
    assert objects.exists(object_keys.failure(job_id, 0))


def test_a_job_that_failed_as_a_whole_keeps_its_reason_in_the_result(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str]
):
    job_id = submit(JobState.UPLOADING, total=0)

    controls.abort(job_id, BAD)
    finish_as(jobs, job_id, JobState.FAILED)
    with pytest.raises(InvalidTransition):
        controls.retry(job_id)

    result = decode_result(objects.get(object_keys.result(job_id)))
    assert (result.state, result.error) == (JobState.FAILED, BAD)


def test_deleting_removes_everything_and_a_repeat_finds_nothing(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str]
):
    kept, job_id = submit(), submit()
    objects.put(object_keys.input_image(job_id, 0), b"x")

    assert controls.delete(job_id) is True
    assert controls.delete(job_id) is False

    with pytest.raises(JobNotFound):
        jobs.get(job_id)
    assert list(objects.objects) == [object_keys.job_record(kept)]


def test_an_interrupted_deletion_has_removed_what_recovery_would_restore(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str]
):
    job_id = submit()
    objects.put(object_keys.input_image(job_id, 0), b"x")

    def crash(job_id: str) -> None:
        raise JobStoreUnavailable

    jobs.before(jobs.delete, crash)
    with pytest.raises(JobStoreUnavailable):
        controls.delete(job_id)

    assert list(objects.objects) == [object_keys.input_image(job_id, 0)]
    # If the job store still knows the job, its workers may need the objects.
    assert jobs.get(job_id).state is JobState.QUEUED


@pytest.mark.parametrize("verb", [*VERBS, "delete"])
@pytest.mark.parametrize("job_id", ["../../etc", "", "a" * 25, "A" * 26])
def test_an_invalid_id_is_an_unknown_job(
    controls: Controls, objects: FakeObjectStore, verb: str, job_id: str
):
    with pytest.raises(JobNotFound):
        getattr(controls, verb)(job_id)
    assert objects.objects == {}


def test_an_unknown_job_is_not_found_and_leaves_no_trace(controls: Controls, objects: FakeObjectStore):
    with pytest.raises(JobNotFound):
        controls.cancel(new_job_id())
    assert objects.objects == {}


def test_verbs_on_a_job_run_one_at_a_time(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str]
):
    job_id = submit()

    with controls.alone(job_id), pytest.raises(JobBusy):
        Controls(jobs, objects, patience=0.1).cancel(job_id)

    assert controls.cancel(job_id).state is JobState.CANCELING


def test_racing_verbs_leave_both_stores_consistent(
    controls: Controls, jobs: FakeJobStore, objects: FakeObjectStore, submit: Callable[..., str]
):
    for _ in range(20):
        job_id, gate = submit(), Barrier(2)

        def ask(verb: str, job_id: str = job_id, gate: Barrier = gate) -> None:
            gate.wait()
            try:
                getattr(controls, verb)(job_id)
            except FathomError:
                assert jobs.get(job_id).state is JobState.CANCELING

        threads = [Thread(target=ask, args=(verb,)) for verb in ("pause", "cancel")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert jobs.get(job_id).state is JobState.CANCELING
        assert read_intent(objects, job_id) == Intent(verb="cancel")
