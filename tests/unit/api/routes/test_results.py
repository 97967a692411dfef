from __future__ import annotations

import io
import zipfile
from collections.abc import Generator
from pathlib import Path

import pytest

from api.results.zip_stream import stream_archive
from api.services.backend import Backend
from shared.errors import ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import ImageFailure
from tests.unit.api.conftest import CORRUPT, Api, ApiFactory, sidecar
from tests.unit.api.routes.test_submissions import problem


def test_an_output_is_sent_with_its_type_and_the_name_of_its_photo(api: Api) -> None:
    job_id = api.submit("album/写真 1.jpg", options={"outputs": ["heatmap", "depth16"]})
    api.work()
    response = api.get(f"/v1/jobs/{job_id}/images/0/depth16")

    assert response.data == b"depth16 of 0"
    assert response.content_type == "image/png"
    assert response.content_length == 12
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    disposition = response.headers["Content-Disposition"]
    assert disposition.startswith("inline;")
    assert "filename*=UTF-8''%E5%86%99%E7%9C%9F%201.depth16.png" in disposition


def test_the_sidecar_is_an_output(api: Api) -> None:
    job_id = api.submit("a.jpg")
    api.work()
    response = api.get(f"/v1/jobs/{job_id}/images/0/depth")

    assert (response.data, response.content_type) == (sidecar(0), "application/json")


@pytest.mark.parametrize(
    "name", ['x"; a=b.jpg', "a\r\nX-Evil: 1.jpg", "<script>.jpg", "../../../etc/passwd.jpg"]
)
def test_a_hostile_name_stays_within_its_header(api: Api, name: str) -> None:
    job_id = api.announce({"name": name, "size": 1}).get_json()["id"]
    api.client.put(f"/v1/jobs/{job_id}/uploads/0", data=b"x")
    api.client.post(f"/v1/jobs/{job_id}/start")
    api.work()
    response = api.get(f"/v1/jobs/{job_id}/images/0/heatmap")

    assert response.status_code == 200
    assert "X-Evil" not in response.headers
    assert response.headers["Content-Disposition"].count(";") <= 3
    assert "/" not in response.headers["Content-Disposition"]


def test_a_client_that_reaches_the_object_store_is_redirected_to_the_output(make_api: ApiFactory) -> None:
    api = make_api(public_url="https://s3.example")
    job_id = api.submit("a.jpg")
    api.work()
    path = f"/v1/jobs/{job_id}/images/0/heatmap"

    assert api.get(path).status_code == 307
    assert (
        api.get(path)
        .headers["Location"]
        .startswith(f"https://s3.example/jobs/{job_id}/outputs/0/heatmap.png?")
    )
    assert "no-store" in api.get(path).headers["Cache-Control"]
    assert api.get(path, query_string={"stream": "1"}).data == b"heatmap of 0"


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        ("0/depth16", "output_not_found", "it has heatmap, depth"),
        ("0/depth.json", "output_not_found", "it has heatmap, depth"),
        ("1/heatmap", "output_not_found", "failed: The file is damaged."),
        ("2/heatmap", "output_not_found", "is pending"),
        ("3/heatmap", "not_found", "counted from 0"),
    ],
)
def test_a_missing_output_is_explained(api: Api, path: str, code: str, says: str) -> None:
    job_id = api.submit("a.jpg", "b.jpg", "c.jpg")
    api.work(limit=2, failing={1: CORRUPT})

    assert says in problem(api.get(f"/v1/jobs/{job_id}/images/{path}"), 404, code)["detail"]


def test_a_deleted_output_is_not_found(api: Api) -> None:
    job_id = api.submit("a.jpg")
    api.work()
    api.objects.delete(object_keys.output(job_id, 0, "heatmap.png"))

    problem(api.get(f"/v1/jobs/{job_id}/images/0/heatmap"), 404, "output_not_found")


# --- ranges -----------------------------------------------------------------


@pytest.fixture
def heatmap(api: Api) -> str:
    """The address of a heatmap of 12 bytes: `heatmap of 0`."""
    job_id = api.submit("a.jpg")
    api.work()
    return f"/v1/jobs/{job_id}/images/0/heatmap"


