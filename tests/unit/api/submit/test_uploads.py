from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest

from fathom.options import Options
from shared.errors import ImageError
from shared.jobs import object_keys
from shared.jobs.intent import read_intent
from shared.jobs.job import JobState, Quota, Source, new_job_id
from shared.jobs.manifest import ManifestWriter
from shared.jobs.record import new_job
from tests.fetching import make_fetcher
from tests.unit.api.conftest import Api, ApiFactory, build_api
from tests.unit.api.routes.test_submissions import problem


def announced(api: Api, count: int = 3) -> str:
    return str(api.announce(*({"name": f"{n}.jpg", "size": n} for n in range(count))).get_json()["id"])


def put(api: Api, job_id: str, index: int, data: bytes) -> int:
    return api.client.put(f"/v1/jobs/{job_id}/uploads/{index}", data=data).status_code


def test_an_announced_job_waits_for_its_uploads(api: Api) -> None:
    response = api.announce(
        {"name": "a/ü.jpg", "size": 3}, {"name": "b.jpg", "size": 1}, options={"invert": True}
    )

    assert response.status_code == 202
    job = response.get_json()
    job_id = job["id"]
    assert response.headers["Location"] == f"/v1/jobs/{job_id}"
    assert (job["state"], job["options"]["invert"]) == ("uploading", True)
    assert job["uploads"] == [
        {"index": 0, "name": "a/ü.jpg", "size": 3, "url": f"/v1/jobs/{job_id}/uploads/0", "method": "PUT"},
        {"index": 1, "name": "b.jpg", "size": 1, "url": f"/v1/jobs/{job_id}/uploads/1", "method": "PUT"},
    ]
    assert job["next_cursor"] is None
    assert api.tickets.waiting == 0
    assert api.objects.exists(object_keys.manifest(job_id))


def test_uploads_go_directly_to_the_object_store_if_clients_reach_it(make_api: ApiFactory) -> None:
    job = make_api(public_url="https://s3.example").announce({"name": "a.jpg", "size": 1}).get_json()

    assert job["uploads"][0]["url"].startswith(f"https://s3.example/jobs/{job['id']}/inputs/0?size=1&")


def test_an_announcement_without_a_size_is_refused_and_names_the_upload(api: Api) -> None:
    response = api.announce({"name": "a.jpg", "size": 0}, {"name": "trip/ü.jpg"}, {"name": "c.jpg"})

    assert "uploads.1 ('trip/ü.jpg')" in problem(response, 422, "size_missing")["detail"]
    assert api.objects.objects == {}
    assert api.get("/v1/jobs").get_json()["jobs"] == []


def test_an_oversized_photo_goes_through_the_api_which_truncates_it(make_api: ApiFactory) -> None:
    api = make_api(public_url="https://s3.example", max_image_bytes=1000)
    job = api.announce({"name": "fits.jpg", "size": 1000}, {"name": "big.jpg", "size": 1001}).get_json()
    missing = api.get(f"/v1/jobs/{job['id']}/uploads").get_json()["uploads"]

    for fits, big in (job["uploads"], missing):
        assert fits["url"].startswith("https://s3.example/")
        assert big["url"] == f"/v1/jobs/{job['id']}/uploads/1"


def test_a_job_starts_once_all_uploads_are_there(api: Api) -> None:
    job_id = announced(api)
    assert [put(api, job_id, n, b"x" * n) for n in range(3)] == [204, 204, 204]

    response = api.client.post(f"/v1/jobs/{job_id}/start")

    assert (response.status_code, response.get_json()["state"]) == (202, "queued")
    assert api.tickets.waiting == 1
    assert api.objects.get(object_keys.input_image(job_id, 2)) == b"xx"


def test_a_start_names_what_is_missing_or_has_another_size(api: Api) -> None:
    job_id = announced(api, 4)
    put(api, job_id, 1, b"x")
    api.objects.put(object_keys.input_image(job_id, 2), b"more than announced")

    body = problem(api.client.post(f"/v1/jobs/{job_id}/start"), 409, "uploads_missing")
    assert body["missing"] == ["0.jpg", "2.jpg", "3.jpg"]
    assert body["missing_count"] == 3
    assert api.jobs.get(job_id).state is JobState.UPLOADING


def test_a_start_names_at_most_a_hundred_missing_uploads(api: Api) -> None:
    body = api.client.post(f"/v1/jobs/{announced(api, 150)}/start").get_json()

    assert (len(body["missing"]), body["missing_count"]) == (100, 150)


