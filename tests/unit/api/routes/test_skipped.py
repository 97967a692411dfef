"""Jobs whose photos are elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from shared.chores.port import list_id
from shared.jobs import object_keys
from shared.jobs.job import JobState
from shared.jobs.manifest import decode_manifest
from shared.jobs.record import decode_job
from shared.jobs.sources import Listing, decode_listings
from tests.unit.api.conftest import Api, ApiFactory
from tests.unit.api.routes.test_submissions import nothing_is_left, problem

URL = "https://example.org/walk/a.jpg"


@pytest.fixture
def api(make_api: ApiFactory) -> Api:
    return make_api(source_buckets=("album", "other"))


def post(api: Api, *sources: dict[str, Any], **more: Any) -> TestResponse:
    return api.client.post("/v1/jobs", json={"sources": sources, **more})


def test_photos_named_one_by_one_are_queued_at_once_without_being_copied(api: Api) -> None:
    response = post(
        api,
        {"url": URL},
        {"s3": "s3://album/2024/写真.jpg"},
        {"url": "http://EXAMPLE.org:80/b.jpg#x", "name": "called/b.jpg"},
        options={"outputs": ["npy"]},
        title="Walk",
    )

    assert response.status_code == 202, response.text
    job = response.get_json()
    assert (job["state"], job["counts"]["total"], job["title"]) == ("queued", 3, "Walk")
    assert response.headers["Location"] == job["links"]["self"]
    sources = decode_manifest(api.objects.get(object_keys.manifest(job["id"])))
    assert [(s.index, s.name, s.url or s.s3) for s in sources] == [
        (0, "a.jpg", URL),
        (1, "写真.jpg", "s3://album/2024/写真.jpg"),
        (2, "called/b.jpg", "http://example.org/b.jpg"),
    ]
    assert api.tickets.waiting == 1
    assert api.chores.list(job["id"]) == ()


def test_a_prefix_is_listed_by_a_worker(api: Api) -> None:
    job = post(api, {"url": URL}, {"s3_prefix": "s3://album/2024/"}, {"s3_prefix": "s3://other"}).get_json()

    assert (job["state"], job["counts"]["total"], job["progress"]) == ("uploading", 0, 0.0)
    assert {"uploads", "start"}.isdisjoint(job["links"])
    assert decode_listings(api.objects.get(object_keys.sources(job["id"]))) == (
        Listing(url=URL),
        Listing(s3_prefix="s3://album/2024/"),
        Listing(s3_prefix="s3://other/"),
    )
    assert api.chores.get(list_id(job["id"])) is not None
    record = decode_job(api.objects.get(object_keys.job_record(job["id"])))
    assert (record.state, record.gathered) == (JobState.UPLOADING, True)
    assert api.get(job["links"]["images"]).get_json() == {"images": [], "next_cursor": None}
    assert api.get(f"/v1/jobs/{job['id']}/uploads").get_json()["uploads"] == []


def test_a_gathering_job_should_be_polled_soon(api: Api) -> None:
    gathers = post(api, {"s3_prefix": "s3://album/"})
    waits = api.announce({"name": "a.jpg", "size": 1})

    assert int(gathers.headers["Retry-After"]) < int(waits.headers["Retry-After"])


@pytest.mark.parametrize(
    ("source", "status", "code", "says"),
    [
        ({}, 422, "invalid_source", "one of url, s3 and s3_prefix"),
        ({"name": "a.jpg"}, 422, "invalid_source", "one of"),
        ({"url": URL, "s3": "s3://album/a.jpg"}, 422, "invalid_source", "one of"),
        ({"url": "http://127.0.0.1/a.jpg"}, 422, "invalid_source", "sources.1"),
        ({"url": "http://169.254.169.254/latest"}, 422, "invalid_source", "sources.1"),
        ({"url": "http://localhost/"}, 422, "invalid_source", "sources.1"),
        ({"url": "http://2130706433/"}, 422, "invalid_source", "decimal"),
        ({"url": "http://[::1]/"}, 422, "invalid_source", "sources.1"),
        ({"url": "http://user:password@example.org/"}, 422, "invalid_source", "password"),
        ({"url": "http://example.org:6379/"}, 422, "invalid_source", "ports"),
        ({"url": "file:///etc/passwd"}, 422, "invalid_source", "http"),
        ({"url": "a.jpg"}, 422, "invalid_source", "http"),
        ({"s3": "s3://album"}, 422, "invalid_source", "s3://bucket/key"),
        ({"s3": "s3://album/../fathom/jobs/x"}, 422, "invalid_source", "key"),
        ({"s3": "https://album/a.jpg"}, 422, "invalid_source", "s3://"),
        ({"s3": "s3://fathom/jobs/x/inputs/0"}, 403, "sources_off", "'fathom'"),
        ({"s3_prefix": "s3://elsewhere/"}, 403, "sources_off", "'elsewhere'"),
        ({"s3_prefix": "s3://album/", "name": "a.jpg"}, 422, "invalid_source", "keys"),
        ({"url": ""}, 400, "invalid_request", "sources.1.url"),
        ({"url": 7}, 400, "invalid_request", "sources.1.url"),
        ({"url": "https://example.org/" + "a" * 5000}, 400, "invalid_request", "sources.1.url"),
        ({"url": URL, "colour": "red"}, 400, "invalid_request", "sources.1.colour"),
        ("https://example.org/", 400, "invalid_request", "sources.1"),
    ],
)
def test_a_forbidden_source_is_refused_with_its_position(
    api: Api, source: Any, status: int, code: str, says: str
) -> None:
    response = post(api, {"url": URL}, source)

    assert says in problem(response, status, code)["detail"]
    assert nothing_is_left(api)


def test_without_an_allow_list_no_bucket_is_read(make_api: ApiFactory) -> None:
    problem(post(make_api(), {"s3": "s3://album/a.jpg"}), 403, "sources_off")


@pytest.mark.parametrize(
    "source", [{"url": URL}, {"url": "http://photos.internal/a.jpg"}, {"url": "file:///etc/passwd"}]
)
def test_without_url_sources_urls_are_refused(make_api: ApiFactory, source: dict[str, str]) -> None:
    api = make_api(url_sources=False, source_hosts=("photos.internal",), source_buckets=("album",))

    response = post(api, {"s3": "s3://album/a.jpg"}, source)

    assert "URLs" in problem(response, 403, "sources_off")["detail"]
    assert nothing_is_left(api)
    assert post(api, {"s3": "s3://album/a.jpg"}).status_code == 202


def test_an_empty_list_of_sources_is_refused(api: Api) -> None:
    problem(post(api), 422, "no_images")


def test_more_sources_than_a_job_may_hold_are_refused(make_api: ApiFactory) -> None:
    problem(post(make_api(max_job_images=1), {"url": URL}, {"url": URL}), 413, "too_large")


def test_sources_and_uploads_do_not_go_together(api: Api) -> None:
    problem(post(api, {"url": URL}, uploads=[{"name": "a.jpg"}]), 400, "invalid_request")


def test_options_and_fields_are_validated_for_sources_too(api: Api) -> None:
    problem(post(api, {"url": URL}, options={"outputs": ["gold"]}), 422, "invalid_options")
    problem(post(api, {"url": URL}, colour="red"), 400, "invalid_request")


def test_a_host_that_the_operator_allows_is_accepted(make_api: ApiFactory) -> None:
    api = make_api(source_hosts=("127.0.0.1", "photos.internal"))
    urls = ["http://127.0.0.1:9000/a.jpg", "http://photos.internal:8080/b.jpg"]

    assert post(api, *({"url": url} for url in urls)).status_code == 202


def test_the_same_sources_under_the_same_key_give_the_same_job(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = {"sources": [{"url": URL}]}
    first = api.client.post("/v1/jobs", json=body, headers=headers).get_json()
    again = api.client.post("/v1/jobs", json=body, headers=headers).get_json()

    assert first["id"] == again["id"]
    other = api.client.post("/v1/jobs", json={"sources": [{"url": URL + "x"}]}, headers=headers)
    assert other.status_code == 422
