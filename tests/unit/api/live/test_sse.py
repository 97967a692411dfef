from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.test import TestResponse

from api.live.sse import Stream
from shared.jobs.job import JobState
from tests.finalizing import finish_as
from tests.unit.api.conftest import CORRUPT, Api, ApiFactory
from tests.unit.api.routes.test_submissions import problem
from tests.waiting import eventually


@dataclass(frozen=True, kw_only=True)
class Event:
    """A server-sent event as a browser sees it."""

    id: str | None
    name: str
    data: Any


def parse(text: str) -> Iterator[Event]:
    """Parse a stream as in the HTML standard, where comments and `retry` are not events."""
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            yield Event(id=fields.get("id"), name=fields["event"], data=json.loads(fields["data"]))


def connect(api: Api, job_id: str, after: str | None = None) -> TestResponse:
    headers = {} if after is None else {"Last-Event-ID": after}
    return api.client.get(f"/v1/jobs/{job_id}/events", headers=headers)


def first_id(api: Api, job_id: str) -> str:
    """Begin a stream, and disconnect after its first event."""
    response = connect(api, job_id)
    for piece in response.iter_encoded():
        for event in parse(piece.decode()):
            response.close()
            assert event.id is not None
            return event.id
    raise AssertionError("The stream ended.")


def follow(api: Api, job_id: str, after: str | None = None) -> list[Event]:
    """Read a stream to its end."""
    return list(parse(connect(api, job_id, after).text))


def finish(api: Api, job_id: str, state: JobState = JobState.SUCCEEDED) -> None:
    finish_as(api.jobs, job_id, state)


def images(seen: list[Event]) -> list[tuple[int, str, str | None]]:
    return [(e.data["index"], e.data["state"], e.data["name"]) for e in seen if e.name == "image"]


def test_a_stream_begins_with_the_job_as_it_is(api: Api) -> None:
    job_id = api.submit("a.jpg", "b.jpg")
    response = connect(api, job_id)
    pieces = response.iter_encoded()
    retry, (event,) = next(pieces), tuple(parse(next(pieces).decode()))
    response.close()

    assert response.content_type.startswith("text/event-stream")
    assert response.headers["X-Accel-Buffering"] == "no"
    assert response.headers["Cache-Control"] == "no-store"
    assert retry == b"retry: 2000\n\n"
    assert (event.name, event.data) == ("job", api.get(f"/v1/jobs/{job_id}").get_json())


def test_a_stream_names_every_image_once_and_then_the_end(api: Api) -> None:
    job_id = api.submit("a/ü.jpg", "b\n.jpg", "写真.jpg")
    start = first_id(api, job_id)
    api.work(failing={1: CORRUPT})
    finish(api, job_id, JobState.PARTIAL)
    seen = follow(api, job_id, start)

    assert images(seen) == [
        (0, "succeeded", "a/ü.jpg"),
        (1, "failed", "b\n.jpg"),
        (2, "succeeded", "写真.jpg"),
    ]
    assert [event.name for event in seen[-1:]] == ["job"]
    assert seen[-1].data["state"] == "partial"
    assert seen[-1].data["counts"] == {"total": 3, "succeeded": 2, "failed": 1, "pending": 0}
    ids = [int(event.id or 0) for event in seen]
    assert ids == sorted(ids)


@pytest.mark.parametrize("given", ["header", "query"])
def test_a_reconnecting_client_misses_no_event_and_gets_none_twice(api: Api, given: str) -> None:
    job_id = api.submit(*(f"{n}.jpg" for n in range(20)))
    start = first_id(api, job_id)
    api.work()
    finish(api, job_id)
    whole = follow(api, job_id, start)

    for place, event in enumerate(whole[:-1]):
        assert event.id is not None
        if given == "header":
            rest = follow(api, job_id, event.id)
        else:
            rest = list(parse(api.get(f"/v1/jobs/{job_id}/events?after={event.id}").text))
        assert images(rest) == images(whole[place + 1 :])
        assert rest[-1] == whole[-1]


def test_another_process_continues_the_stream(api: Api, make_api: ApiFactory) -> None:
    job_id = api.submit("a.jpg", "b.jpg")
    start = first_id(api, job_id)
    api.work()
    finish(api, job_id)
    other = make_api()
    other.client.application.extensions["fathom"] = api.backend

    assert images(follow(other, job_id, start)) == images(follow(api, job_id, start))


def test_a_client_that_has_seen_the_end_must_not_reconnect(api: Api) -> None:
    job_id = api.submit("a.jpg")
    api.work()
    finish(api, job_id)
    (last,) = follow(api, job_id)

    assert (last.name, last.data["state"]) == ("job", "succeeded")
    response = connect(api, job_id, last.id)
    assert (response.status_code, response.data) == (204, b"")