@pytest.mark.parametrize(
    ("asked", "data", "content_range"),
    [
        ("bytes=0-", b"heatmap of 0", "bytes 0-11/12"),
        ("bytes=0-0", b"h", "bytes 0-0/12"),
        ("bytes=8-9", b"of", "bytes 8-9/12"),
        ("bytes=8-99", b"of 0", "bytes 8-11/12"),
        ("bytes=-1", b"0", "bytes 11-11/12"),
    ],
)
def test_a_range_of_a_file_is_sent_alone(
    api: Api, heatmap: str, asked: str, data: bytes, content_range: str
) -> None:
    response = api.get(heatmap, headers={"Range": asked})

    assert (response.status_code, response.data) == (206, data)
    assert response.headers["Content-Range"] == content_range
    assert response.content_length == len(data)
    assert response.content_type == "image/png"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Range": "bytes=0-1,4-5"},
        {"Range": "lines=0-1"},
        {"Range": "bytes=9-2"},
        {"Range": "bytes=0-1", "If-Range": '"tag"'},
    ],
)
def test_whatever_is_not_one_range_gets_the_whole_file(
    api: Api, heatmap: str, headers: dict[str, str]
) -> None:
    response = api.get(heatmap, headers=headers)

    assert (response.status_code, response.data) == (200, b"heatmap of 0")
    assert response.headers["Accept-Ranges"] == "bytes"
    assert "Content-Range" not in response.headers


def test_a_range_beyond_the_end_is_refused_with_the_size(api: Api, heatmap: str) -> None:
    response = api.get(heatmap, headers={"Range": "bytes=12-"})

    problem(response, 416, "range_not_satisfiable")
    assert response.headers["Content-Range"] == "bytes */12"


def test_an_empty_file_has_no_ranges(api: Api, heatmap: str) -> None:
    api.objects.put(next(key for key in api.objects.objects if "heatmap" in key), b"")

    assert api.get(heatmap).data == b""
    assert api.get(heatmap, headers={"Range": "bytes=0-"}).status_code == 416


# --- the archive ------------------------------------------------------------


def open_zip(data: bytes) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    return archive


def test_the_archive_names_every_output_after_its_photo(api: Api) -> None:
    job_id = api.submit("a/写真.jpg", "b.jpg", "b.png", options={"outputs": ["heatmap", "npy"]})
    api.work(failing={1: CORRUPT})
    response = api.get(f"/v1/jobs/{job_id}/archive")

    assert response.content_type == "application/zip"
    assert response.headers["Content-Disposition"] == f"attachment; filename=fathom-{job_id}.zip"
    archive = open_zip(response.data)
    assert {name: archive.read(name).decode() for name in archive.namelist()} == {
        "a/写真.png": "heatmap of 0",
        "a/写真.npy": "npy of 0",
        "a/写真.depth.json": sidecar(0).decode(),
        "b.png.png": "heatmap of 2",
        "b.png.npy": "npy of 2",
        "b.png.depth.json": sidecar(2).decode(),
        "failures.txt": "b.jpg: The file is damaged. (image_corrupt)\n",
    }
    assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())


def test_the_archive_of_some_outputs_keeps_their_names(api: Api) -> None:
    job_id = api.submit("a.jpg", options={"outputs": ["heatmap", "npy", "pfm"]})
    api.work()

    names = open_zip(api.get(f"/v1/jobs/{job_id}/archive?outputs=pfm,heatmap").data).namelist()
    assert names == ["a.pfm", "a.png"]


@pytest.mark.parametrize("outputs", ["depth16", "gold", "", ",", "heatmap,gold"])
def test_the_archive_of_outputs_that_the_job_does_not_have_is_refused(api: Api, outputs: str) -> None:
    response = api.get(f"/v1/jobs/{api.submit('a.jpg')}/archive", query_string={"outputs": outputs})

    problem(response, 422, "invalid_options")


