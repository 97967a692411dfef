from __future__ import annotations

import dataclasses
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from flask import Flask
from flask.testing import FlaskClient
from typing_extensions import Buffer
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from api.app import create_app
from api.auth.authenticate import gate_of
from api.middleware.rate_limits import make_limiter
from api.services.backend import Backend, backend_of
from fathom.result_names import SIDECAR, output_files
from shared.idempotency.durable_store import DurableIdempotency
from shared.jobs import object_keys
from shared.jobs.job import ImageFailure, Lease
from shared.observability.tracing import OFF, Tracer
from shared.settings import Settings
from tests.fakes import FakeIdempotency, FakeJobStore, FakeObjectStore, FakeStatistics, FakeTickets
from tests.fakes_chores import FakeChores

CORRUPT = ImageFailure(code="image_corrupt", message="The file is damaged.")


def encode_form(files: list[tuple[str, str, bytes]], fields: list[tuple[str, bytes]]) -> bytes:
    """Encode a form as browsers do; the test client of Flask omits the lines of an empty file."""
    parts = [(f'name="{part}"; filename="{name}"', data) for part, name, data in files]
    parts += [(f'name="{part}"', data) for part, data in fields]
    encoded = (
        f"--sep\r\nContent-Disposition: form-data; {names}\r\n\r\n".encode() + data + b"\r\n"
        for names, data in parts
    )
    return b"".join(encoded) + b"--sep--\r\n"


def sidecar(index: int) -> bytes:
    """Return the `depth.json` of an image in these tests."""
    return json.dumps({"min": index + 0.5, "max": index + 8.0}).encode()


class HookedBody(io.BytesIO):
    """A body that calls a function while it is received."""

    def __init__(self, body: bytes, happens: Callable[[], object]) -> None:
        super().__init__(body)
        self._happens = happens

    def readinto(self, buffer: Buffer, /) -> int:
        self._happens()
        return super().readinto(buffer)


@dataclass
class Api:
    """The API over fake stores, with helpers for tests."""

    jobs: FakeJobStore
    objects: FakeObjectStore
    tickets: FakeTickets
    idempotency: FakeIdempotency
    chores: FakeChores
    settings: Settings
    client: FlaskClient

    @property
    def backend(self) -> Backend:
        return backend_of(self.client.application)

    def post_files(
        self, files: list[tuple[str, bytes]], options: Mapping[str, Any] | None = None
    ) -> TestResponse:
        return self.post_parts([("images", name, data) for name, data in files], options)

    def post_parts(
        self, parts: list[tuple[str, str, bytes]], options: Mapping[str, Any] | None = None
    ) -> TestResponse:
        fields = [] if options is None else [("options", json.dumps(options).encode())]
        return self.post_body(encode_form(parts, fields))

    def post_body(self, body: bytes) -> TestResponse:
        return self.client.post("/v1/jobs", data=body, content_type="multipart/form-data; boundary=sep")

    def submit(self, *names: str, options: Mapping[str, Any] | None = None) -> str:
        """Submit photos that contain their own names; return the id of the job."""
        response = self.post_files([(name, name.encode()) for name in names], options)
        assert response.status_code == 202, response.text
        return str(response.get_json()["id"])

    def announce(self, *uploads: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> TestResponse:
        return self.client.post("/v1/jobs", json={"uploads": uploads, "options": options or {}})

    def work(self, *, failing: Mapping[int, ImageFailure] | None = None, limit: int = 1000) -> None:
        """Process so many images as a worker does. The content of an output names it and its image."""
        while limit > 0 and (lease := self.jobs.lease("worker", limit=limit)) is not None:
            limit -= len(lease.indices)
            for index in lease.indices:
                self._process(lease, index, (failing or {}).get(index))

    def _process(self, lease: Lease, index: int, failure: ImageFailure | None) -> None:
        files = output_files(lease.options) if failure is None else {}
        for output, file in files.items():
            key = object_keys.output(lease.job_id, index, file)
            data = sidecar(index) if file == SIDECAR else f"{output} of {index}".encode()
            self.objects.put(key, data, content_type=object_keys.content_type(file))
        self.jobs.done(lease, index, failure=failure)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.client.get(path, **kwargs)


class QuickRule(Rule):
    """A route whose builder of addresses is compiled once for the apps of all tests: else it is most of an app."""

    compiled: ClassVar[dict[tuple[object, ...], Callable[..., tuple[str, str]]]] = {}

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        # It depends on nothing else; a route brings its own converters when it is called.
        key = self.rule, tuple(self._trace), repr(self.defaults), append_unknown
        if key not in self.compiled:
            self.compiled[key] = super()._compile_builder(append_unknown)
        return self.compiled[key]


@pytest.fixture(autouse=True, scope="session")
def quick_routes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "url_rule_class", QuickRule)
        yield


ApiFactory = Callable[..., Api]


def build_api(
    *,
    public_url: str | None = None,
    tracer: Tracer = OFF,
    clock: Callable[[], float] = time.time,
    **changes: Any,
) -> Api:
    """Return an API over fakes with changed settings; the job store uses the clock."""
    settings = dataclasses.replace(Settings.from_environ({}), **changes)
    jobs, objects, tickets = FakeJobStore(clock), FakeObjectStore(public_url=public_url), FakeTickets()
    idempotency, chores = FakeIdempotency(), FakeChores()
    app = create_app(
        settings,
        jobs=jobs,
        objects=objects,
        tickets=tickets,
        idempotency=DurableIdempotency(idempotency, objects),
        statistics=FakeStatistics(),
        chores=chores,
        limiter=make_limiter("memory://", {}),
        tracer=tracer,
    )
    gate_of(app).exposed = False
    return Api(
        jobs=jobs,
        objects=objects,
        tickets=tickets,
        idempotency=idempotency,
        chores=chores,
        settings=settings,
        client=app.test_client(),
    )


@pytest.fixture
def make_api() -> Iterator[ApiFactory]:
    """An API with changed settings: `make_api(max_job_images=2, public_url="http://s3")`."""
    made: list[Api] = []

    def make(**changes: Any) -> Api:
        made.append(build_api(**changes))
        return made[-1]

    yield make
    for api in made:
        close_api(api)


def close_api(api: Api) -> None:
    """End the threads of an API."""
    backend = api.backend
    backend.watcher.stop_when(lambda: True)
    for pool in (backend.cleaners, backend.senders, backend.probes):
        pool.shutdown()


@pytest.fixture
def api(make_api: ApiFactory) -> Api:
    return make_api()
