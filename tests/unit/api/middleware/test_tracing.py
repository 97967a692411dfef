from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from flask import Response
from opentelemetry.trace import SpanKind
from werkzeug.test import TestResponse

from shared.jobs import object_keys
from shared.jobs.job import JobState
from shared.jobs.record import decode_job
from tests.finalizing import finish_as
from tests.traces import PARENT, SAMPLED, TRACE, UNSAMPLED, InMemoryTraces, facts, id_of, parent_of, trace_of
from tests.unit.api.conftest import Api, ApiFactory

ANNOUNCED = {"uploads": [{"name": "holiday.jpg", "size": 7}]}


@pytest.fixture
def memory() -> InMemoryTraces:
    return InMemoryTraces()


@pytest.fixture
def api(make_api: ApiFactory, memory: InMemoryTraces) -> Api:
    return make_api(tracer=memory.tracer)


def test_a_request_is_a_span_by_its_route(api: Api, memory: InMemoryTraces):
    job_id = api.submit("holiday.jpg")
    api.get(f"/v1/jobs/{job_id}?wait=1", headers={"X-Request-Id": "mine"}).close()

    (span,) = (each for each in memory.spans() if each.name.startswith("GET"))
    assert span.name == "GET /v1/jobs/<job_id>"
    assert span.kind is SpanKind.SERVER
    assert facts(span) == {
        "http.request.method": "GET",
        "http.route": "/v1/jobs/<job_id>",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "fathom.request.id": "mine",
        "fathom.job.id": job_id,
    }


def test_a_request_continues_the_trace_of_its_caller(api: Api, memory: InMemoryTraces):
    api.get("/v1/jobs", headers={"traceparent": SAMPLED}).close()

    span = memory.one("GET /v1/jobs")
    assert (trace_of(span), parent_of(span)) == (TRACE, PARENT)


@pytest.mark.parametrize(
    "given", ["", "nonsense", SAMPLED.upper(), f"{SAMPLED}, {SAMPLED}", "00-" + "0" * 52]
)
def test_a_malformed_traceparent_is_ignored(api: Api, memory: InMemoryTraces, given: str):
    response = api.get("/v1/jobs", headers={"traceparent": given})
    response.close()

    assert response.status_code == 200
    assert memory.one("GET /v1/jobs").parent is None


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/", "/static/page.js", "/openapi.json", "/v1"]
)
def test_probes_and_files_have_no_spans(api: Api, memory: InMemoryTraces, path: str):
    api.get(path).close()

    assert memory.spans() == ()


def test_an_unknown_path_does_not_appear_in_a_span(api: Api, memory: InMemoryTraces):
    api.get("/v1/holiday.jpg?token=secret").close()

    span = memory.one("GET")
    assert facts(span)["http.response.status_code"] == 404
    assert span.status.is_unset
    assert "holiday" not in span.to_json()
    assert "secret" not in span.to_json()


def test_an_unknown_method_does_not_name_a_span(api: Api, memory: InMemoryTraces):
    api.client.open("/v1/jobs", method="HOLIDAY").close()

    assert facts(memory.one("HTTP"))["http.request.method"] == "_OTHER"


def test_an_internal_error_marks_its_span(api: Api, memory: InMemoryTraces):
    api.jobs.away = True
    api.get("/v1/jobs").close()

    span = memory.one("GET /v1/jobs")
    assert (facts(span)["http.response.status_code"], facts(span)["error.type"]) == (503, "503")
    assert not span.status.is_ok
    assert not span.status.is_unset


def test_an_error_while_the_response_is_made_ends_the_span(api: Api, memory: InMemoryTraces):
    def fail(response: Response) -> Response:
        raise ZeroDivisionError

    # This runs before the function that attaches the span to the response.
    api.client.application.after_request(fail)
    api.client.application.testing = True
    with pytest.raises(ZeroDivisionError):
        api.get("/v1/jobs")

    assert facts(memory.one("GET /v1/jobs"))["error.type"] == "ZeroDivisionError"


def test_a_stream_of_events_ends_its_span_with_its_last_byte(api: Api, memory: InMemoryTraces):
    job_id = api.submit("a.jpg")
    api.jobs.cancel(job_id)
    finish_as(api.jobs, job_id, JobState.CANCELED)
    response = api.get(f"/v1/jobs/{job_id}/events", headers={"Accept": "text/event-stream"})
    name = "GET /v1/jobs/<job_id>/events"

    assert memory.named(name) == []
    assert "event: job" in response.text
    response.close()
    assert facts(memory.one(name))["http.response.status_code"] == 200


# --- the job's trace ------------------------------------------------------------------


def by_form(api: Api) -> TestResponse:
    return api.client.post(
        "/v1/jobs", data={"images": (io.BytesIO(b"x"), "holiday.jpg")}, headers={"traceparent": SAMPLED}
    )


def by_announcement(api: Api) -> TestResponse:
    return api.client.post("/v1/jobs", json=ANNOUNCED, headers={"traceparent": SAMPLED})


def by_sources(api: Api) -> TestResponse:
    sources = [{"url": "https://example.org/holiday.jpg"}]
    return api.client.post("/v1/jobs", json={"sources": sources}, headers={"traceparent": SAMPLED})


@pytest.mark.parametrize("submit", [by_form, by_announcement, by_sources])
def test_a_job_remembers_the_request_that_submitted_it(
    api: Api, memory: InMemoryTraces, submit: Callable[[Api], TestResponse]
):
    response = submit(api)
    response.close()
    job_id = response.get_json()["id"]

    span = memory.one("POST /v1/jobs")
    expected = f"00-{TRACE}-{id_of(span)}-01"
    assert api.jobs.get(job_id).traceparent == expected
    assert decode_job(api.objects.get(object_keys.job_record(job_id))).traceparent == expected
    assert (facts(span)["fathom.job.id"], facts(span)["fathom.job.images"]) == (job_id, 1)
    assert "holiday" not in span.to_json()


def test_an_announced_job_stays_in_the_trace_of_its_announcement(api: Api, memory: InMemoryTraces):
    response = api.announce(*ANNOUNCED["uploads"])
    before = api.jobs.get(response.get_json()["id"]).traceparent
    api.client.put(f"/v1/jobs/{response.get_json()['id']}/uploads/0", data=b"holiday").close()
    api.client.post(f"/v1/jobs/{response.get_json()['id']}/start", headers={"traceparent": SAMPLED}).close()

    job = api.jobs.get(response.get_json()["id"])
    assert (job.state, job.traceparent) == (JobState.QUEUED, before)
    assert trace_of(memory.one("POST /v1/jobs/<job_id>/start")) == TRACE


def test_an_unsampled_job_tells_its_workers_so(api: Api, memory: InMemoryTraces):
    response = api.client.post("/v1/jobs", json=ANNOUNCED, headers={"traceparent": UNSAMPLED})
    response.close()

    traceparent = str(api.jobs.get(response.get_json()["id"]).traceparent)
    assert (traceparent[:36], traceparent[-3:]) == (f"00-{TRACE}-", "-00")
    assert memory.spans() == ()


def test_without_tracing_a_job_stores_no_traceparent(make_api: ApiFactory):
    api = make_api()
    response = api.client.post("/v1/jobs", json=ANNOUNCED, headers={"traceparent": SAMPLED})

    assert api.jobs.get(response.get_json()["id"]).traceparent is None
