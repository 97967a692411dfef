"""`Prefer: wait=N` (RFC 7240): an answer that waits until something happens, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import request
from werkzeug.http import parse_list_header

from api.live.disconnect import client_disconnected
from api.services.backend import Backend
from api.services.job_watcher import signature
from shared.errors import TooManyStreams
from shared.jobs.job import Job

#: Seconds after which a waiting request checks whether the process is about to end.
_GLANCE = 1.0


def preferred_wait(longest: float) -> float | None:
    """Return the seconds that the current request prefers to wait, at most `longest`, or None.

    RFC 7240: unknown or malformed preferences are ignored, and the first of a repeated one counts.
    """
    for preference in parse_list_header(request.headers.get("Prefer", "")):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            seconds = value.strip().strip('"')
            return min(float(seconds), longest) if seconds.isascii() and seconds.isdigit() else None
    return None


def wait_for_change(backend: Backend, job: Job, seconds: float) -> Job:
    """Return a job once it has changed, or unchanged after `seconds`."""
    before = signature(job)
    return _wait(backend, job, seconds, lambda now: signature(now) != before)


def wait_for_end(backend: Backend, job: Job, seconds: float) -> Job:
    """Return a job once it has ended, or as it is after `seconds`."""
    return _wait(backend, job, seconds, lambda now: now.state.ended)


def _wait(backend: Backend, job: Job, seconds: float, is_enough: Callable[[Job], bool]) -> Job:
    """Wait for a job. If too many requests wait already, return at once, as without the preference."""
    if is_enough(job) or seconds <= 0:
        return job
    deadline = time.monotonic() + seconds
    try:
        with backend.watcher.watch(job.id) as watched:
            while True:
                version, job = watched.version, watched.job
                left = deadline - time.monotonic()
                if is_enough(job) or left <= 0 or backend.watcher.is_stopping or client_disconnected():
                    return job
                watched.wait(version, min(left, _GLANCE))
    except TooManyStreams:
        return job
