"""Whether this process lives, whether it can serve, and where to go from here."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong

from flask import Blueprint, Response, url_for

from api.backend import Backend, backend
from api.errors import RETRY_AFTER
from api.replies import json_reply
from api.schemas import IndexOut, PartOut, ReadinessOut
from shared.errors import FathomError, Unavailable

blueprint = Blueprint("health", __name__)

#: Seconds a part has to answer; probes give up after a few more.
PATIENCE = 2.0


@blueprint.get("/livez")
def live() -> Response:
    """Answer as long as this process runs, whatever else is away."""
    return json_reply(IndexOut(links={"ready": url_for("health.ready")}))


@blueprint.get("/readyz")
def ready() -> Response:
    """Say which parts can be reached; 503 unless all can."""
    parts = check_parts(backend())
    all_ok = all(part.ok for part in parts.values())
    slots = _count_slots(backend()) if parts["job_store"].ok else None
    response = json_reply(ReadinessOut(ready=all_ok, parts=parts, slots=slots), 200 if all_ok else 503)
    if not all_ok:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


@blueprint.get("/v1")
def index() -> Response:
    """Name the places to begin at."""
    links = {"jobs": "jobs.index", "live": "health.live", "ready": "health.ready"}
    return json_reply(IndexOut(links={name: url_for(endpoint) for name, endpoint in links.items()}))


def check_parts(backend: Backend, *, patience: float = PATIENCE) -> dict[str, PartOut]:
    """Ask all parts at once, and wait for none of them longer than the patience."""
    asked = {
        "job_store": _ask(backend, backend.jobs.ping),
        "object_store": _ask(backend, backend.objects.ping),
    }
    return {name: _answer(future, patience) for name, future in asked.items()}


def _ask(backend: Backend, ping: Callable[[], None]) -> Future[None]:
    return backend.probes.submit(ping)


def _answer(asked: Future[None], patience: float) -> PartOut:
    try:
        asked.result(timeout=patience)
    except TookTooLong:
        asked.cancel()
        return PartOut(ok=False, detail=f"No answer within {patience:g} seconds.")
    except FathomError as exc:
        return PartOut(ok=False, detail=exc.message)
    return PartOut(ok=True, detail="ok")


def _count_slots(backend: Backend) -> int | None:
    try:
        return backend.jobs.slots()
    except Unavailable:
        return None
