"""One look at the job store serves all requests of this process that wait for the same job.

A thread looks at every watched job a few times a second and wakes the requests that wait. It
starts with the first watched job and ends with the last.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.errors import JobNotFound, TooManyStreams, Unavailable
from shared.jobs.job import Job, JobEvent
from shared.jobstore.port import JobStore

logger = logging.getLogger(__name__)

#: Seconds between two looks at the events, and between two looks at a job that has no new event.
TICK = 0.25
_REFRESH = 5.0
#: Events kept of a watched job, for clients that are a little behind.
_RECENT = 4000
_PAGE = 1000


class WatchedJob:
    """One job and its events, as the last look found them. Safe to use from several threads."""

    def __init__(self, job: Job, latest: str) -> None:
        """Take a job, and the last event that it includes."""
        self.users = 0
        self._changed = threading.Condition()
        self._job = job
        self._version = 0
        self._events: deque[JobEvent] = deque(maxlen=_RECENT)
        #: The event before the first of those kept.
        self._base = latest
        self._looked_at = time.monotonic()
        self._is_gone = False

    @property
    def job(self) -> Job:
        """The job. Raises JobNotFound if it was deleted."""
        if self._is_gone:
            raise JobNotFound
        return self._job

    @property
    def last_job(self) -> Job:
        """The job as the last look found it, even if it is deleted by now."""
        return self._job

    @property
    def latest(self) -> str:
        """The id of the last event seen."""
        return self._events[-1].id if self._events else self._base

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        return self._version

    def wait(self, version: int, seconds: float) -> bool:
        """Wait until something has changed since a version; return False if nothing did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._version != version, seconds)

    def after(self, event_id: str) -> tuple[JobEvent, ...] | None:
        """Return the events seen after `event_id`, or None if that event is not kept here."""
        with self._changed:
            if event_id == self._base:
                return tuple(self._events)
            newer: list[JobEvent] = []
            for event in reversed(self._events):
                if event.id == event_id:
                    return tuple(reversed(newer))
                newer.append(event)
        return None

    def look(self, jobs: JobStore) -> None:
        """Read what has happened since the last look."""
        try:
            seen = jobs.events(self._job.id, after=self.latest, limit=_PAGE)
            if not seen.complete:
                self._begin_anew(jobs.last_event(self._job.id), jobs.get(self._job.id))
            elif seen.events or time.monotonic() - self._looked_at > _REFRESH:
                self._go_on(seen.events, jobs.get(self._job.id))
        except JobNotFound:
            self._lose()

    def _go_on(self, events: tuple[JobEvent, ...], job: Job) -> None:
        with self._changed:
            is_news = bool(events) or signature(job) != signature(self._job)
            self._job, self._looked_at = job, time.monotonic()
            for event in events:
                if len(self._events) == _RECENT:
                    self._base = self._events[0].id
                self._events.append(event)
            if is_news:
                self._tell()

    def _begin_anew(self, latest: str, job: Job) -> None:
        """Start again after a gap. Clients that wait no longer find their place here, and ask the store."""
        with self._changed:
            self._job, self._looked_at = job, time.monotonic()
            self._events.clear()
            self._base = latest
            self._tell()

    def _lose(self) -> None:
        with self._changed:
            self._is_gone = True
            self._tell()

    def _tell(self) -> None:
        self._version += 1
        self._changed.notify_all()


class JobWatcher:
    """Watches the jobs that requests of this process wait for, each job once however many wait."""

    def __init__(self, jobs: JobStore, *, limit: int) -> None:
        """`limit` is how many requests may wait at once."""
        self._jobs = jobs
        self._limit = limit
        self._watched: dict[str, WatchedJob] = {}
        self._waiting = 0
        self._lock = threading.Lock()
        self._is_running = False
        self._is_stopping: Callable[[], bool] = lambda: False

    @property
    def is_stopping(self) -> bool:
        """Whether this process is about to end, so that no request should wait any longer."""
        return self._is_stopping()

    def stop_when(self, is_stopping: Callable[[], bool]) -> None:
        """Set the function that tells whether the process is about to end."""
        self._is_stopping = is_stopping

    @contextmanager
    def watch(self, job_id: str) -> Iterator[WatchedJob]:
        """Watch a job in a `with` block.

        Raises TooManyStreams beyond the limit, and JobNotFound.
        """
        with self._lock:
            if self._waiting >= self._limit:
                raise TooManyStreams
            self._waiting += 1
        try:
            watched = self._join(job_id)
            try:
                yield watched
            finally:
                self._leave(job_id, watched)
        finally:
            with self._lock:
                self._waiting -= 1

    def _join(self, job_id: str) -> WatchedJob:
        # Read the event first, so that the job includes it.
        latest = self._jobs.last_event(job_id)
        found = WatchedJob(self._jobs.get(job_id), latest)
        with self._lock:
            watched = self._watched.setdefault(job_id, found)
            watched.users += 1
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="job-watcher", daemon=True).start()
        return watched

    def _leave(self, job_id: str, watched: WatchedJob) -> None:
        with self._lock:
            watched.users -= 1
            if watched.users == 0:
                del self._watched[job_id]

    def _run(self) -> None:
        while everyone := self._all_watched():
            for watched in everyone:
                self._look(watched)
            time.sleep(TICK)

    def _all_watched(self) -> tuple[WatchedJob, ...]:
        with self._lock:
            self._is_running = bool(self._watched)
            return tuple(self._watched.values())

    def _look(self, watched: WatchedJob) -> None:
        try:
            watched.look(self._jobs)
        except Unavailable as exc:
            # The requests keep waiting, because the job store will be back.
            logger.warning("A watched job was not read: %s", exc.message, extra={"action": "watch_job"})
        except Exception:
            # An error with one job must not stop the watching of the others.
            logger.exception("A look at a job failed unexpectedly.", extra={"action": "watch_job"})


def signature(job: Job) -> tuple[object, ...]:
    """Return the fields that count as a change. Rates and remaining times change all the time."""
    return (job.state, job.counts, job.phase, job.title, job.error, job.started_at, job.ended_at)


def job_tag(job: Job) -> str:
    """Return a job's entity tag, which is the same in every process."""
    return hashlib.blake2b(repr((job.id, signature(job))).encode(), digest_size=9).hexdigest()
