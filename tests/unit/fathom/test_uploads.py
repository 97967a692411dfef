from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fathom.errors import ApiError, ClientError
from fathom.models import UploadFile
from fathom.sync_client import Fathom
from fathom.uploads import ONE_REQUEST_BYTES, ONE_REQUEST_FILES, fits_one_request
from tests.unit.fathom.conftest import JOB_ID, FakeServer, lose, on, problem, refuse_connection, times


def album(folder: Path, count: int, *, prefix: str = "photo") -> list[UploadFile]:
    """Photos whose bytes are their names; many of them are uploaded one by one."""
    files = []
    for number in range(count):
        path = folder / f"{prefix}{number}.jpg"
        path.write_bytes(f"bytes of {number}".encode())
        files.append(UploadFile(path=path, name=f"trip/{path.name}"))
    return files


@pytest.fixture
def large(tmp_path: Path) -> list[UploadFile]:
    return album(tmp_path, ONE_REQUEST_FILES + 1)


def expected(count: int) -> dict[int, bytes]:
    return {number: f"bytes of {number}".encode() for number in range(count)}


def posts(server: FakeServer, path: str) -> int:
    return sum(request.method == "POST" and request.url.path.endswith(path) for request in server.requests)


def test_a_small_album_goes_in_one_request(fathom: Fathom, server: FakeServer, tmp_path: Path) -> None:
    job = fathom.submit(album(tmp_path, 3), {"outputs": ["heatmap", "pfm"]})

    assert job.id == JOB_ID
    assert len(server.requests) == 1
    assert server.names == ["trip/photo0.jpg", "trip/photo1.jpg", "trip/photo2.jpg"]
    assert b'{"outputs": ["heatmap", "pfm"]}' in server.requests[0].content
    assert b"bytes of 2" in server.requests[0].content


@pytest.mark.parametrize("way", ["form", "announced", "sources"])
def test_a_preset_is_sent_among_the_options(
    fathom: Fathom, server: FakeServer, large: list[UploadFile], way: str
) -> None:
    if way == "sources":
        server.faults.append(on("POST", "/v1/jobs", lambda _: httpx.Response(202, json=server.job())))
        fathom.submit_sources(["s3://b/p/"], {"stereo": {"swap": True}}, preset="vr")
    else:
        photos = large[:2] if way == "form" else large
        fathom.submit(photos, {"stereo": {"swap": True}}, preset="vr")

    sent = server.requests[0].content.replace(b'": ', b'":').replace(b", ", b",")
    assert b'{"stereo":{"swap":true},"preset":"vr"}' in sent