def test_the_archive_of_a_running_job_has_the_results_so_far(api: Api) -> None:
    job_id = api.submit(*(f"{n}.jpg" for n in range(6)))
    api.work(limit=3)

    names = open_zip(api.get(f"/v1/jobs/{job_id}/archive?outputs=heatmap").data).namelist()
    assert names == ["0.png", "1.png", "2.png"]


def test_the_archive_of_a_job_without_results_is_empty(api: Api) -> None:
    assert open_zip(api.get(f"/v1/jobs/{api.submit('a.jpg')}/archive").data).namelist() == []


def test_the_archive_of_many_images_holds_them_in_order(api: Api) -> None:
    job_id = api.submit(*(f"{n}.jpg" for n in range(1500)))
    api.work(limit=1500, failing={7: ImageFailure(code="x", message="y")})

    names = open_zip(api.get(f"/v1/jobs/{job_id}/archive?outputs=heatmap").data).namelist()
    assert names == [f"{n}.png" for n in range(1500) if n != 7] + ["failures.txt"]


def test_nothing_in_the_archive_is_both_a_file_and_a_folder(api: Api, tmp_path: Path) -> None:
    job_id = api.submit("x.jpg", "X.png/a.jpg", "Failures.txt/b.jpg", "bad.jpg")
    api.work(failing={3: CORRUPT})
    with open_zip(api.get(f"/v1/jobs/{job_id}/archive?outputs=heatmap").data) as archive:
        archive.extractall(tmp_path)
        names = archive.namelist()

    assert names == ["x.jpg.png", "X.png/a.png", "Failures.txt/b.png", "failures (2).txt"]
    assert (tmp_path / "X.png" / "a.png").read_text() == "heatmap of 1"


def test_a_failure_is_one_line_whatever_the_name_contains(api: Api) -> None:
    job_id = api.announce({"name": "a\nb: fine.jpg", "size": 0}).get_json()["id"]
    api.client.put(f"/v1/jobs/{job_id}/uploads/0", data=b"")
    api.client.post(f"/v1/jobs/{job_id}/start")
    api.work(failing={0: CORRUPT})

    text = open_zip(api.get(f"/v1/jobs/{job_id}/archive").data).read("failures.txt").decode()
    assert text == "a\ufffdb: fine.jpg: The file is damaged. (image_corrupt)\n"


def test_the_archive_names_outputs_that_somebody_deleted(api: Api) -> None:
    job_id = api.submit("a.jpg", "b.jpg", "c.jpg")
    api.work()
    api.objects.delete(object_keys.output(job_id, 1, "heatmap.png"))
    archive = open_zip(api.get(f"/v1/jobs/{job_id}/archive?outputs=heatmap").data)

    assert archive.namelist() == ["a.png", "c.png", "failures.txt"]
    assert archive.read("failures.txt").startswith(b"b.png: The output is no longer")


def backend_of(api: Api) -> Backend:
    backend = api.client.application.extensions["fathom"]
    assert isinstance(backend, Backend)
    return backend


def test_an_object_store_that_dies_aborts_the_transfer(api: Api) -> None:
    job_id = api.submit(*(f"{n}.jpg" for n in range(50)))
    api.work()

    data = bytearray()

    def receive() -> None:
        for count, piece in enumerate(stream_archive(backend_of(api), api.jobs.get(job_id), ("heatmap",))):
            api.objects.away = count > 20
            data.extend(piece)

    with pytest.raises(ObjectStoreUnavailable):
        receive()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(bytes(data)))


def test_an_abandoned_archive_reads_no_more_objects(api: Api) -> None:
    job_id = api.submit(*(f"{n}.jpg" for n in range(50)))
    api.work()
    opened: list[str] = []

    def note(key: str, **kwargs: int) -> None:
        if "/outputs/" in key:
            opened.append(key)

    api.objects.before(api.objects.stream, note)
    pieces = stream_archive(backend_of(api), api.jobs.get(job_id), ("heatmap",))
    next(pieces)
    assert isinstance(pieces, Generator)
    pieces.close()

    assert 1 <= len(opened) <= 5
