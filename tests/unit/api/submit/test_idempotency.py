from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from werkzeug.test import TestResponse

from api.submit.accept import is_recorded
from api.submit.idempotency import Attempt, Fingerprint
from shared.errors import IdempotencyKeyInUse, JobStoreUnavailable
from shared.idempotency.durable_store import DurableIdempotency
from shared.idempotency.port import Standing
from shared.jobs import object_keys
from tests.fakes import FakeIdempotency, FakeObjectStore
from tests.fakes_jobs import FakeClock
from tests.unit.api.conftest import Api, HookedBody, encode_form
from tests.unit.api.routes.test_submissions import problem

PHOTOS = [("images", "a/b.jpg", b"one"), ("images", "写真.png", b"two")]


def send(
    api: Api,
    files: list[tuple[str, str, bytes]] = PHOTOS,
    fields: list[tuple[str, bytes]] | None = None,
    *,
    key: str = "k",
    boundary: str = "sep",
) -> TestResponse:
    body = encode_form(files, fields or []).replace(b"--sep", f"--{boundary}".encode())
    return api.client.post(
        "/v1/jobs",
        data=body,
        content_type=f"multipart/form-data; boundary={boundary}",
        headers={"Idempotency-Key": key},
    )


def announce(api: Api, body: Mapping[str, Any], key: str = "k") -> TestResponse:
    return api.client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})


def test_the_same_form_under_the_same_key_gives_the_same_job(api: Api) -> None:
    first, second = send(api), send(api, boundary="another")

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.headers["Location"] == second.headers["Location"]
    assert first.get_json() == second.get_json()
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(api.jobs.list().items) == 1


def test_nothing_of_a_repeated_form_is_stored(api: Api) -> None:
    send(api)
    before = dict(api.objects.objects)
    send(api)

    assert api.objects.objects == before
    assert api.tickets.waiting == 1


def test_the_response_to_a_repeat_shows_the_current_job(api: Api) -> None:
    send(api)
    api.work()

    assert send(api).get_json()["counts"]["succeeded"] == 2


def test_the_same_announcement_gives_the_same_job(api: Api) -> None:
    first = announce(
        api, {"uploads": [{"name": "a", "size": 1}, {"name": "b", "size": 1}], "options": {"invert": True}}
    )
    second = announce(
        api, {"options": {"invert": True}, "uploads": [{"size": 1, "name": "a"}, {"name": "b", "size": 1}]}
    )

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.get_json() == second.get_json()
    assert len(second.get_json()["uploads"]) == 2


VR = {"outputs": ["stereo"], "stereo": {"layout": "sbs_full"}}


@pytest.mark.parametrize("again", [VR, {"preset": "vr"}, {"preset": "vr", "clip": "0,100"}])
def test_options_are_the_same_however_they_are_given(api: Api, again: Mapping[str, Any]) -> None:
    uploads = [{"name": "a", "size": 1}]
    forms = [send(api, fields=[("options", json.dumps(options).encode())]) for options in (VR, again)]
    announced = [announce(api, {"uploads": uploads, "options": options}, "j") for options in (VR, again)]

    for first, second in (forms, announced):
        assert (first.status_code, second.status_code) == (202, 202)
        assert first.headers["Location"] == second.headers["Location"]


@pytest.mark.parametrize(
    "again", [b'{"preset": "vr", "size": "original", "edges": "smooth"}', b'{"preset": 1}', b"["]
)
def test_other_options_under_the_same_key_are_refused(api: Api, again: bytes) -> None:
    send(api, fields=[("options", b'{"preset": "vr"}')])

    problem(send(api, fields=[("options", again)]), 422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("files", "fields"),
    [
        ([("images", "a/b.jpg", b"one"), ("images", "写真.png", b"two!")], []),
        ([("images", "a/b.jpg", b"one"), ("images", "other.png", b"two")], []),
        ([("images", "a/b.jpg", b"one")], []),
        ([*PHOTOS, ("images", "c.jpg", b"")], []),
        (PHOTOS[::-1], []),
        ([("images", "a/b.jpg", b"onetwo"), ("images", "写真.png", b"")], []),
        ([("images", "a/b.jpgo", b"ne"), ("images", "写真.png", b"two")], []),
        (PHOTOS, [("options", b'{"invert": true}')]),
        (PHOTOS, [("title", b"Cliffs")]),
    ],
)
def test_another_form_under_the_same_key_is_refused(
    api: Api, files: list[tuple[str, str, bytes]], fields: list[tuple[str, bytes]]
) -> None:
    first = send(api)
    stored = dict(api.objects.objects)
    problem(send(api, files, fields), 422, "idempotency_key_reused")

    assert api.objects.objects == stored
    assert send(api).headers["Location"] == first.headers["Location"]


