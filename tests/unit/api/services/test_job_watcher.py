from __future__ import annotations

import threading
import time

import pytest

from api.services.job_watcher import JobWatcher, WatchedJob, job_tag
from fathom.options import Options
from shared.errors import JobNotFound, TooManyStreams
from shared.jobs.job import Job, JobEvents, JobState, new_job_id
from shared.jobs.record import new_job
from tests.fakes_job_store import FakeJobStore
from tests.waiting import DEADLINE, eventually


class CountingJobs(FakeJobStore):
    """A job store that counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def events(self, job_id: str, *, after: str | None = None, limit: int = 1000) -> JobEvents:
        self.asked += 1
        return super().events(job_id, after=after, limit=limit)


@pytest.fixture
def jobs() -> CountingJobs:
    return CountingJobs()


def a_job(jobs: FakeJobStore, total: int = 5) -> Job:
    job = new_job(new_job_id(), total=total, options=Options(), state=JobState.QUEUED, created_at=time.time())
    jobs.create(job)
    return jobs.get(job.id)


def watched_job(jobs: FakeJobStore, job: Job) -> WatchedJob:
    return WatchedJob(jobs.get(job.id), jobs.last_event(job.id))


def work(jobs: FakeJobStore, count: int) -> None:
    lease = jobs.lease("w", limit=count)
    assert lease is not None
    for index in lease.indices:
        jobs.done(lease, index)


# --- one watched job ------------------------------------------------------------------


def test_a_poll_returns_the_job_and_its_events(jobs: CountingJobs) -> None:
    job = a_job(jobs)
    watched = watched_job(jobs, job)
    start = watched.latest
    work(jobs, 2)
    watched.look(jobs)

    seen = watched.after(start)
    assert seen is not None
    assert [(event.index, event.state) for event in seen if event.index is not None] == [
        (0, "succeeded"),
        (1, "succeeded"),
    ]
    assert watched.job.counts.succeeded == 2
    assert watched.latest == seen[-1].id == jobs.last_event(job.id)


def test_a_watcher_that_is_behind_gets_the_events_it_missed(jobs: CountingJobs) -> None:
    watched = watched_job(jobs, a_job(jobs))
    start = watched.latest
    for _ in range(3):
        work(jobs, 1)
        watched.look(jobs)
    all_seen = watched.after(start)

    assert all_seen is not None
    for place, event in enumerate(all_seen):
        assert watched.after(event.id) == all_seen[place + 1 :]


@pytest.mark.parametrize("unknown", ["0", "999999999999999999", "nonsense", ""])
def test_a_watcher_with_unknown_events_must_ask_the_store(jobs: CountingJobs, unknown: str) -> None:
    watched = watched_job(jobs, a_job(jobs))
    work(jobs, 1)
    watched.look(jobs)

    assert watched.after(unknown) is None


def test_a_poll_without_news_wakes_nobody(jobs: CountingJobs) -> None:
    watched = watched_job(jobs, a_job(jobs))
    version = watched.version
    watched.look(jobs)

    assert watched.version == version
    assert not watched.wait(version, 0.01)


def test_a_change_wakes_the_waiters(jobs: CountingJobs) -> None:
    watched = watched_job(jobs, a_job(jobs))
    woken: list[bool] = []
    version = watched.version
    waiting = threading.Thread(target=lambda: woken.append(watched.wait(version, 3600)), daemon=True)
    waiting.start()
    work(jobs, 1)
    watched.look(jobs)
    waiting.join(DEADLINE)

    assert woken == [True]


def test_all_watchers_learn_that_a_job_was_deleted(jobs: CountingJobs) -> None:
    job = a_job(jobs)
    watched = watched_job(jobs, job)
    version = watched.version
    jobs.delete(job.id)
    watched.look(jobs)

    assert watched.version != version
    with pytest.raises(JobNotFound):
        _ = watched.job


def test_a_gap_in_the_events_is_noticed(jobs: CountingJobs) -> None:
    job = a_job(jobs, total=2500)
    watched = watched_job(jobs, job)
    start = watched.latest
    # The store forgets the first of so many events.
    work(jobs, 2500)
    watched.look(jobs)

    assert watched.after(start) is None
    assert watched.latest == jobs.last_event(job.id)
    assert watched.job.counts.succeeded == 2500


# --- the watcher ----------------------------------------------------------------------


def test_all_watchers_of_a_job_share_one_poll(jobs: CountingJobs) -> None:
    watcher = JobWatcher(jobs, limit=10)
    job = a_job(jobs)
    with watcher.watch(job.id) as first, watcher.watch(job.id) as second:
        version = first.version
        work(jobs, 1)

        assert first is second
        assert first.wait(version, DEADLINE)
        eventually(lambda: first.job.counts.succeeded)


def test_beyond_the_limit_watchers_are_refused(jobs: CountingJobs) -> None:
    watcher = JobWatcher(jobs, limit=2)
    job = a_job(jobs)
    with watcher.watch(job.id), watcher.watch(a_job(jobs).id), pytest.raises(TooManyStreams):
        watcher.watch(job.id).__enter__()
    with watcher.watch(job.id), watcher.watch(job.id):
        pass


def test_an_unknown_job_takes_no_place(jobs: CountingJobs) -> None:
    watcher = JobWatcher(jobs, limit=1)
    for _ in range(3):
        with pytest.raises(JobNotFound):
            watcher.watch("a" * 26).__enter__()
    with watcher.watch(a_job(jobs).id) as watched:
        assert watched.job.state is JobState.QUEUED


def test_an_outage_of_the_store_ends_no_wait(jobs: CountingJobs) -> None:
    watcher = JobWatcher(jobs, limit=1)
    with watcher.watch(a_job(jobs).id) as watched:
        version = watched.version
        jobs.away = True
        eventually(lambda: jobs.refused, lambda refused: refused >= 2)
        assert watched.version == version
        jobs.away = False
        work(jobs, 1)

        assert watched.wait(version, DEADLINE)
        eventually(lambda: watched.job.counts.succeeded)


def test_without_watchers_the_store_is_not_polled(jobs: CountingJobs) -> None:
    watcher = JobWatcher(jobs, limit=1)
    with watcher.watch(a_job(jobs).id):
        eventually(lambda: jobs.asked)
    eventually(lambda: not any(thread.name == "job-watcher" for thread in threading.enumerate()))


# --- entity tags ----------------------------------------------------------------------


def test_a_tag_changes_with_the_job_and_with_nothing_else(jobs: CountingJobs) -> None:
    job = a_job(jobs)
    tags = [job_tag(jobs.get(job.id)), job_tag(jobs.get(job.id))]
    work(jobs, 1)
    tags.append(job_tag(jobs.get(job.id)))
    jobs.pause(job.id)
    tags.append(job_tag(jobs.get(job.id)))

    assert tags[0] == tags[1]
    assert len(set(tags)) == 3
    assert job_tag(a_job(jobs)) != job_tag(a_job(jobs))
