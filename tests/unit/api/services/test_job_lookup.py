"""Look up jobs that the job store has lost, and jobs that have expired."""

from __future__ import annotations

import pytest

from shared.jobs import object_keys
from shared.jobs.job import JobState, new_job_id
from tests.finalizing import finish_as
from tests.unit.api.conftest import Api


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/images"),
        ("GET", "/archive"),
        ("GET", "/images/0/heatmap"),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ],
)
def test_a_lost_job_is_being_recovered_and_not_unknown(api: Api, method: str, path: str):
    job_id = api.submit("a.jpg")
    api.jobs.delete(job_id)

    response = api.client.open(f"/v1/jobs/{job_id}{path}", method=method)

    assert response.status_code == 503, response.text
    assert response.get_json()["code"] == "job_recovering"
    assert int(response.headers["Retry-After"]) > 0
    assert api.objects.exists(object_keys.job_record(job_id))


def test_after_recovery_an_unknown_job_is_not_found(api: Api):
    job_id = api.submit("a.jpg")
    api.jobs.delete(job_id)
    api.jobs.mark_reconciled()

    assert api.get(f"/v1/jobs/{job_id}").status_code == 404


def test_a_job_that_never_existed_is_not_found(api: Api):
    assert api.get(f"/v1/jobs/{new_job_id()}").status_code == 404
    assert api.get("/v1/jobs/..%2f..%2fetc").status_code == 404


def test_the_object_store_is_only_read_for_unknown_jobs(api: Api):
    job_id = api.submit("a.jpg")
    api.objects.away = True

    assert api.get(f"/v1/jobs/{job_id}").status_code == 200
    assert api.get(f"/v1/jobs/{new_job_id()}").status_code == 503


def test_an_expired_job_is_shown_and_its_results_are_gone(api: Api):
    job_id = api.submit("a.jpg")
    api.work()
    finish_as(api.jobs, job_id, JobState.SUCCEEDED)
    api.jobs.expire(job_id, before=api.jobs.now() + 1)

    assert api.get(f"/v1/jobs/{job_id}").get_json()["state"] == "expired"
    for path in ("/images", "/images/0/heatmap", "/archive"):
        response = api.get(f"/v1/jobs/{job_id}{path}")
        assert (response.status_code, response.get_json()["code"]) == (410, "job_expired"), response.text
    assert api.client.post(f"/v1/jobs/{job_id}/retry").status_code == 409
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204


def test_the_intent_survives_a_loss_of_the_job_store(api: Api):
    job_id = api.submit("a.jpg")

    api.client.post(f"/v1/jobs/{job_id}/pause")

    assert b'"pause"' in api.objects.get(object_keys.intent(job_id))