def test_a_form_and_an_announcement_are_different_payloads(api: Api) -> None:
    send(api)

    problem(announce(api, {"uploads": [{"name": "a/b.jpg", "size": 1}]}), 422, "idempotency_key_reused")


def test_other_keys_give_other_jobs(api: Api) -> None:
    assert send(api, key="k1").get_json()["id"] != send(api, key="k2").get_json()["id"]


def test_without_a_key_the_same_form_gives_another_job(api: Api) -> None:
    assert api.submit("a.jpg") != api.submit("a.jpg")


@pytest.mark.parametrize("key", ["k", '"k"', "8e03978e-40d5-43dd-bc93-6894a57f9324", "!" * 255])
def test_a_key_may_be_quoted(api: Api, key: str) -> None:
    first = send(api, key=key)

    assert send(api, key=f'"{key.strip(chr(34))}"').headers["Location"] == first.headers["Location"]


@pytest.mark.parametrize("key", ["", '""', "two words", "x" * 256, "ключ".encode().decode("latin-1")])
def test_an_invalid_key_is_refused(api: Api, key: str) -> None:
    problem(send(api, key=key), 400, "invalid_request")

    assert api.objects.objects == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (encode_form(PHOTOS, [("options", b'{"no": 1}')]), 422),
        (encode_form(PHOTOS, [])[:-20], 400),
        (encode_form([], []), 422),
    ],
)
def test_a_submission_that_was_refused_frees_its_key(api: Api, body: bytes, status: int) -> None:
    headers = {"Idempotency-Key": "k"}
    content_type = "multipart/form-data; boundary=sep"
    refused = api.client.post("/v1/jobs", data=body, content_type=content_type, headers=headers)

    assert refused.status_code == status
    assert send(api).status_code == 202


def test_an_interrupted_submission_frees_its_key(api: Api) -> None:
    body = encode_form(PHOTOS, [])
    broken = api.client.post(
        "/v1/jobs",
        data=body[:60],
        content_type="multipart/form-data; boundary=sep",
        headers={"Idempotency-Key": "k"},
        environ_overrides={"CONTENT_LENGTH": str(len(body))},
    )

    problem(broken, 400, "upload_interrupted")
    assert send(api).status_code == 202


def test_while_a_submission_runs_a_repeat_must_wait(api: Api) -> None:
    answers: list[TestResponse] = []
    body = encode_form(PHOTOS, [])
    first = api.client.post(
        "/v1/jobs",
        input_stream=HookedBody(body, lambda: answers.append(send(api))),
        content_type="multipart/form-data; boundary=sep",
        content_length=len(body),
        headers={"Idempotency-Key": "k"},
    )

    second = answers[0]
    problem(second, 409, "idempotency_key_in_use")
    assert 1 <= int(second.headers["Retry-After"]) <= 10
    assert first.status_code == 202
    assert send(api).headers["Location"] == first.headers["Location"]


def test_one_of_many_simultaneous_submissions_creates_the_job(api: Api) -> None:
    locations: list[str | None] = []

    def submit() -> None:
        locations.append(send(api).headers.get("Location"))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(locations) - {None}) == 1
    assert len(api.jobs.list().items) == 1


def test_the_deleted_job_of_a_key_is_not_created_again(api: Api) -> None:
    api.client.delete(send(api).headers["Location"])

    problem(send(api), 404, "job_not_found")
    assert list(api.objects.list("jobs/")) == []


def test_while_the_store_of_keys_is_away_nothing_is_received(api: Api) -> None:
    api.idempotency.away = True
    problem(send(api), 503, "job_store_unavailable")

    assert api.objects.objects == {}
    assert api.submit("a.jpg")


# --- what a dead process leaves behind ----------------------------------------------------


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(clock: FakeClock) -> FakeIdempotency:
    return FakeIdempotency(clock)


