"""The server-sent events of a job (HTML standard, section 9.2).

`image` says that an image ended or will be tried again. `job` shows the job whenever its state or
counts have changed. `reset` says that events were dropped, so the client must list the images again.
`deleted` says that the job is gone. The stream ends when the job has ended. Event ids come from the job
store, so a client may continue at any process and misses nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from pydantic import BaseModel

from api.live.disconnect import client_disconnected
from api.schema.job_view import job_out
from api.schema.response_models import ImageEventOut
from api.services.backend import Backend
from api.services.job_watcher import WatchedJob, signature
from shared.errors import JobNotFound, ObjectNotFound, ObjectStoreDenied, Unavailable
from shared.jobs.job import ImageState, Job, JobEvent, JobEvents

#: Seconds of silence after which a comment keeps the connection alive.
KEEP_ALIVE = 15.0
#: Seconds between two `job` events, unless the state changes.
_THROTTLE = 0.5
#: Milliseconds after which a client reconnects.
_RETRY = 2000
_PAGE = 1000
#: Seconds after which a waiting stream checks whether the process is about to end.
_GLANCE = 1.0


class Stream:
    """The stream of one client."""

    def __init__(
        self, backend: Backend, watched: WatchedJob, after: str | None, *, keep_alive: float = KEEP_ALIVE
    ) -> None:
        """Continue after the event `after`; None starts with the present."""
        self._keep_alive = keep_alive
        self._backend = backend
        self._watched = watched
        self._after = watched.latest if after is None else after
        #: Whether more events can be sent at once, and whether no more will come.
        self._has_more = self._is_over = False
        self._shown: Job | None = None
        self._shown_at = self._spoke_at = time.monotonic()

    def run(self) -> Iterator[str]:
        """Yield the pieces of the stream until the job has ended or this process is about to end."""
        yield f"retry: {_RETRY}\n\n"
        while not (self._is_over or self._backend.watcher.is_stopping or client_disconnected()):
            version = self._watched.version
            if pieces := "".join(self._go_on()):
                yield self._spoken(pieces)
            elif time.monotonic() - self._spoke_at > self._keep_alive:
                yield self._spoken(": keep-alive\n\n")
            if not (self._has_more or self._is_over):
                self._watched.wait(version, self._patience())

    def _go_on(self) -> Iterator[str]:
        """Yield the events to send now."""
        try:
            job = self._watched.job
            seen = self._read(job)
        except JobNotFound:
            self._is_over = True
            yield _event("deleted", {})
            return
        if not seen.complete:
            # A client that lists the images now sees everything up to here.
            self._after = self._watched.latest
            yield _event("reset", {}, self._after)
        else:
            yield from self._tell(job, seen.events)
        self._has_more = len(seen.events) == _PAGE or not seen.complete
        self._is_over = job.state.ended and not self._has_more
        if self._is_due(job):
            self._shown, self._shown_at = job, time.monotonic()
            yield _event("job", job_out(job), self._after)

    def _read(self, job: Job) -> JobEvents:
        """Return the next events of the watched job, or the store's if those are missing or the job ended."""
        seen = self._watched.after(self._after)
        if seen is not None and not job.state.ended:
            return JobEvents(events=seen[:_PAGE], complete=True)
        try:
            return self._backend.jobs.events(job.id, after=self._after, limit=_PAGE)
        except Unavailable:
            # Keep the stream open, because the job store will be back.
            self._watched.wait(self._watched.version, _GLANCE)
            return JobEvents(events=(), complete=True)

    def _tell(self, job: Job, events: tuple[JobEvent, ...]) -> Iterator[str]:
        for event in events:
            self._after = event.id
            if event.index is not None:
                image = ImageEventOut(
                    index=event.index, state=ImageState(event.state), name=self._name(job, event.index)
                )
                yield _event("image", image, event.id)

    def _name(self, job: Job, index: int) -> str | None:
        try:
            return self._backend.manifests.names(job.id)[index]
        except (ObjectNotFound, ObjectStoreDenied, Unavailable, IndexError):
            return None

    def _is_due(self, job: Job) -> bool:
        """Whether to show the job: at the start, in each new state and at the end, else now and then."""
        if self._shown is None or job.state != self._shown.state:
            return True
        return signature(job) != signature(self._shown) and (self._is_over or self._until_due() <= 0)

    def _until_due(self) -> float:
        return self._shown_at + _THROTTLE - time.monotonic()

    def _patience(self) -> float:
        is_late = self._shown is not None and signature(self._watched.last_job) != signature(self._shown)
        return max(min(_GLANCE, self._until_due()), 0.01) if is_late else _GLANCE

    def _spoken(self, pieces: str) -> str:
        self._spoke_at = time.monotonic()
        return pieces


def has_ended_by(backend: Backend, job: Job, after: str) -> bool:
    """Return whether the job has ended and the event `after` was its last."""
    if not job.state.ended:
        return False
    seen = backend.jobs.events(job.id, after=after, limit=1)
    return seen.complete and not seen.events


def _event(name: str, data: BaseModel | dict[str, str], event_id: str | None = None) -> str:
    text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data)
    id_line = "" if event_id is None else f"id: {event_id}\n"
    return f"{id_line}event: {name}\ndata: {text}\n\n"
