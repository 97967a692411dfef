from __future__ import annotations

import threading

from api.routes.health import check_parts
from tests.unit.api.conftest import Api


def test_it_is_alive_whatever_is_unavailable(api: Api) -> None:
    api.jobs.away = api.objects.away = True

    assert api.get("/livez").status_code == 200


def test_it_is_ready_when_all_parts_answer(api: Api) -> None:
    api.jobs.register_worker("w", 3)
    api.jobs.mark_reconciled()
    response = api.get("/readyz")

    assert response.status_code == 200
    assert response.get_json() == {
        "ready": True,
        "degraded": {},
        "parts": {"job_store": {"ok": True, "detail": "ok"}, "object_store": {"ok": True, "detail": "ok"}},
        "slots": 3,
    }


def test_unavailable_parts_are_named(api: Api) -> None:
    api.objects.away = True
    response = api.get("/readyz")

    assert response.status_code == 503
    assert response.get_json()["parts"]["job_store"]["ok"] is True
    assert response.get_json()["parts"]["object_store"]["ok"] is False
    assert "S3" in response.get_json()["parts"]["object_store"]["detail"]
    assert response.headers["Retry-After"] == "5"


def test_without_workers_it_is_ready_and_degraded(api: Api) -> None:
    api.jobs.mark_reconciled()
    response = api.get("/readyz")

    assert (response.status_code, response.get_json()["ready"], response.get_json()["slots"]) == (
        200,
        True,
        0,
    )
    assert response.get_json()["degraded"] == {"workers": "No worker is alive: jobs are accepted, but wait."}


def test_it_says_that_jobs_may_be_missing_during_recovery(api: Api) -> None:
    api.jobs.register_worker("w", 3)
    response = api.get("/readyz")

    assert response.status_code == 200
    assert list(response.get_json()["degraded"]) == ["recovery"]


def test_a_hanging_part_does_not_block_the_check(api: Api) -> None:
    hanging = threading.Event()
    api.objects.before(api.objects.ping, hanging.wait)
    parts = check_parts(api.client.application.extensions["fathom"], patience=0.05)
    hanging.set()

    assert parts["job_store"].ok
    assert parts["object_store"].detail == "No answer within 0.05 seconds."


def test_the_index_links_to_the_other_routes(api: Api) -> None:
    links = api.get("/v1").get_json()["links"]

    assert [api.get(link).status_code for link in links.values()] == [200, 200, 200]
