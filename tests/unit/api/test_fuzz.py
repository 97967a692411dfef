"""Compare the API with its own description: every response to any request must be documented.

Valid and invalid requests are generated from `/openapi.json` with a fixed seed; they name existing jobs in
every state.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.openapi.document import build_document
from fathom.result_names import output_files
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState
from tests.unit.api.conftest import CORRUPT, Api, ApiFactory, build_api, close_api

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
#: The settings of the API under test.
CHANGED: dict[str, Any] = {"max_wait_seconds": 0.0, "max_image_bytes": 2**20, "rate_limit": "1000000/second"}
#: The stream of a running job has no end; other streams are finite.
ENDLESS = "GET /v1/jobs/{job_id}/events"
BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


def in_state(api: Api, state: JobState) -> str:
    """Make a job in a state with one failed image of two; return its id."""
    if state is JobState.UPLOADING:
        return str(api.announce({"name": "a.jpg", "size": 5}, {"name": "b.jpg", "size": 1}).get_json()["id"])
    job_id = api.submit("a.jpg", "b.jpg", options={"outputs": ["heatmap", "depth16", "npy"]})
    job = dataclasses.replace(api.jobs.get(job_id), state=state)
    for file in output_files(job.options).values():
        api.objects.put(
            object_keys.output(job_id, 0, file), b"data", content_type=object_keys.content_type(file)
        )
    api.jobs.delete(job_id)
    api.jobs.restore(job, succeeded=[0], failures={1: CORRUPT})
    return job_id


@pytest.fixture(scope="module")
def schema() -> Iterator[Any]:
    """The description of the API, read once; `fuzzed` says which API its requests reach."""
    api = build_api(**CHANGED)
    yield schemathesis.openapi.from_wsgi("/openapi.json", api.client.application)
    close_api(api)


def fuzzed(make_api: ApiFactory, schema: Any) -> Api:
    """Return an API that never waits and does urgent jobs at once, and send it what the schema makes."""
    api = make_api(**CHANGED)
    schema.app.wsgi_app = api.client.application.wsgi_app

    def work(job: Job, **kwargs: Any) -> None:
        if job.urgent:
            api.work()
            api.jobs.restore(dataclasses.replace(job, state=JobState.SUCCEEDED))

    api.jobs.after(api.jobs.create, work)
    return api


def labels() -> list[str]:
    """Return all operations, as `GET /v1/jobs`."""
    document = build_document(build_api().client.application)
    return [f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods]


@pytest.mark.parametrize("examples", [8, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=str)
@pytest.mark.parametrize("label", labels())
def test_every_response_is_documented(
    make_api: ApiFactory, schema: Any, label: str, mode: schemathesis.GenerationMode, examples: int
) -> None:
    api = fuzzed(make_api, schema)
    states = [JobState.SUCCEEDED] if label == ENDLESS else list(JobState)
    number = itertools.count()

    @given(case=schema.find_operation_by_label(label).as_strategy(mode))
    @settings(BOUNDED, max_examples=examples)
    def send(case: Any) -> None:
        turn = next(number)
        if turn % 4 and "job_id" in (case.path_parameters or {}):
            case.path_parameters["job_id"] = in_state(api, states[turn % len(states)])
        case.call_and_validate(checks=CHECKS)

    with skip_without_invalid_requests(mode):
        send()


@contextmanager
def skip_without_invalid_requests(mode: schemathesis.GenerationMode) -> Iterator[None]:
    """Skip an operation for which no request is invalid."""
    try:
        yield
    except Unsatisfiable:
        if mode.is_positive:
            raise
        pytest.skip("No request is invalid for this operation.")


#: The possible steps of a walk: methods and paths below that of a job, and parameters beside its id.
STEPS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *((("POST", f"/{verb}", {})) for verb in ("start", "pause", "resume", "cancel", "retry")),
    *((("GET", path, {})) for path in ("", "/images", "/uploads", "/archive", "/skipped", "/deliveries")),
    ("GET", "/images/{index}/{output}", {"index": 0, "output": "heatmap"}),
    ("GET", "/images/{index}/input", {"index": 1}),
    ("PUT", "/uploads/{index}", {"index": 0}),
    ("PUT", "/uploads/{index}", {"index": 1}),
    ("DELETE", "", {}),
)


def test_any_sequence_of_requests_gets_documented_responses(make_api: ApiFactory, schema: Any) -> None:
    api = fuzzed(make_api, schema)
    chance = random.Random(1)
    statuses: Counter[int] = Counter()
    job_id = in_state(api, JobState.UPLOADING)

    for _ in range(400):
        method, path, rest = chance.choice(STEPS)
        if chance.random() < 0.2:
            api.jobs.lease("w", limit=1)
        if chance.random() < 0.1:
            job_id = in_state(api, chance.choice(list(JobState)))
        case = schema.find_operation_by_label(f"{method} /v1/jobs/{{job_id}}{path}").Case(
            path_parameters={"job_id": job_id, **rest},
            body=b"hello" if method == "PUT" else NOT_SET,
            media_type="application/octet-stream" if method == "PUT" else None,
        )
        statuses[case.call_and_validate(checks=CHECKS).status_code] += 1

    assert statuses.keys() >= {200, 202, 204, 404, 409, 410}