def test_names_in_any_script_survive_one_request(fathom: Fathom, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")
    names = ["假期/猫.jpg", "🏔️/mañana 100%22.JPG", "a;b='c'.jpg"]

    fathom.submit([UploadFile(path=path, name=name) for name in names])

    assert server.names == names


def test_a_large_album_goes_file_by_file_over_all_pages(
    fathom: Fathom, server: FakeServer, large: list[UploadFile]
) -> None:
    fathom.submit(large, {"colormap": "gray"})

    assert server.stored == expected(len(large))
    assert server.sizes == [file.size for file in large]
    assert server.options == {"colormap": "gray"}
    assert server.started == 1


@pytest.mark.parametrize("name", ['say "cheese".jpg', "back\\slash.jpg", "line\nbreak.jpg"])
def test_a_name_that_a_form_would_change_goes_as_json(
    fathom: Fathom, server: FakeServer, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"1")

    fathom.submit([UploadFile(path=path, name=name)])

    assert server.names == [name]
    assert server.stored == {0: b"1"}


def test_a_file_name_that_is_not_unicode_is_sent_readable(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg"))
    path.write_bytes(b"1")

    fathom.submit([path])

    assert server.names == ["caf\N{REPLACEMENT CHARACTER}.jpg"]


def test_albums_of_many_bytes_go_file_by_file(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.touch()
    os.truncate(path, ONE_REQUEST_BYTES // 2 + 1)

    assert fits_one_request([UploadFile(path=path, name="a")])
    assert not fits_one_request([UploadFile(path=path, name="a"), UploadFile(path=path, name="b")])


def test_uploads_survive_lost_connections(
    fathom: Fathom, server: FakeServer, large: list[UploadFile]
) -> None:
    server.faults.append(times(20, on("PUT", "/inputs/", lose)))

    fathom.submit(large)

    assert server.stored == expected(len(large))


def test_expired_upload_urls_are_replaced_by_fresh_ones(
    fathom: Fathom, server: FakeServer, large: list[UploadFile]
) -> None:
    expired = httpx.Response(403, content="<Error><Code>AccessDenied</Code></Error>")
    server.faults.append(times(30, on("PUT", "/inputs/", lambda _: expired)))

    fathom.submit(large)

    assert server.stored == expected(len(large))
    assert server.started == 1


def test_uploads_missing_on_the_server_are_sent_again(
    fathom: Fathom, server: FakeServer, large: list[UploadFile]
) -> None:
    def forget(request: httpx.Request) -> httpx.Response:
        del server.stored[5]
        return problem(409, "uploads_missing", "1 upload is missing.")

    server.faults.append(times(1, on("POST", "/start", forget)))

    fathom.submit(large)

    assert server.stored == expected(len(large))
    assert posts(server, "/start") == 2


def test_a_start_whose_response_was_lost_is_repeated(
    fathom: Fathom, server: FakeServer, large: list[UploadFile]
) -> None:
    server.faults.append(times(2, on("POST", "/start", lose)))

    fathom.submit(large)

    assert server.started == 1


def test_permanently_failing_uploads_raise_the_reason_and_leave_no_job(
    fathom: Fathom, server: FakeServer, large: list[UploadFile]
) -> None:
    server.faults.append(on("PUT", "/inputs/", lambda _: problem(403, "denied", "No entry.")))

    with pytest.raises(ApiError, match="No entry"):
        fathom.submit(large)

    assert server.deleted
    assert server.started == 0
    # At most two rounds: the second finds that the first achieved nothing.
    assert sum(request.method == "PUT" for request in server.requests) <= 2 * len(large)


def test_ctrl_c_in_the_middle_of_an_upload_leaves_no_job(
    fathom: Fathom, server: FakeServer, large: list[UploadFile]
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fathom.submit(large, on_bytes=interrupt)

    assert server.deleted
    assert server.started == 0


def test_a_file_that_vanished_is_named(fathom: Fathom, server: FakeServer, large: list[UploadFile]) -> None:
    def remove(_: httpx.Request) -> None:
        large[40].path.unlink(missing_ok=True)

    server.faults.append(remove)

    with pytest.raises(ClientError, match=r"Cannot read .*photo40\.jpg: No such file"):
        fathom.submit(large)

    assert server.deleted


def test_a_small_album_is_sent_again_under_the_same_key_if_the_response_is_lost(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    server.faults.append(times(2, on("POST", "/v1/jobs", lose)))

    fathom.submit(album(tmp_path, 2))

    keys = [r.headers["Idempotency-Key"] for r in server.requests if r.method == "POST"]
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize("busy", [refuse_connection, lambda _: problem(503, "unavailable", "Not now.")])
def test_a_small_album_refused_temporarily_is_sent_again(
    fathom: Fathom, server: FakeServer, tmp_path: Path, busy: Callable[[httpx.Request], httpx.Response]
) -> None:
    server.faults.append(times(2, on("POST", "/v1/jobs", busy)))

    fathom.submit(album(tmp_path, 2))

    assert b"bytes of 0" in server.requests[-1].content
    assert b"bytes of 1" in server.requests[-1].content


def test_sent_bytes_are_reported_as_they_leave(fathom: Fathom, large: list[UploadFile]) -> None:
    reported: list[int] = []

    fathom.submit(large, on_bytes=reported.append)

    assert sum(reported) == sum(file.size for file in large)


def test_a_folder_is_sent_with_its_relative_paths(fathom: Fathom, server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "day 1").mkdir()
    (tmp_path / "day 1" / "a.jpg").write_bytes(b"1")
    (tmp_path / "b.jpg").write_bytes(b"2")

    fathom.submit([tmp_path])

    assert server.names == ["b.jpg", "day 1/a.jpg"]


@pytest.mark.parametrize(("make", "message"), [(True, "no file to submit"), (False, "no file or folder")])
def test_an_empty_submission_is_refused(fathom: Fathom, tmp_path: Path, make: bool, message: str) -> None:
    folder = tmp_path / "album"
    if make:
        folder.mkdir()

    with pytest.raises(ClientError, match=message):
        fathom.submit([folder])


def test_a_zip_goes_as_an_archive(fathom: Fathom, server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "album.zip"
    path.write_bytes(b"PK...")

    fathom.submit_archive(path)

    assert b'name="archive"; filename="album.zip"' in server.requests[0].content


def labelled(files: list[UploadFile], number: int, folder: Path) -> list[UploadFile]:
    """The files, one of them with a label picture."""
    path = folder / "any name.png"
    path.write_bytes(b"labels")
    return [replace(file, labels=path if at == number else None) for at, file in enumerate(files)]


def test_a_label_picture_goes_beside_its_photo_in_one_request(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    fathom.submit(labelled(album(tmp_path, 2), 1, tmp_path))

    assert server.names == ["trip/photo0.jpg", "trip/photo1.jpg", "trip/photo1.labels.png"]


def test_a_label_picture_of_a_large_album_goes_before_the_start(
    fathom: Fathom, server: FakeServer, large: list[UploadFile], tmp_path: Path
) -> None:
    fathom.submit(labelled(large, 7, tmp_path))

    paths = [request.url.path for request in server.requests]
    assert paths.index(f"/v1/jobs/{JOB_ID}/uploads/7/labels") < paths.index(f"/v1/jobs/{JOB_ID}/start")
    assert server.labels == {7: b"labels"}
