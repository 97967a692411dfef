"""Traces of real server and worker processes, sent to a collector in the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from fathom.stack.servers import free_ports, tied_to_parent
from shared.objectstore.s3 import S3ObjectStore
from tests.conftest import empty
from tests.integration.api_servers import CONFIG, ApiServer, launch
from tests.origins import Origin, Request, answer, origin
from tests.processes import children, end_group
from tests.traces import PARENT, SAMPLED, TRACE
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
EXPORTS = "/v1/traces"
STAGES = {"fetch", "decode", "prepare", "infer", "upsample", "colour", "encode", "store"}
PHOTOS, CHILDREN = 3, 2


# --- a collector ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ReceivedSpan:
    """A received span."""

    service: str
    span: Span

    @property
    def facts(self) -> dict[str, Any]:
        values = ((each.key, each.value) for each in self.span.attributes)
        return {key: getattr(value, value.WhichOneof("value")) for key, value in values}


@dataclass(frozen=True, kw_only=True)
class Collector:
    """A server that receives spans, serves the photos, and receives the webhook."""

    server: Origin

    def _all_spans(self) -> list[ReceivedSpan]:
        """Return the spans of the tested trace."""
        found = []
        for request in self.exports():
            for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                names = {each.key: each.value.string_value for each in resource.resource.attributes}
                spans = (span for scope in resource.scope_spans for span in scope.spans)
                found += [ReceivedSpan(service=names["service.name"], span=span) for span in spans]
        return [each for each in found if each.span.trace_id.hex() == TRACE]

    def named(self, name: str) -> list[ReceivedSpan]:
        return [each for each in self._all_spans() if each.span.name == name]

    def children_of(self, parent: ReceivedSpan) -> set[str]:
        return {
            each.span.name for each in self._all_spans() if each.span.parent_span_id == parent.span.span_id
        }

    def exports(self) -> list[Request]:
        return [request for request in self.server.requests if request.path == EXPORTS]

    def other_requests(self) -> list[Request]:
        return [request for request in self.server.requests if request.path != EXPORTS]

    def job(self) -> dict[str, Any]:
        """Return a job of photos at URLs, with a webhook."""
        photo = (ROOT / "samples" / "rocket.jpg").read_bytes()
        self.server.serve("/hook", answer("204 No Content"))
        paths = [f"/holiday-{number}.jpg" for number in range(PHOTOS)]
        return {
            "sources": [{"url": self.server.serve(path, answer("200 OK", photo))} for path in paths],
            "webhook": {"url": self.server.url("/hook")},
            # A JPEG goes through all stages: the strips of an indexed PNG are coloured as they are encoded.
            "options": {"heatmap_format": "jpeg"},
        }


@pytest.fixture
def hanging() -> Iterator[Collector]:
    """A collector that never responds."""
    over = threading.Event()

    def hang(request: Request) -> Iterator[bytes]:
        over.wait()
        yield answer("200 OK")

    with origin() as server:
        server.respond(EXPORTS, hang)
        yield Collector(server=server)
        over.set()


# --- an API and a worker --------------------------------------------------------------


class TracedService:
    """One API process and one worker, with the servers of the run."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.api: ApiServer = launch(CONFIG, free_ports(1)[0], environ, folder / "api.log")
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", f"--concurrency={CHILDREN}"]
        with (folder / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                tied_to_parent([*command, "--without-gossip", "--without-mingle"]),
                env={**os.environ, **environ},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        eventually(self._is_ready)

    def kill(self) -> None:
        end_group(self.worker)
        self.api.end()

    def stop(self) -> None:
        """Stop both with SIGTERM, and wait for them."""
        for process in (self.worker, self.api.process):
            process.terminate()
        for process in (self.worker, self.api.process):
            process.wait(60)

    def children(self) -> set[int]:
        return set(children(self.worker.pid))

    def replace_children(self) -> None:
        """Kill the children of the worker, and wait for their replacements."""
        before = self.children()
        for child in before:
            os.kill(child, signal.SIGKILL)
        eventually(lambda: len(self.children() - before) == CHILDREN)

    def submit(self, job: dict[str, Any]) -> str:
        """Submit a job from within a trace, and wait for its end."""
        response = self.api.http.post("/v1/jobs", json=job, headers={"traceparent": SAMPLED})
        assert response.status_code == 202, response.text
        address = response.json()["links"]["self"]
        eventually(lambda: self.api.http.get(address).json()["state"], lambda state: state == "succeeded")
        return str(response.json()["id"])

    def _is_ready(self) -> bool:
        assert self.worker.poll() is None
        try:
            return bool(self.api.http.get("/readyz").json()["slots"] == CHILDREN)
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def stores(
    valkey_database: str, seaweed_environ: dict[str, str], seaweed_store: S3ObjectStore
) -> dict[str, str]:
    """The settings of both stores, empty."""
    empty(seaweed_store)
    return {"FATHOM_REDIS_URL": valkey_database, **seaweed_environ}


@contextmanager
def service(folder: Path, stores: Mapping[str, str], collector: Collector) -> Iterator[TracedService]:
    environ = {
        **stores,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.server.url(""),
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=albums",
        # All spans were sent when a process ended.
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
        "FATHOM_ENGINE": "simulated",
        "FATHOM_SIMULATE": "network",
        "FATHOM_SOURCE_HOSTS": "127.0.0.1",
        "FATHOM_WEBHOOK_SECRETS": "whsec_" + "c2VjcmV0" * 5,
        "FATHOM_LOG_FORMAT": "json",
    }
    started = TracedService(folder, environ)
    try:
        started.wait()
        yield started
    finally:
        started.kill()


@pytest.fixture(scope="module")
def collector(stores: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """A collector with all spans of one job, which late-started children processed."""
    with origin() as server:
        server.serve(EXPORTS, answer("200 OK", Content_Type="application/x-protobuf", Connection="close"))
        collector = Collector(server=server)
        with service(tmp_path_factory.mktemp("traced"), stores, collector) as started:
            started.replace_children()
            started.submit(collector.job())
            eventually(lambda: any(request.path == "/hook" for request in server.requests))
            started.stop()
        yield collector


def test_one_trace_connects_the_request_with_the_stages_of_every_image(collector: Collector) -> None:
    (request,) = collector.named("POST /v1/jobs")
    images = collector.named("render image")

    assert (request.service, request.span.kind) == ("fathom-api", Span.SPAN_KIND_SERVER)
    assert request.span.parent_span_id.hex() == PARENT
    assert (request.facts["http.response.status_code"], request.facts["fathom.job.images"]) == (202, PHOTOS)
    assert {image.service for image in images} == {"fathom-worker"}
    assert {image.span.parent_span_id for image in images} == {request.span.span_id}
    assert {image.span.kind for image in images} == {Span.SPAN_KIND_CONSUMER}
    assert sorted(image.facts["fathom.image.index"] for image in images) == list(range(PHOTOS))
    assert {image.facts["fathom.outcome"] for image in images} == {"succeeded"}
    assert [collector.children_of(image) for image in images] == [STAGES] * PHOTOS


@pytest.mark.parametrize("name", ["finalize job", "deliver chore"])
def test_chores_and_the_end_of_a_job_are_in_its_trace(collector: Collector, name: str) -> None:
    (request,) = collector.named("POST /v1/jobs")
    (received,) = collector.named(name)

    assert (received.service, received.span.parent_span_id) == ("fathom-worker", request.span.span_id)
    assert received.facts["fathom.job.id"] == request.facts["fathom.job.id"]


def test_traces_go_only_to_the_collector_and_contain_no_names(collector: Collector) -> None:
    others = collector.other_requests()

    assert {request.path for request in others} == {"/hook", *(f"/holiday-{n}.jpg" for n in range(PHOTOS))}
    headers = {name for request in others for name in request.headers}
    assert not headers & {"traceparent", "tracestate", "baggage", "x-tenant"}
    assert {request.headers.get("x-tenant") for request in collector.exports()} == {"albums"}
    assert not any(b"holiday" in request.body for request in collector.exports())


def test_a_hanging_collector_fails_no_image_and_delays_no_end(
    stores: dict[str, str], hanging: Collector, tmp_path: Path
) -> None:
    with service(tmp_path, stores, hanging) as started:
        started.submit(hanging.job())
        started.stop()

    assert hanging.exports()