def test_a_repeated_start_is_no_error_even_after_the_end(api: Api) -> None:
    job_id = announced(api, 1)
    put(api, job_id, 0, b"")
    path = f"/v1/jobs/{job_id}/start"
    states = [api.client.post(path).get_json()["state"], api.client.post(path).get_json()["state"]]
    api.work()
    states.append(api.client.post(path).get_json()["state"])

    assert states == ["queued", "queued", "finalizing"]


def test_a_canceled_job_is_not_started(api: Api) -> None:
    job_id = announced(api)
    api.client.post(f"/v1/jobs/{job_id}/cancel")

    problem(api.client.post(f"/v1/jobs/{job_id}/start"), 409, "invalid_transition")


def test_missing_uploads_are_listed_in_pages_with_fresh_urls(api: Api) -> None:
    job_id = announced(api, 7)
    for index in (0, 3):
        put(api, job_id, index, b"x" * index)
    pages, cursor = [], ""
    while cursor is not None:
        page = api.get(
            f"/v1/jobs/{job_id}/uploads?limit=2" + (f"&cursor={cursor}" if cursor else "")
        ).get_json()
        pages.append([upload["index"] for upload in page["uploads"]])
        cursor = page["next_cursor"]

    assert pages == [[1, 2], [4, 5], [6]]


def test_a_started_job_has_no_missing_uploads(api: Api) -> None:
    assert api.get(f"/v1/jobs/{api.submit('a.jpg')}/uploads").get_json() == {
        "uploads": [],
        "next_cursor": None,
    }


def test_the_response_to_an_announcement_has_the_first_thousand_uploads(api: Api) -> None:
    job = api.announce(*({"name": f"{n}.jpg", "size": 1} for n in range(1001))).get_json()

    assert len(job["uploads"]) == 1000
    assert job["next_cursor"] == "1000"


def test_an_upload_may_be_repeated(api: Api) -> None:
    job_id = announced(api)
    put(api, job_id, 2, b"1.")
    put(api, job_id, 2, b"2.")

    assert api.objects.get(object_keys.input_image(job_id, 2)) == b"2."


@pytest.mark.parametrize("data", [b"", b"x", b"xxx", bytes(2**20)], ids=["none", "less", "more", "much more"])
@pytest.mark.parametrize("is_said", [True, False], ids=["said", "unsaid"])
def test_an_upload_of_another_size_than_announced_is_not_stored(api: Api, data: bytes, is_said: bool) -> None:
    job_id = announced(api)
    path = f"/v1/jobs/{job_id}/uploads/2"
    chunked = {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}

    response = api.client.put(path, data=data, environ_overrides={} if is_said else chunked)

    assert "2 bytes were announced for image 2" in problem(response, 422, "size_mismatch")["detail"]
    assert not api.objects.exists(object_keys.input_image(job_id, 2))
    assert put(api, job_id, 2, b"xx") == 204


def test_a_started_job_refuses_uploads(api: Api) -> None:
    job_id = api.submit("a.jpg")

    problem(api.client.put(f"/v1/jobs/{job_id}/uploads/0", data=b"x"), 409, "invalid_transition")
    assert api.objects.get(object_keys.input_image(job_id, 0)) == b"a.jpg"


@pytest.mark.parametrize("index", ["3", "99999999999999999999", "-1", "x", "1.0"])
def test_only_announced_uploads_are_accepted(api: Api, index: str) -> None:
    response = api.client.put(f"/v1/jobs/{announced(api)}/uploads/{index}", data=b"x")

    problem(response, 404, "not_found")


def test_an_oversized_upload_is_truncated_and_fails_alone(make_api: ApiFactory) -> None:
    api = make_api(max_image_bytes=1000)
    job_id = api.announce({"name": "big.tif", "size": 5000}).get_json()["id"]

    assert put(api, job_id, 0, bytes(5000)) == 204
    assert api.objects.size(object_keys.input_image(job_id, 0)) == 1001
    assert api.client.post(f"/v1/jobs/{job_id}/start").status_code == 202


def test_an_interrupted_upload_is_not_stored(api: Api) -> None:
    job_id = api.announce({"name": "a.jpg", "size": 8}).get_json()["id"]
    path = f"/v1/jobs/{job_id}/uploads/0"
    response = api.client.put(path, data=b"half", environ_overrides={"CONTENT_LENGTH": "8"})

    problem(response, 400, "upload_interrupted")
    assert not api.objects.exists(object_keys.input_image(job_id, 0))


