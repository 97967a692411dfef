"""Archives in a form: the API inspects them while it receives them, and a worker expands them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from shared.archive.zip_reader import ArchiveLimits
from shared.chores.port import ChoreKind, expand_id
from shared.errors import JobStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import JobState
from shared.jobs.manifest import decode_manifest
from shared.jobs.record import decode_job
from tests.unit.api.conftest import Api, ApiFactory
from tests.unit.api.routes.test_submissions import nothing_is_left, problem, zip_of
from worker.chores.expand import ArchiveExpander
from worker.chores.gathering import Gathering
from worker.chores.runner import ChoreRunner

ALBUM = (("in/a.jpg", b"A"), ("notes.txt", b"hello"), ("in/写真.png", b"BB"))


def gather(api: Api) -> None:
    """Expand archives as a worker does."""
    expander = ArchiveExpander(api.objects, ArchiveLimits.from_settings(api.settings))
    handler = Gathering(
        jobs=api.jobs, objects=api.objects, wake_workers=lambda: None, gather=expander.expand_all
    )
    ChoreRunner(api.chores, {ChoreKind.EXPAND: handler}, draining=lambda: False).run_due()


def post(api: Api, *parts: tuple[str, str, bytes]) -> dict[str, Any]:
    response = api.post_parts(list(parts))
    assert response.status_code == 202, response.text
    return dict(response.get_json())


def test_the_response_counts_the_photos_of_an_archive_before_it_is_expanded(api: Api) -> None:
    job = post(api, ("archive", "a.zip", zip_of(*ALBUM)))

    assert job["state"] == "uploading"
    assert job["counts"] == {"total": 2, "succeeded": 0, "failed": 0, "pending": 2}
    assert job["skipped"] == ["notes.txt"]
    assert [image["name"] for image in api.get(job["links"]["images"]).get_json()["images"]] == [
        "in/a.jpg",
        "in/写真.png",
    ]
    assert {"uploads", "start"}.isdisjoint(job["links"]), "Nobody uploads anything."


def test_the_archive_is_stored_and_its_expansion_enqueued(api: Api) -> None:
    data = zip_of(*ALBUM)
    job_id = post(api, ("archive", "a.zip", data))["id"]

    assert api.objects.get(object_keys.archive(job_id, 0)) == data
    assert api.chores.get(expand_id(job_id)) is not None
    sources = decode_manifest(api.objects.get(object_keys.manifest(job_id)))
    assert [(s.index, s.name, s.size) for s in sources] == [(0, "in/a.jpg", 1), (1, "in/写真.png", 2)]
    record = decode_job(api.objects.get(object_keys.job_record(job_id)))
    assert (record.state, record.gathered, record.bytes) == (JobState.UPLOADING, True, 3)
    assert api.tickets.waiting == 0


def test_a_worker_expands_it_and_the_job_starts(api: Api) -> None:
    job_id = post(
        api,
        ("images", "first.jpg", b"F"),
        ("archive", "x.zip", zip_of(*ALBUM)),
        ("images", "middle.jpg", b"M"),
        ("archive", "y.zip", zip_of(("y.jpg", b"Y"))),
        ("archive", "z.zip", zip_of(("only.txt", b"no photo"))),
    )["id"]
    gather(api)

    assert api.jobs.get(job_id).state is JobState.QUEUED
    names = [s.name for s in decode_manifest(api.objects.get(object_keys.manifest(job_id)))]
    inputs = [api.objects.get(object_keys.input_image(job_id, index)) for index in range(len(names))]
    assert dict(zip(names, inputs, strict=True)) == {
        "first.jpg": b"F",
        "in/a.jpg": b"A",
        "in/写真.png": b"BB",
        "middle.jpg": b"M",
        "y.jpg": b"Y",
    }


def test_skipped_files_can_be_listed_later(api: Api) -> None:
    notes = [(f"{n}.txt", b"") for n in range(150)]
    job = post(api, ("archive", "a.zip", zip_of(("a.jpg", b"A"), *notes)))

    assert len(job["skipped"]) == 100
    skipped = api.get(f"/v1/jobs/{job['id']}/skipped").get_json()
    assert (skipped["count"], skipped["names"]) == (150, job["skipped"])


def test_a_job_without_archives_skipped_nothing(api: Api) -> None:
    assert api.get(f"/v1/jobs/{api.submit('a.jpg')}/skipped").get_json() == {"count": 0, "names": []}


def test_an_archive_without_photos_changes_nothing(api: Api) -> None:
    job = post(api, ("images", "a.jpg", b"A"), ("archive", "a.zip", zip_of(("a.txt", b"x"))))

    assert (job["state"], job["skipped"]) == ("queued", ["a.txt"])
    assert list(api.objects.list(object_keys.archives_prefix(job["id"]))) == []


@pytest.mark.parametrize("verb", ["start", "uploads/0"])
def test_clients_cannot_upload_into_a_gathered_job(api: Api, verb: str) -> None:
    path = f"/v1/jobs/{post(api, ('archive', 'a.zip', zip_of(*ALBUM)))['id']}/{verb}"
    response = api.client.post(path) if verb == "start" else api.client.put(path, data=b"x")

    problem(response, 409, "invalid_transition")


def in_entry(place: int, form: str, value: int) -> bytes:
    """Return an archive of two photos, with a changed value in the directory entry of the first."""
    data = bytearray(zip_of(("a.jpg", b"x"), ("b.jpg", b"y")))
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + place, value)
    return bytes(data)


@pytest.mark.parametrize(
    "archive",
    [
        in_entry(6, "<H", 99),
        in_entry(8, "<H", 1),
        in_entry(10, "<H", 9),
        in_entry(16, "<L", 7),
        in_entry(24, "<L", 2**31),
        in_entry(42, "<L", 2**31),
    ],
    ids=["version", "encrypted", "deflate64", "checksum", "size", "place"],
)
def test_one_bad_photo_does_not_keep_an_archive_from_being_accepted(api: Api, archive: bytes) -> None:
    job_id = post(api, ("archive", "a.zip", archive))["id"]
    gather(api)

    assert api.jobs.get(job_id).state is JobState.QUEUED
    assert [s.name for s in decode_manifest(api.objects.get(object_keys.manifest(job_id)))] == [
        "a.jpg",
        "b.jpg",
    ]
    assert api.objects.get(object_keys.input_image(job_id, 1)) == b"y"


def test_names_in_gbk_are_read_as_such(api: Api) -> None:
    data = zip_of(("XXXX/YYYY.jpg", b"x"))
    data = data.replace(b"XXXX", "相册".encode("gbk")).replace(b"YYYY", "照片".encode("gbk"))
    job = post(api, ("archive", "a.zip", data))

    assert [image["name"] for image in api.get(job["links"]["images"]).get_json()["images"]] == [
        "相册/照片.jpg"
    ]


@pytest.mark.parametrize(
    ("archive", "status", "code", "says"),
    [
        (b"Rar!", 422, "invalid_archive", "not a ZIP"),
        (zip_of(("a.jpg", b"x"))[:-5], 422, "invalid_archive", "not a ZIP"),
        (zip_of(("inner.zip", zip_of(("a.jpg", b"x")))), 422, "no_images", "'inner.zip'"),
        (zip_of(("a.txt", b"x")), 422, "no_images", "no image"),
        (zip_of(*((f"{n}.jpg", b"x") for n in range(6))), 413, "too_large", "5 images"),
        (zip_of(*((f"{n}.txt", b"x") for n in range(21))), 413, "too_large", "entries"),
        (zip_of(*((f"{n}.jpg", bytes(400_000)) for n in range(3))), 413, "too_large", "bytes"),
    ],
    ids=["no zip", "cut", "nested", "no photos", "images", "entries", "bomb"],
)
def test_a_problem_visible_in_the_directory_is_refused_at_once(
    make_api: ApiFactory, archive: bytes, status: int, code: str, says: str
) -> None:
    api = make_api(max_job_images=5, max_request_bytes=1_000_000)
    response = api.post_parts(
        [("images", "a.jpg", b"x"), ("archive", "a.zip", archive)][code == "no_images" :]
    )

    assert says in problem(response, status, code)["detail"]
    assert nothing_is_left(api)
    assert api.chores.claim(tuple(ChoreKind), seconds=30) is None


def test_while_chores_are_unavailable_no_archive_is_accepted(api: Api) -> None:
    api.chores.away = True
    problem(api.post_parts([("archive", "a.zip", zip_of(*ALBUM))]), 503, JobStoreUnavailable.code)

    api.chores.away = False
    assert not api.jobs.list().items
    assert not api.objects.objects


def test_deleting_a_job_deletes_its_chores(api: Api) -> None:
    job_id = post(api, ("archive", "a.zip", zip_of(*ALBUM)))["id"]
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204

    assert api.chores.list(job_id) == ()
    assert not api.objects.objects