@pytest.mark.parametrize("after", ["1", "nonsense", "99999999999999999999999", "-1"])
def test_a_client_that_is_too_far_behind_must_start_over(api: Api, after: str) -> None:
    job_id = api.submit("a.jpg")
    api.work()
    finish(api, job_id)
    seen = follow(api, job_id, after)

    assert [event.name for event in seen] == ["reset", "job"]
    assert seen[0].id == seen[1].id == api.jobs.last_event(job_id)


def test_a_stream_reports_lost_events(api: Api) -> None:
    job_id = api.submit(*(f"{n}.jpg" for n in range(1500)))
    start = first_id(api, job_id)
    api.work(limit=1500)
    finish(api, job_id)
    seen = follow(api, job_id, start)

    assert [event.name for event in seen] == ["reset", "job"]
    assert seen[-1].data["counts"]["succeeded"] == 1500


def test_a_stream_follows_a_running_job(api: Api) -> None:
    job_id = api.submit(*(f"{n}.jpg" for n in range(6)))
    response = connect(api, job_id)
    pieces = response.iter_encoded()
    seen: list[Event] = []

    def read_until(holds: Callable[[], bool]) -> None:
        while not holds():
            seen.extend(parse(next(pieces).decode()))

    read_until(lambda: bool(seen))
    api.work(limit=2)
    read_until(lambda: len(images(seen)) == 2)
    api.jobs.pause(job_id)
    read_until(lambda: seen[-1].data.get("state") == "paused")
    api.jobs.resume(job_id)
    api.work()
    finish(api, job_id)
    seen.extend(event for piece in pieces for event in parse(piece.decode()))

    assert [index for index, _, _ in images(seen)] == list(range(6))
    states = [event.data["state"] for event in seen if event.name == "job"]
    assert states[0] == "queued"
    assert states[-1] == "succeeded"
    assert "paused" in states


def test_a_deleted_job_ends_its_streams(api: Api) -> None:
    job_id = api.submit("a.jpg")
    response = connect(api, job_id)
    pieces = response.iter_encoded()
    seen = [*parse(next(pieces).decode()), *parse(next(pieces).decode())]
    api.client.delete(f"/v1/jobs/{job_id}")
    seen += [event for piece in pieces for event in parse(piece.decode())]

    assert [event.name for event in seen] == ["job", "deleted"]
    problem(connect(api, job_id), 404, "job_not_found")


def test_a_stream_survives_an_outage_of_the_job_store(api: Api) -> None:
    job_id = api.submit("a.jpg")
    response = connect(api, job_id)
    pieces = response.iter_encoded()
    seen = [*parse(next(pieces).decode()), *parse(next(pieces).decode())]
    api.jobs.away = True
    eventually(lambda: api.jobs.refused, lambda refused: refused >= 2)
    api.jobs.away = False
    api.work()
    finish(api, job_id)
    seen += [event for piece in pieces for event in parse(piece.decode())]

    assert images(seen) == [(0, "succeeded", "a.jpg")]
    assert seen[-1].data["state"] == "succeeded"


def test_an_unreadable_name_suppresses_no_event(api: Api) -> None:
    job_id = api.submit("a.jpg")
    start = first_id(api, job_id)
    api.work()
    finish(api, job_id)
    api.objects.away = True

    assert images(follow(api, job_id, start)) == [(0, "succeeded", None)]


def test_a_stopping_process_ends_its_streams(api: Api) -> None:
    job_id = api.submit("a.jpg")
    response = connect(api, job_id)
    pieces = response.iter_encoded()
    next(pieces), next(pieces)
    api.backend.watcher.stop_when(lambda: True)

    assert list(pieces) == []


def test_an_idle_stream_sends_keep_alives(api: Api) -> None:
    job_id = api.submit("a.jpg")
    app = api.client.application
    with app.test_request_context(), api.backend.watcher.watch(job_id) as watched:
        pieces = Stream(api.backend, watched, None, keep_alive=0.1).run()
        next(pieces), next(pieces)

        assert next(pieces) == ": keep-alive\n\n"


# --- how many -------------------------------------------------------------------------


def test_beyond_the_limit_of_streams_clients_must_poll(make_api: ApiFactory) -> None:
    api = make_api(max_streams=2)
    job_id = api.submit("a.jpg")
    streams = [connect(api, job_id) for _ in range(2)]
    refused = connect(api, job_id)

    problem(refused, 503, "too_many_streams")
    assert int(refused.headers["Retry-After"]) >= 1
    streams.pop().close()
    assert connect(api, job_id).status_code == 200


def test_a_stream_that_never_began_frees_its_place(make_api: ApiFactory) -> None:
    api = make_api(max_streams=1)
    job_id = api.submit("a.jpg")
    for _ in range(3):
        connect(api, job_id).close()

    assert connect(api, job_id).status_code == 200


def test_a_finished_stream_frees_its_place(make_api: ApiFactory) -> None:
    api = make_api(max_streams=1)
    job_id = api.submit("a.jpg")
    api.work()
    finish(api, job_id)

    assert [len(follow(api, job_id)) for _ in range(3)] == [1, 1, 1]
