"""Whether this process is alive, whether it can serve, and where to start."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import suppress

from flask import Blueprint, Response, url_for

from api.auth.authorize import public
from api.middleware.errors import RETRY_AFTER
from api.routes.responses import json_response
from api.schema import operation
from api.schema.operation import Answer, Operation
from api.schema.response_models import IndexOut, PartOut, ReadinessOut
from api.services.backend import Backend, backend
from shared.errors import FathomError, Unavailable

blueprint = Blueprint("health", __name__)

#: Seconds that a part gets to answer. The probe itself gives up a few seconds later.
PATIENCE = 2.0


@blueprint.get("/livez")
@Operation(
    tag="Service",
    answers=(Answer(status=200, description="The process is alive.", models=(IndexOut,)),),
    needs_stores=False,
)
@public
def live() -> Response:
    """Answer as long as this process runs, even if everything else is away."""
    return json_response(IndexOut(links={"ready": url_for("health.ready")}))


@blueprint.get("/readyz")
@Operation(
    tag="Service",
    answers=(
        Answer(status=200, description="All parts can be reached.", models=(ReadinessOut,)),
        Answer(
            status=503,
            description="A part cannot be reached.",
            models=(ReadinessOut,),
            headers=(operation.RETRY_AFTER,),
        ),
    ),
    needs_stores=False,
)
@public
def ready() -> Response:
    """Say which parts can be reached; 503 unless all can.

    A fault that keeps jobs from running, but not from being accepted, makes the service degraded, yet ready.
    """
    found = check(backend())
    response = json_response(found, 200 if found.ready else 503)
    if not found.ready:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


@blueprint.get("/v1")
@Operation(
    tag="Service",
    answers=(Answer(status=200, description="Addresses.", models=(IndexOut,)),),
    needs_stores=False,
)
@public
def index() -> Response:
    """Name the addresses to start from."""
    links = {"jobs": "jobs.index", "live": "health.live", "ready": "health.ready"}
    return json_response(IndexOut(links={name: url_for(endpoint) for name, endpoint in links.items()}))


def check(backend: Backend) -> ReadinessOut:
    """Return the state of all parts."""
    parts = check_parts(backend)
    slots, degraded = None, {}
    if parts["job_store"].ok:
        with suppress(Unavailable):
            slots = backend.jobs.slots()
            degraded = _find_faults(slots, is_reconciled=backend.jobs.is_reconciled())
    return ReadinessOut(
        ready=all(part.ok for part in parts.values()), degraded=degraded, parts=parts, slots=slots
    )


def check_parts(backend: Backend, *, patience: float = PATIENCE) -> dict[str, PartOut]:
    """Ask all parts at once, and wait for none longer than `patience`."""
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


def _find_faults(slots: int, *, is_reconciled: bool) -> dict[str, str]:
    faults = {}
    if slots == 0:
        faults["workers"] = "No worker is alive: jobs are accepted, but wait."
    if not is_reconciled:
        faults["recovery"] = (
            "The job store was restarted or lost data, and is being compared with the object store. "
            "Until that is done, some jobs may be missing."
        )
    return faults
