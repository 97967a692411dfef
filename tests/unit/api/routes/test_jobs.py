from __future__ import annotations

import pytest

from shared.jobs.job import ImageFailure, JobState
from tests.finalizing import finish_as
from tests.unit.api.conftest import CORRUPT, Api, ApiFactory
from tests.unit.api.routes.test_submissions import problem


def test_a_job_counts_what_is_done(api: Api) -> None:
    job_id = api.submit("a.jpg", "b.jpg", "c.jpg", "d.jpg")
    api.work(limit=2, failing={0: CORRUPT})
    job = api.get(f"/v1/jobs/{job_id}").get_json()

    assert job["state"] == "processing"
    assert job["counts"] == {"total": 4, "succeeded": 1, "failed": 1, "pending": 2}
    assert job["progress"] == 0.5
    assert job["started_at"] >= job["created_at"]


def test_the_links_of_a_job_work(api: Api) -> None:
    links = api.get(f"/v1/jobs/{api.submit('a.jpg')}").get_json()["links"]

    verbs = {"images", "events", "archive", "cancel", "pause", "resume", "retry"}
    assert links == {"self": links["self"]} | {verb: f"{links['self']}/{verb}" for verb in verbs}
    assert [api.get(links[name]).status_code for name in ("self", "images", "archive")] == [200, 200, 200]


def test_jobs_are_listed_page_by_page_each_once(api: Api) -> None:
    ids = {api.submit(f"{n}.jpg") for n in range(5)}
    seen, cursor = [], ""
    while cursor is not None:
        page = api.get(
            "/v1/jobs", query_string={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).get_json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]

    assert set(seen) == ids
    assert len(seen) == 5


def test_an_image_has_its_name_its_state_and_its_outputs(api: Api) -> None:
    job_id = api.submit("a/ü.jpg", "b.jpg", "c.jpg", options={"outputs": ["heatmap", "npy"]})
    api.work(limit=2, failing={1: CORRUPT})
    images = api.get(f"/v1/jobs/{job_id}/images").get_json()["images"]

    assert images == [
        {
            "index": 0,
            "name": "a/ü.jpg",
            "state": "succeeded",
            "error": None,
            "outputs": {name: f"/v1/jobs/{job_id}/images/0/{name}" for name in ("heatmap", "npy", "depth")},
        },
        {
            "index": 1,
            "name": "b.jpg",
            "state": "failed",
            "error": {"code": "image_corrupt", "message": "The file is damaged."},
            "outputs": {},
        },
        {"index": 2, "name": "c.jpg", "state": "pending", "error": None, "outputs": {}},
    ]


def test_images_are_listed_by_state_page_by_page(api: Api) -> None:
    job_id = api.submit(*(f"{n}.jpg" for n in range(10)))
    api.work(failing={n: ImageFailure(code="x", message="y") for n in (1, 4, 5, 9)})
    seen, cursor = [], "0"
    while cursor is not None:
        page = api.get(f"/v1/jobs/{job_id}/images?state=failed&limit=3&cursor={cursor}").get_json()
        seen.append([image["name"] for image in page["images"]])
        cursor = page["next_cursor"]

    assert seen == [["1.jpg", "4.jpg", "5.jpg"], ["9.jpg"]]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=x", "limit"),
        ("?page=1", "page"),
        ("?limit=1&limit=2", "limit"),
        ("/{id}/images?state=done", "state"),
        ("/{id}/images?cursor=-1", "cursor"),
        ("/{id}/images?cursor=99999999999999999999", "cursor"),
        ("/{id}/images?limit=1001", "limit"),
        ("/{id}/uploads?limit=1001", "limit"),
        ("/{id}/archive?output=heatmap", "output"),
        ("/{id}/images/0/heatmap?stream=maybe", "stream"),
    ],
)
def test_an_invalid_query_parameter_is_named(api: Api, path: str, field: str) -> None:
    job_id = api.submit("a.jpg")
    body = problem(api.get("/v1/jobs" + path.format(id=job_id)), 400, "invalid_request")

    assert field in body["detail"]


def test_an_invalid_cursor_is_refused(api: Api) -> None:
    assert api.get("/v1/jobs?cursor=nonsense").status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/images"),
        ("GET", "/images/0/heatmap"),
        ("GET", "/archive"),
        ("GET", "/uploads"),
        ("PUT", "/uploads/0"),
        ("POST", "/start"),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ],
)
@pytest.mark.parametrize("job_id", ["unknown2" * 3 + "ab", "x", "..", "%00", "{fathom}", "*"])
def test_an_unknown_job_is_not_found(api: Api, method: str, path: str, job_id: str) -> None:
    response = api.client.open(f"/v1/jobs/{job_id}{path}", method=method)

    assert response.status_code == 404
    assert response.content_type == "application/problem+json"


def test_a_job_is_paused_and_resumed(api: Api) -> None:
    job_id = api.submit("a.jpg")
    paused = api.client.post(f"/v1/jobs/{job_id}/pause")
    api.tickets.waiting = 0
    resumed = api.client.post(f"/v1/jobs/{job_id}/resume")

    assert (paused.status_code, paused.get_json()["state"]) == (202, "paused")
    assert (resumed.status_code, resumed.get_json()["state"]) == (202, "queued")
    assert api.tickets.waiting == 1


def test_a_job_is_canceled(api: Api) -> None:
    response = api.client.post(f"/v1/jobs/{api.submit('a.jpg')}/cancel")

    assert (response.status_code, response.get_json()["state"]) == (202, "canceling")


def test_failed_images_are_retried(api: Api) -> None:
    job_id = api.submit("a.jpg", "b.jpg")
    api.work(failing={0: CORRUPT})
    finish_as(api.jobs, job_id, JobState.PARTIAL)
    api.tickets.waiting = 0
    response = api.client.post(f"/v1/jobs/{job_id}/retry")

    assert (response.status_code, response.get_json()["state"]) == (202, "queued")
    assert response.get_json()["counts"]["pending"] == 1
    assert api.tickets.waiting == 1


def test_a_verb_that_the_state_does_not_allow_is_a_conflict(api: Api) -> None:
    job_id = api.submit("a.jpg")
    api.work()

    problem(api.client.post(f"/v1/jobs/{job_id}/pause"), 409, "invalid_transition")


def test_a_deleted_job_leaves_nothing(api: Api) -> None:
    kept, deleted = api.submit("a.jpg"), api.submit("b.jpg")
    api.work()
    before = {key for key in api.objects.objects if deleted not in key}

    assert api.client.delete(f"/v1/jobs/{deleted}").status_code == 204
    assert set(api.objects.objects) == before
    assert [job.id for job in api.jobs.list().items] == [kept]
    problem(api.client.delete(f"/v1/jobs/{deleted}"), 404, "job_not_found")


def test_an_interrupted_deletion_is_finished_by_the_next(api: Api) -> None:
    job_id = api.submit("a.jpg")
    api.objects.away = True
    problem(api.client.delete(f"/v1/jobs/{job_id}"), 503, "object_store_unavailable")
    api.objects.away = False

    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert api.objects.objects == {}


def test_names_are_read_once(make_api: ApiFactory) -> None:
    api = make_api()
    job_id = api.submit("a.jpg")
    api.get(f"/v1/jobs/{job_id}/images")
    api.objects.away = True

    assert api.get(f"/v1/jobs/{job_id}/images").get_json()["images"][0]["name"] == "a.jpg"
