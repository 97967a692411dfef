from __future__ import annotations

from collections.abc import Callable

import pytest

from api.live.long_poll import preferred_wait
from shared.jobs.job import JobState
from tests.fakes import FakeClock
from tests.finalizing import claim
from tests.unit.api.conftest import Api, ApiFactory, encode_form

FORM = "multipart/form-data; boundary=sep"


def when_watched(api: Api, work: Callable[[], object]) -> None:
    """Call a function as soon as a request waits for a job, when the events of the job are read."""

    def happens(*args: object, **kwargs: object) -> None:
        api.jobs.before(api.jobs.events, None)
        work()

    api.jobs.before(api.jobs.events, happens)


def finish(api: Api) -> None:
    api.work()
    api.jobs.finish(claim(api.jobs), JobState.SUCCEEDED)


# --- what a client prefers ------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5.0),
        ("wait=0", 0.0),
        ("wait=1000", 30.0),
        ("WAIT=5", 5.0),
        (' wait = "5" ', 5.0),
        ("respond-async, wait=7", 7.0),
        ("return=minimal; foo=bar, wait=7; x=y", 7.0),
        ("wait=3, wait=9", 3.0),
        ("", None),
        ("wait", None),
        ("wait=", None),
        ("wait=-1", None),
        ("wait=soon", None),
        ("wait=1.5", None),
        ("wait=٣", None),
        ("await=5", None),
        ("respond-async", None),
    ],
)
def test_a_preference_is_read_as_in_rfc_7240(api: Api, header: str, seconds: float | None) -> None:
    with api.client.application.test_request_context(headers={"Prefer": header}):
        assert preferred_wait(30.0) == seconds


# --- waiting --------------------------------------------------------------------------


def test_a_long_poll_returns_when_the_job_has_ended(api: Api) -> None:
    job_id = api.submit("a.jpg")
    when_watched(api, lambda: finish(api))
    response = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=20"})

    assert response.get_json()["state"] == "succeeded"
    assert response.headers["Preference-Applied"] == "wait=20"
    assert "Retry-After" not in response.headers


def test_a_long_poll_returns_in_time_even_if_the_job_has_not_ended(make_api: ApiFactory) -> None:
    api = make_api(max_wait_seconds=0.3)
    response = api.get(f"/v1/jobs/{api.submit('a.jpg')}", headers={"Prefer": "wait=20"})

    assert response.get_json()["state"] == "queued"
    assert response.headers["Preference-Applied"] == "wait=0"


def test_a_long_poll_for_an_ended_job_returns_at_once(api: Api) -> None:
    job_id = api.submit("a.jpg")
    finish(api)

    assert api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=20"}).get_json()["state"] == "succeeded"


def test_a_client_with_the_current_tag_waits_for_a_change(api: Api) -> None:
    job_id = api.submit("a.jpg", "b.jpg")
    tag = api.get(f"/v1/jobs/{job_id}").headers["ETag"]
    when_watched(api, lambda: api.work(limit=1))
    response = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=20", "If-None-Match": tag})

    assert response.status_code == 200
    assert response.get_json()["counts"]["succeeded"] == 1


def test_a_client_with_an_old_tag_does_not_wait(api: Api) -> None:
    job_id = api.submit("a.jpg", "b.jpg")
    tag = api.get(f"/v1/jobs/{job_id}").headers["ETag"]
    api.work(limit=1)
    response = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=20", "If-None-Match": tag})

    assert response.get_json()["counts"]["succeeded"] == 1


def test_a_submission_may_wait_for_its_end(api: Api) -> None:
    body = encode_form([("images", "a.jpg", b"x")], [])
    when_watched(api, lambda: finish(api))
    response = api.client.post("/v1/jobs", data=body, content_type=FORM, headers={"Prefer": "wait=20"})

    assert response.status_code == 202
    assert response.get_json()["state"] == "succeeded"
    assert response.headers["Preference-Applied"] == "wait=20"
    assert response.headers["Location"] == response.get_json()["links"]["self"]


def test_the_submission_of_an_announced_job_does_not_wait(api: Api) -> None:
    response = api.client.post(
        "/v1/jobs", json={"uploads": [{"name": "a.jpg", "size": 1}]}, headers={"Prefer": "wait=20"}
    )

    assert response.get_json()["state"] == "uploading"
    assert "Preference-Applied" not in response.headers


def test_beyond_the_limit_of_waiters_the_response_comes_at_once(make_api: ApiFactory) -> None:
    api = make_api(max_streams=1)
    job_id = api.submit("a.jpg")
    with api.backend.watcher.watch(job_id):
        response = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=20"})

    assert response.get_json()["state"] == "queued"


def test_a_stopping_process_lets_no_client_wait(api: Api) -> None:
    api.backend.watcher.stop_when(lambda: True)

    assert api.get(f"/v1/jobs/{api.submit('a.jpg')}", headers={"Prefer": "wait=20"}).status_code == 200


def test_a_job_deleted_while_somebody_waits_is_not_found(api: Api) -> None:
    job_id = api.submit("a.jpg")
    when_watched(api, lambda: api.jobs.delete(job_id))
    response = api.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=20"})

    assert response.status_code == 404


# --- polling --------------------------------------------------------------------------


def test_a_job_that_has_not_changed_is_not_sent_again(api: Api) -> None:
    path = f"/v1/jobs/{api.submit('a.jpg', 'b.jpg')}"
    first = api.get(path)
    again = api.get(path, headers={"If-None-Match": first.headers["ETag"]})
    api.work(limit=1)
    changed = api.get(path, headers={"If-None-Match": first.headers["ETag"]})

    assert first.headers["ETag"].startswith('W/"')
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert int(again.headers["Retry-After"]) >= 1
    assert (changed.status_code, changed.get_json()["counts"]["succeeded"]) == (200, 1)
    assert changed.headers["ETag"] != first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize("known", ["*", '"other", W/"another"'])
def test_a_star_matches_any_tag_and_other_tags_do_not_match(api: Api, known: str) -> None:
    path = f"/v1/jobs/{api.submit('a.jpg')}"
    status = api.get(path, headers={"If-None-Match": known}).status_code

    assert status == (304 if known == "*" else 200)


def test_a_poll_says_when_to_poll_again(api: Api) -> None:
    uploading = api.announce({"name": "a.jpg", "size": 1}).get_json()["id"]
    queued = api.submit("a.jpg")
    paused = api.submit("a.jpg")
    api.jobs.pause(paused)
    after = {
        job_id: api.get(f"/v1/jobs/{job_id}").headers["Retry-After"] for job_id in (uploading, queued, paused)
    }

    assert after == {uploading: "10", queued: "2", paused: "10"}


@pytest.mark.parametrize(("done", "total", "seconds"), [(10, 14, "1"), (1, 1000, "10")])
def test_the_poll_interval_of_a_running_job_follows_its_remaining_time(
    make_api: ApiFactory, done: int, total: int, seconds: str
) -> None:
    api = make_api(clock=FakeClock())
    job_id = api.submit(*(f"{n}.jpg" for n in range(total)))
    api.work(limit=done)
    response = api.get(f"/v1/jobs/{job_id}")

    assert response.get_json()["eta_seconds"] is not None
    assert response.headers["Retry-After"] == seconds