# --- what counts is what is stored ----------------------------------------------------


def test_a_job_is_charged_for_stored_and_not_for_announced_bytes(make_api: ApiFactory) -> None:
    api = make_api(max_image_bytes=1000)
    job_id = api.announce({"name": "a.jpg", "size": 7}, {"name": "big.tif", "size": 5000}).get_json()["id"]
    put(api, job_id, 0, bytes(7))
    put(api, job_id, 1, bytes(5000))
    before = api.jobs.get(job_id).bytes
    api.client.post(f"/v1/jobs/{job_id}/start")

    assert (before, api.jobs.get(job_id).bytes) == (5007, 1008)


def test_the_limits_apply_to_a_job_that_an_earlier_version_announced_without_sizes(api: Api) -> None:
    job_id = new_job_id()
    job = new_job(job_id, total=1, options=Options(), state=JobState.UPLOADING, created_at=1.0)
    with ManifestWriter() as manifest:
        manifest.add(Source(index=0, name="a.jpg"))
        manifest.store(api.objects, job_id)
    api.jobs.create(job, quota=Quota(owner_bytes=10))
    api.objects.put(object_keys.input_image(job_id, 0), bytes(11))

    problem(api.client.post(f"/v1/jobs/{job_id}/start"), 429, "quota_exceeded")
    assert read_intent(api.objects, job_id) is None
    assert put(api, job_id, 0, bytes(10)) == 204
    assert api.client.post(f"/v1/jobs/{job_id}/start").get_json()["state"] == "queued"


@pytest.mark.parametrize("name", ["00", "007", "x", "-1", "1.0", "1/2", "٣", "²", "9" * 30, ""])
def test_an_object_that_is_not_an_input_is_ignored(api: Api, name: str) -> None:
    job_id = announced(api)
    for index in range(3):
        put(api, job_id, index, b"x" * index)
    api.objects.put(object_keys.inputs_prefix(job_id) + name, bytes(77))

    assert api.get(f"/v1/jobs/{job_id}/uploads").get_json()["uploads"] == []
    assert api.client.post(f"/v1/jobs/{job_id}/start").status_code == 202
    assert api.jobs.get(job_id).bytes == 3


def fetched(api: Api, job_id: str, index: int) -> bytes | str:
    """Return the photo as a worker reads it, or the code of its failure."""
    try:
        return make_fetcher(api.objects, most_bytes=100).fetch(job_id, index)
    except ImageError as exc:
        return exc.code


def test_a_photo_replaced_after_the_start_is_not_processed(api: Api) -> None:
    job_id = announced(api)
    for index in range(3):
        put(api, job_id, index, b"x" * index)
    api.client.post(f"/v1/jobs/{job_id}/start")
    api.objects.put(object_keys.input_image(job_id, 1), b"y")
    api.objects.put(object_keys.input_image(job_id, 2), b"xx")

    assert [fetched(api, job_id, index) for index in range(3)] == [b"", "input_changed", b"xx"]


def test_a_refused_start_accepts_no_upload(api: Api) -> None:
    job_id = announced(api, 2)
    put(api, job_id, 0, b"")
    api.client.post(f"/v1/jobs/{job_id}/start")
    put(api, job_id, 1, b"x")
    api.client.post(f"/v1/jobs/{job_id}/start")
    # Only the first successful start counts.
    api.objects.put(object_keys.input_image(job_id, 1), b"y")
    api.client.post(f"/v1/jobs/{job_id}/start")

    assert fetched(api, job_id, 1) == "input_changed"


# --- large albums ---------------------------------------------------------------------


def store(api: Api, job_id: str, indices: Iterable[int]) -> None:
    for index in indices:
        api.objects.put(object_keys.input_image(job_id, index), b"x")


def list_all(api: Api, job_id: str, limit: int = 1000) -> tuple[list[int], int]:
    """List all missing uploads; return their indices and the number of pages."""
    found: list[int] = []
    cursor, pages = "0", 0
    while cursor is not None:
        page = api.get(
            f"/v1/jobs/{job_id}/uploads", query_string={"limit": limit, "cursor": cursor}
        ).get_json()
        found += [upload["index"] for upload in page["uploads"]]
        cursor, pages = page["next_cursor"], pages + 1
    return found, pages