@pytest.fixture
def durable(keys: FakeIdempotency) -> DurableIdempotency:
    return DurableIdempotency(keys, FakeObjectStore())


@pytest.mark.parametrize("again", [send, lambda api: announce(api, {"uploads": [{"name": "a", "size": 1}]})])
def test_a_repeat_after_a_loss_of_redis_creates_no_second_job(
    api: Api, again: Callable[[Api], TestResponse]
) -> None:
    first = again(api)
    api.idempotency.entries.clear()
    second = again(api)

    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(api.jobs.list().items) == 1


def test_until_the_job_is_recovered_a_repeat_must_wait(api: Api) -> None:
    first = send(api)
    job = api.jobs.get(first.get_json()["id"])
    api.idempotency.entries.clear()
    api.jobs.delete(job.id)
    api.jobs.reconciled = False

    waiting = send(api)

    problem(waiting, 503, "job_recovering")
    assert int(waiting.headers["Retry-After"]) >= 1
    api.jobs.create(job)
    assert send(api).headers["Location"] == first.headers["Location"]
    assert len(api.jobs.list().items) == 1


def test_another_payload_is_refused_after_a_loss_of_redis_too(api: Api) -> None:
    send(api)
    api.idempotency.entries.clear()

    problem(send(api, [("images", "other.jpg", b"other")]), 422, "idempotency_key_reused")


def seal_and_die(keys: FakeIdempotency, job_id: str) -> None:
    """Claim and seal a key, as a process does before it dies."""
    fingerprint = Fingerprint()
    fingerprint.add("payload")
    keys.claim("me", "k", "dead")
    keys.seal("me", "k", "dead", fingerprint=fingerprint.text(), job_id=job_id)


def test_a_repeat_returns_the_job_recorded_by_a_process_that_died(
    api: Api, keys: FakeIdempotency, durable: DurableIdempotency, clock: FakeClock
) -> None:
    job_id = api.submit("a.jpg")
    seal_and_die(keys, job_id)
    clock.advance(91)
    attempt = Attempt(durable, "me", "k")
    with attempt.begun(partial(is_recorded, api.backend)):
        attempt.fingerprint.add("payload")
        job = attempt.job_before(api.jobs.get)

    assert attempt.is_repeated
    assert job.id == job_id
    assert keys.claim("me", "k", "t").standing is Standing.DONE


def test_a_repeat_creates_the_job_that_a_dead_process_did_not_record(
    api: Api, keys: FakeIdempotency, durable: DurableIdempotency, clock: FakeClock
) -> None:
    seal_and_die(keys, "a" * 26)
    recorded = partial(is_recorded, api.backend)
    with pytest.raises(IdempotencyKeyInUse), Attempt(durable, "me", "k").begun(recorded):
        pass
    clock.advance(91)
    attempt = Attempt(durable, "me", "k")
    with attempt.begun(recorded):
        attempt.seal("b" * 26)

    assert not attempt.is_repeated
    assert keys.claim("me", "k", "t").job_id == "b" * 26


def test_a_submission_that_lost_its_key_records_no_job(
    keys: FakeIdempotency, durable: DurableIdempotency, clock: FakeClock
) -> None:
    slow = Attempt(durable, "me", "k")

    def lose_and_seal() -> None:
        with slow.begun(_no_job):
            clock.advance(91)
            keys.claim("me", "k", "other")
            slow.seal("a" * 26)

    with pytest.raises(IdempotencyKeyInUse):
        lose_and_seal()

    assert keys.claim("me", "k", "third").standing is Standing.RUNNING


def test_an_outage_of_the_keys_does_not_hide_the_original_error(
    keys: FakeIdempotency, durable: DurableIdempotency
) -> None:
    def fail() -> None:
        with Attempt(durable, "me", "k").begun(_no_job):
            keys.away = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_an_outage_of_the_keys_is_reported(keys: FakeIdempotency, durable: DurableIdempotency) -> None:
    keys.away = True
    with pytest.raises(JobStoreUnavailable), Attempt(durable, "me", "k").begun(_no_job):
        pass


def test_a_record_without_its_objects_does_not_count_as_a_job(api: Api) -> None:
    job_id = api.submit("a.jpg")
    api.objects.delete(object_keys.job_record(job_id))

    assert not is_recorded(api.backend, job_id)


def _no_job(job_id: str) -> bool:
    raise AssertionError("No job may be looked up.")
