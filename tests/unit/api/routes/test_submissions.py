from __future__ import annotations

import io
import itertools
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from fathom.options import Normalize, Options
from shared.errors import ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import JobState
from shared.jobs.manifest import decode_manifest
from shared.jobs.record import decode_job
from tests.unit.api.conftest import Api, ApiFactory, HookedBody, encode_form


def problem(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """Check that a response is a problem, and return it."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = json.loads(response.data)
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:fathom:problem:{code}"
    assert body["request_id"] == response.headers["X-Request-Id"]
    return body


def zip_of(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def test_a_form_becomes_a_queued_job(api: Api) -> None:
    began = datetime.now(UTC)
    response = api.post_files(
        [("a/b.jpg", b"one"), ("写真 😀.png", b"two")], {"outputs": ["heatmap", "depth16"]}
    )

    assert response.status_code == 202
    job = response.get_json()
    assert response.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert job["state"] == "queued"
    assert job["counts"] == {"total": 2, "succeeded": 0, "failed": 0, "pending": 2}
    assert job["options"]["outputs"] == ["heatmap", "depth16"]
    assert (job["progress"], job["images_per_second"], job["eta_seconds"]) == (0.0, None, None)
    assert (job["started_at"], job["ended_at"], job["skipped"]) == (None, None, [])
    created = datetime.fromisoformat(job["created_at"])
    assert job["created_at"].endswith("Z")
    # It is stored in milliseconds.
    assert began - timedelta(milliseconds=1) <= created <= datetime.now(UTC)


def test_an_accepted_job_is_durable(api: Api) -> None:
    job_id = api.submit("a/b.jpg", "写真.png", options={"normalize": "job"})

    assert api.objects.get(object_keys.input_image(job_id, 0)) == b"a/b.jpg"
    assert api.objects.get(object_keys.input_image(job_id, 1)) == "写真.png".encode()
    sources = decode_manifest(api.objects.get(object_keys.manifest(job_id)))
    assert [(s.index, s.name, s.size) for s in sources] == [(0, "a/b.jpg", 7), (1, "写真.png", 10)]
    assert decode_job(api.objects.get(object_keys.job_record(job_id))) == api.jobs.get(job_id)
    assert api.jobs.get(job_id).options == Options(normalize=Normalize.JOB, model="midas_small")
    assert api.tickets.waiting == 1


@pytest.mark.parametrize(
    ("images", "slots", "tickets"), [(1, 0, 1), (20, 0, 1), (20, 1, 2), (20, 8, 3), (16, 8, 2), (100, 4, 8)]
)
def test_the_number_of_tickets_follows_from_images_and_slots(
    api: Api, images: int, slots: int, tickets: int
) -> None:
    if slots:
        api.jobs.register_worker("w", slots)
    api.submit(*(f"{n}.jpg" for n in range(images)))

    assert api.tickets.waiting == tickets


def test_an_unpublished_ticket_does_not_fail_the_submission(api: Api) -> None:
    api.tickets.away = True

    assert api.jobs.get(api.submit("a.jpg")).state is JobState.QUEUED


def test_many_photos_keep_their_order(api: Api) -> None:
    names = [f"{n}.jpg" for n in range(300)]
    job_id = api.submit(*names)

    assert [api.objects.get(object_keys.input_image(job_id, n)).decode() for n in range(300)] == names


def test_options_may_come_before_the_photos(api: Api) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="options"\r\n\r\n{"invert": true}\r\n'
        b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\ndata\r\n--x--\r\n'
    )
    response = api.client.post("/v1/jobs", data=body, content_type="multipart/form-data; boundary=x")

    assert response.get_json()["options"]["invert"] is True


@pytest.mark.parametrize("way", ["form", "announcement", "sources"])
def test_a_preset_is_expanded_before_the_job_is_recorded(api: Api, way: str) -> None:
    options = {"preset": "3dgs", "colormap": "turbo"}
    body: dict[str, dict[str, Any]] = {
        "announcement": {"uploads": [{"name": "a.jpg", "size": 1}]},
        "sources": {"sources": [{"url": "https://example.com/a.jpg"}]},
    }
    if way == "form":
        response = api.post_files([("a.jpg", b"x")], options)
    else:
        response = api.client.post("/v1/jobs", json=body[way] | {"options": options})

    assert response.status_code == 202, response.text
    shown = response.get_json()["options"]
    job_id = response.get_json()["id"]
    record = json.loads(api.objects.get(object_keys.job_record(job_id)))
    assert shown == Options.parse({**options, "model": "midas_small"}).to_json() == record["options"]
    assert (shown["outputs"], shown["depth16"], shown["colormap"]) == (
        ["depth16"],
        {"folder": "depths"},
        "turbo",
    )
    assert api.get(f"/v1/jobs/{job_id}").get_json()["options"] == shown


def test_a_job_shows_options_that_can_be_submitted_again(api: Api) -> None:
    job_id = api.submit("a.jpg", options={"outputs": ["stereo"], "stereo": {"layout": "tb_half"}})
    shown = api.get(f"/v1/jobs/{job_id}").get_json()["options"]

    assert shown["stereo"]["layout"] == "tb_half"
    assert not {"mesh", "depth16", "preset"} & shown.keys()
    assert api.get(f"/v1/jobs/{api.submit('b.jpg', options=shown)}").get_json()["options"] == shown


def test_photos_of_archives_and_files_are_one_album(api: Api) -> None:
    archive = zip_of(("in/a.jpg", b"A"), ("notes.txt", b"hello"), ("in/b.png", b"B"))
    response = api.post_parts(
        [("images", "first.jpg", b"F"), ("archive", "x.zip", archive), ("archive", "y.zip", archive)]
    )

    assert response.get_json()["skipped"] == ["notes.txt", "notes.txt"]
    images = api.get(response.get_json()["links"]["images"]).get_json()["images"]
    assert sorted(image["name"] for image in images) == [
        "first.jpg",
        "in/a.jpg",
        "in/a.jpg",
        "in/b.png",
        "in/b.png",
    ]


def test_a_field_left_empty_in_a_browser_is_ignored(api: Api) -> None:
    response = api.post_parts([("images", "a.jpg", b"A"), ("images", "", b""), ("archive", "", b"")])

    assert response.get_json()["counts"]["total"] == 1


def test_an_empty_file_is_an_image_that_will_fail(api: Api) -> None:
    response = api.post_files([("empty.jpg", b"")])

    assert response.get_json()["counts"]["total"] == 1
    assert api.objects.size(object_keys.input_image(response.get_json()["id"], 0)) == 0


def test_names_that_cannot_be_encoded_are_fixed(api: Api) -> None:
    response = api.announce({"name": "nul\x00.jpg", "size": 1})

    assert response.get_json()["uploads"][0]["name"] == "nul\ufffd.jpg"


def test_an_oversized_photo_is_truncated_and_fails_alone(make_api: ApiFactory) -> None:
    api = make_api(max_image_bytes=1000)
    job_id = api.post_files([("big.jpg", bytes(5000))]).get_json()["id"]

    assert api.objects.size(object_keys.input_image(job_id, 0)) == 1001


# --- what is refused --------------------------------------------------------


def nothing_is_left(api: Api) -> bool:
    return not api.objects.objects and not api.jobs.list().items and not api.tickets.waiting


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ('{"outputs": ["gold"]}', "outputs must be one of heatmap, depth16"),
        ('{"colour": "red"}', "colour"),
        ('{"clip": [90, 10]}', "percentiles must be two percentiles"),
        ('{"outputs": ["stereo"], "stereo": {"layout": "cube"}}', "stereo.layout must be one of sbs_full"),
        ('{"stereo": {}}', "stereo has options, but is not among the outputs"),
        ('{"preset": "cinema"}', "preset must be one of vr, web3d, blender, controlnet, 3dgs, game, print"),
        ('{"preset": null}', "preset must be one of vr"),
        ("[]", "must be a JSON object"),
        ("{", "not valid JSON"),
        ("\xff", "not valid JSON"),
        ("[" * 50_000, "not valid JSON"),
        ("", "not valid JSON"),
    ],
)
def test_bad_options_are_refused(api: Api, options: str, says: str) -> None:
    form = {"images": (io.BytesIO(b"x"), "a.jpg"), "options": options}
    response = api.client.post("/v1/jobs", data=form, content_type="multipart/form-data")

    assert says in problem(response, 422, "invalid_options")["detail"]
    assert nothing_is_left(api)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [("images", "", b"")],
        [("archive", "a.zip", zip_of())],
        [("archive", "a.zip", zip_of(("a.txt", b"text")))],
    ],
    ids=["nothing", "empty_field", "empty_archive", "archive_without_photos"],
)
def test_a_form_without_photos_is_refused(api: Api, parts: list[tuple[str, str, bytes]]) -> None:
    problem(api.post_parts(parts, {}), 422, "no_images")
    assert nothing_is_left(api)


@pytest.mark.parametrize("name", ["a", "b"])
def test_unknown_parts_are_named(api: Api, name: str) -> None:
    response = api.post_parts([("images", "a.jpg", b"x"), (name, "b.jpg", b"x")])

    assert f"'{name}'" in problem(response, 400, "invalid_request")["detail"]
    assert nothing_is_left(api)


def test_a_second_options_part_is_refused(api: Api) -> None:
    form = {"images": (io.BytesIO(b"x"), "a.jpg"), "options": ["{}", "{}"]}
    response = api.client.post("/v1/jobs", data=form, content_type="multipart/form-data")

    problem(response, 400, "invalid_request")


@pytest.mark.parametrize("form", [True, False])
def test_more_images_than_a_job_may_hold_are_refused(make_api: ApiFactory, form: bool) -> None:
    api = make_api(max_job_images=2)
    files = [(f"{n}.jpg", b"x") for n in range(3)]
    response = (
        api.post_files(files) if form else api.announce(*({"name": name, "size": 1} for name, _ in files))
    )

    assert "at most 2 images" in problem(response, 413, "too_large")["detail"]
    assert nothing_is_left(api)


def test_an_archive_of_too_many_images_is_refused(make_api: ApiFactory) -> None:
    api = make_api(max_job_images=2)
    archive = zip_of(*((f"{n}.jpg", b"x") for n in range(3)))

    problem(api.post_parts([("archive", "a.zip", archive)]), 413, "too_large")
    assert nothing_is_left(api)


def test_more_archives_than_a_form_may_hold_are_refused(api: Api) -> None:
    archive = zip_of(("a.jpg", b"x"))

    problem(api.post_parts([("archive", f"{n}.zip", archive) for n in range(17)]), 413, "too_large")
    assert nothing_is_left(api)


def test_a_body_that_is_too_long_is_refused_by_its_announced_length(make_api: ApiFactory) -> None:
    problem(make_api(max_request_bytes=1000).post_files([("a.jpg", bytes(1000))]), 413, "too_large")


class Unannounced(io.BytesIO):
    """A body of unknown length, as sent in chunks."""


def test_a_body_that_is_too_long_is_refused_while_it_is_read(make_api: ApiFactory) -> None:
    api = make_api(max_request_bytes=1000)
    body = (
        b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
        + bytes(5000)
        + b"\r\n--x--\r\n"
    )
    response = api.client.post(
        "/v1/jobs",
        input_stream=Unannounced(body),
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": None},
    )

    problem(response, 413, "too_large")
    assert nothing_is_left(api)


def test_a_bomb_is_refused(make_api: ApiFactory) -> None:
    api = make_api(max_request_bytes=100_000)
    bomb = zip_of(*((f"{n}.jpg", bytes(60_000)) for n in range(2)))

    problem(api.post_parts([("archive", "a.zip", bomb)]), 413, "too_large")
    assert nothing_is_left(api)


def test_a_file_that_is_not_an_archive_is_refused(api: Api) -> None:
    response = api.post_parts([("images", "a.jpg", b"x"), ("archive", "a.zip", b"Rar!")])

    problem(response, 422, "invalid_archive")
    assert nothing_is_left(api)


@pytest.mark.parametrize("cut", [1, 3, 10, 60, 100])
def test_a_truncated_form_leaves_nothing(api: Api, cut: int) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\ndata\r\n'
    body = part * 20 + b"--x--"
    response = api.client.post("/v1/jobs", data=body[:-cut], content_type="multipart/form-data; boundary=x")

    problem(response, 400, "malformed_form")
    assert nothing_is_left(api)


def test_a_client_that_disconnects_leaves_nothing(api: Api) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\ndata\r\n'
    response = api.client.post(
        "/v1/jobs",
        input_stream=io.BytesIO(part * 20),
        content_type="multipart/form-data; boundary=x",
        environ_overrides={"CONTENT_LENGTH": str(len(part) * 40)},
    )

    problem(response, 400, "upload_interrupted")
    assert nothing_is_left(api)


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("multipart/form-data", 400, "malformed_form"),
        ("multipart/form-data; boundary=", 400, "malformed_form"),
        ("text/plain", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ("multipart/mixed; boundary=x", 415, "unsupported_media_type"),
        ("image/jpeg", 415, "unsupported_media_type"),
        ("", 415, "unsupported_media_type"),
    ],
)
def test_a_body_of_another_type_is_refused(api: Api, content_type: str, status: int, code: str) -> None:
    problem(api.client.post("/v1/jobs", data=b"x", content_type=content_type), status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "invalid_request"),
        ("{", 400, "invalid_request"),
        ("null", 400, "invalid_request"),
        ("[]", 400, "invalid_request"),
        ("{}", 400, "invalid_request"),
        ('{"uploads": []}', 422, "no_images"),
        ('{"uploads": [{}]}', 400, "invalid_request"),
        ('{"uploads": [{"name": "", "size": 1}]}', 400, "invalid_request"),
        ('{"uploads": [{"name": 7}]}', 400, "invalid_request"),
        ('{"uploads": [{"name": "a", "size": -1}]}', 400, "invalid_request"),
        ('{"uploads": [{"name": "a", "colour": 1}]}', 400, "invalid_request"),
        ('{"uploads": [{"name": "a", "size": 1}], "extra": 1}', 400, "invalid_request"),
        ('{"sources": ["http://127.0.0.1/"]}', 400, "invalid_request"),
        ('{"uploads": [{"name": "a", "size": 1}], "options": {"x": 1}}', 422, "invalid_options"),
        ('{"uploads": [{"name": "\\ud800", "size": 1}]}', 400, "invalid_request"),
        ("[" * 100_000, 400, "invalid_request"),
        (b'{"uploads": [{"name": "\xff", "size": 1}]}', 400, "invalid_request"),
    ],
)
def test_json_without_a_valid_announcement_is_refused(
    api: Api, body: str | bytes, status: int, code: str
) -> None:
    problem(api.client.post("/v1/jobs", data=body, content_type="application/json"), status, code)
    assert nothing_is_left(api)


def test_every_wrong_field_is_named(api: Api) -> None:
    body = '{"uploads": [{"name": "a", "size": -1}], "extra": 1}'
    response = api.client.post("/v1/jobs", data=body, content_type="application/json")

    errors = problem(response, 400, "invalid_request")["errors"]
    assert {error["field"] for error in errors} == {"uploads.0.size", "extra"}


# --- when a part is away ----------------------------------------------------


def test_without_an_object_store_the_answer_is_503(api: Api) -> None:
    api.objects.away = True
    response = api.post_files([(f"{n}.jpg", b"x") for n in range(20)])

    problem(response, 503, "object_store_unavailable")
    assert int(response.headers["Retry-After"]) > 0


def test_without_a_job_store_nothing_is_received(api: Api) -> None:
    api.jobs.away = True
    problem(api.post_files([("a.jpg", b"x")]), 503, "job_store_unavailable")

    assert api.objects.objects == {}


def test_an_outage_of_the_job_store_during_a_submission_leaves_photos_but_no_job_json(
    api: Api,
) -> None:
    def go_away() -> None:
        api.jobs.away = True

    body = encode_form([("images", "a.jpg", b"x")], [])
    response = api.client.post(
        "/v1/jobs",
        input_stream=HookedBody(body, go_away),
        content_type="multipart/form-data; boundary=sep",
        content_length=len(body),
    )

    problem(response, 503, "job_store_unavailable")
    # The photo stays until it expires, but `job.json` does not.
    assert [key.rpartition("/")[2] for key in api.objects.objects] == ["0"]


def test_a_put_that_fails_in_the_middle_leaves_nothing(api: Api) -> None:
    puts = itertools.count(1)

    def fail_at_put_7(key: str, data: bytes, **kwargs: Any) -> None:
        if next(puts) == 7:
            raise ObjectStoreUnavailable

    api.objects.before(api.objects.put, fail_at_put_7)
    problem(api.post_files([(f"{n}.jpg", b"x") for n in range(30)]), 503, "object_store_unavailable")

    assert nothing_is_left(api)


# --- what is said about a job -----------------------------------------------


def test_a_job_has_the_title_and_the_weight_it_was_given(api: Api) -> None:
    fields = [("title", "Walk on the cliffs, 2024 写真".encode()), ("weight", b"2.5")]
    form = api.post_body(encode_form([("images", "a.jpg", b"x")], fields)).get_json()
    announced = api.client.post(
        "/v1/jobs", json={"uploads": [{"name": "a", "size": 1}], "title": "Cliffs", "weight": 0.5}
    ).get_json()

    assert (form["title"], form["weight"]) == ("Walk on the cliffs, 2024 写真", 2.5)
    assert (announced["title"], announced["weight"]) == ("Cliffs", 0.5)
    assert api.jobs.get(form["id"]).weight == 2.5
    assert api.get(f"/v1/jobs/{announced['id']}").get_json()["title"] == "Cliffs"
    assert decode_job(api.objects.get(object_keys.job_record(form["id"]))).title == form["title"]


def test_by_default_a_job_has_no_title_and_weight_one(api: Api) -> None:
    job = api.get(f"/v1/jobs/{api.submit('a.jpg')}").get_json()

    assert (job["title"], job["weight"], job["error"]) == ("", 1.0, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", "x" * 201),
        ("weight", "0.09"),
        ("weight", "10.1"),
        ("weight", "nan"),
        ("weight", "inf"),
        ("weight", "much"),
        ("weight", ""),
    ],
)
def test_a_long_title_or_an_invalid_weight_is_refused(api: Api, name: str, value: str) -> None:
    body = problem(
        api.post_body(encode_form([("images", "a.jpg", b"x")], [(name, value.encode())])),
        400,
        "invalid_request",
    )

    assert [error["field"] for error in body["errors"]] == [name]
    assert nothing_is_left(api)


@pytest.mark.parametrize("name", ["options", "title", "weight"])
def test_a_field_given_twice_is_refused(api: Api, name: str) -> None:
    value = {"options": b"{}", "title": b"a", "weight": b"1"}[name]
    response = api.post_body(encode_form([("images", "a.jpg", b"x")], [(name, value)] * 2))

    problem(response, 400, "invalid_request")


def test_a_job_knows_the_bytes_of_its_photos(api: Api) -> None:
    job_id = api.post_files([("a.jpg", b"12345"), ("b.jpg", b"678")]).get_json()["id"]
    announced = api.announce({"name": "a", "size": 10}, {"name": "b", "size": 1}).get_json()["id"]

    assert api.jobs.get(job_id).bytes == 8
    assert api.jobs.get(announced).bytes == 11


# --- when there is too much work --------------------------------------------


@pytest.mark.parametrize("bound", ["max_unfinished_images", "max_owner_images"])
def test_beyond_the_limit_a_job_is_refused_with_429_and_leaves_nothing(
    make_api: ApiFactory, bound: str
) -> None:
    api = make_api(**{bound: 3})
    form = api.post_files([(f"{n}.jpg", b"x") for n in range(4)])
    announced = api.announce(*({"name": str(n), "size": 1} for n in range(4)))

    for response in (form, announced):
        problem(response, 429, "quota_exceeded")
        assert int(response.headers["Retry-After"]) > 0
    assert nothing_is_left(api)
    assert api.post_files([(f"{n}.jpg", b"x") for n in range(3)]).status_code == 202


def test_without_room_for_another_image_nothing_is_received(make_api: ApiFactory) -> None:
    api = make_api(max_unfinished_images=1)
    api.submit("a.jpg")

    def refuse() -> None:
        raise AssertionError("The body was read.")

    response = api.client.post(
        "/v1/jobs",
        input_stream=HookedBody(b"", refuse),
        content_type="multipart/form-data; boundary=sep",
        content_length=10**9,
    )

    problem(response, 429, "quota_exceeded")


def test_ended_images_make_room(make_api: ApiFactory) -> None:
    api = make_api(max_unfinished_images=2)
    api.submit("a.jpg", "b.jpg")
    problem(api.post_files([("c.jpg", b"x")]), 429, "quota_exceeded")
    api.work()

    assert api.post_files([("c.jpg", b"x")]).status_code == 202


def test_a_label_picture_in_a_form_is_kept_beside_its_photo_and_is_no_image(api: Api) -> None:
    response = api.post_files([("a/b.labels.png", b"labels"), ("a/b.jpg", b"photo")])

    job_id = response.get_json()["id"]
    assert response.get_json()["counts"]["total"] == 1
    assert api.objects.get(object_keys.labels(job_id, "a/b.jpg")) == b"labels"
    assert api.objects.get(object_keys.input_image(job_id, 0)) == b"photo"
    assert decode_job(api.objects.get(object_keys.job_record(job_id))).bytes == len(b"labels" + b"photo")


def test_a_form_of_label_pictures_alone_has_no_images(api: Api) -> None:
    problem(api.post_files([("b.labels.png", b"labels")]), 422, "no_images")
    assert api.objects.objects == {}


def test_a_label_picture_in_an_archive_is_no_image(api: Api) -> None:
    archive = zip_of(("b.labels.png", b"labels"), ("b.jpg", b"photo"))
    response = api.post_parts([("archive", "album.zip", archive)])

    assert response.get_json()["counts"]["total"] == 1
    assert response.get_json()["skipped"] == []