@pytest.fixture(scope="module")
def large() -> Iterator[tuple[Api, str]]:
    """An album of 25,000 uploaded photos, which is too large to list or check it completely for one page."""
    api = build_api()
    job_id = str(api.announce(*({"name": f"{n}.jpg", "size": 1} for n in range(25_000))).get_json()["id"])
    store(api, job_id, range(25_000))
    yield api, job_id
    api.backend.senders.shutdown()


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param(range(0), id="none"),
        pytest.param(range(24_999, 25_000), id="last"),
        pytest.param([0, 999, 1000, 1001, 9_999, 10_000, 12_000, 12_999, 24_000], id="edges"),
        pytest.param(range(500, 3_700, 3), id="many"),
    ],
)
def test_missing_uploads_of_a_large_album_are_found(
    request: pytest.FixtureRequest, large: tuple[Api, str], missing: Sequence[int]
) -> None:
    api, job_id = large
    lacking = set(missing)
    request.addfinalizer(lambda: store(api, job_id, missing))
    for index in lacking:
        api.objects.delete(object_keys.input_image(job_id, index))

    found, pages = list_all(api, job_id)

    assert found == sorted(lacking)
    assert pages <= 4
    if lacking:
        body = problem(api.client.post(f"/v1/jobs/{job_id}/start"), 409, "uploads_missing")
        assert body["missing_count"] == len(lacking)
        assert body["missing"] == [f"{index}.jpg" for index in sorted(lacking)[:100]]


def test_a_page_of_missing_uploads_lists_only_the_objects_it_needs(large: tuple[Api, str]) -> None:
    api, job_id = large
    listed: list[str] = []

    def note(prefix: str, *, after: str = "") -> None:
        listed.extend(key for key in api.objects.objects if key.startswith(prefix) and key > after)

    api.objects.before(api.objects.list, note)
    page = api.get(f"/v1/jobs/{job_id}/uploads?cursor=24000").get_json()
    api.objects.before(api.objects.list, None)

    assert page == {"uploads": [], "next_cursor": None}
    # Those from 24000 to 24999, and 24, 240 to 249, 2400 to 2499.
    assert len(listed) == 1000 + 1 + 10 + 100


def test_an_album_of_a_hundred_thousand_photos_can_be_announced(api: Api) -> None:
    response = api.announce(*({"name": f"trip/IMG_{n:06d}.JPG", "size": 2_000_000} for n in range(100_000)))

    assert response.status_code == 202
    assert response.get_json()["counts"]["total"] == 100_000
    assert len(response.get_json()["uploads"]) == 1000
    (last,) = api.get(f"/v1/jobs/{response.get_json()['id']}/uploads?cursor=99999").get_json()["uploads"]
    assert (last["index"], last["name"]) == (99_999, "trip/IMG_099999.JPG")


def test_a_label_picture_of_an_announced_photo_is_kept_beside_it(api: Api) -> None:
    job_id = announced(api)

    response = api.client.put(f"/v1/jobs/{job_id}/uploads/1/labels", data=b"labels")

    assert response.status_code == 204
    assert api.objects.get(object_keys.labels(job_id, "1.jpg")) == b"labels"


def test_the_bytes_of_label_pictures_count_when_the_job_starts(api: Api) -> None:
    job_id = announced(api, 2)
    for index in range(2):
        put(api, job_id, index, b"x" * index)
    api.client.put(f"/v1/jobs/{job_id}/uploads/1/labels", data=b"labels")

    assert api.client.post(f"/v1/jobs/{job_id}/start").status_code == 202
    assert api.jobs.get(job_id).bytes == 1 + len(b"labels")


def test_label_pictures_have_the_bounds_of_photos(make_api: ApiFactory) -> None:
    api = make_api(max_image_bytes=4)
    job_id = announced(api)

    problem(api.client.put(f"/v1/jobs/{job_id}/uploads/0/labels", data=b"large"), 413, "too_large")
    problem(api.client.put(f"/v1/jobs/{job_id}/uploads/9/labels", data=b"x"), 404, "not_found")
    assert not [*api.objects.list(object_keys.labels_prefix(job_id))]


def test_a_started_job_takes_no_label_pictures(api: Api) -> None:
    job_id = announced(api, 1)
    put(api, job_id, 0, b"")
    api.client.post(f"/v1/jobs/{job_id}/start")

    problem(api.client.put(f"/v1/jobs/{job_id}/uploads/0/labels", data=b"x"), 409, "invalid_transition")
