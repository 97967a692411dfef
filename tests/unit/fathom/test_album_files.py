from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from fathom.async_client import AsyncFathom, AsyncJob
from fathom.errors import ClientError
from fathom.files import find_album, inside, is_archive
from fathom.models import UploadFile
from fathom.sync_client import Fathom, JobHandle
from tests.unit.fathom.conftest import CR3, REFUSED, SKIPPED, FakeServer

Submit = Callable[..., JobHandle | AsyncJob]


@pytest.fixture(params=["sync", "async"])
def submit(request: pytest.FixtureRequest, server: FakeServer) -> Submit:
    """Submit paths with either client."""
    transport = httpx.MockTransport(server)

    def submit_sync(*paths: Path | UploadFile) -> JobHandle:
        with Fathom("http://fathom.test", transport=transport) as fathom:
            return fathom.submit(paths)

    async def submit_async(*paths: Path | UploadFile) -> AsyncJob:
        async with AsyncFathom("http://fathom.test", transport=transport) as fathom:
            return await fathom.submit(paths)

    return submit_sync if request.param == "sync" else lambda *paths: asyncio.run(submit_async(*paths))


def test_only_the_photos_of_a_folder_are_sent(submit: Submit, server: FakeServer, album: Path) -> None:
    job = submit(album)

    assert server.names == ["a.jpg", "x/b.jpg"]
    assert {photo.name: photo.error_code for photo in job.refused} == REFUSED
    assert all(photo.state == "failed" and photo.error_message for photo in job.refused)
    assert str(job.skipped) == SKIPPED


def test_the_client_sends_the_same_files_as_the_command(
    submit: Submit, server: FakeServer, album: Path
) -> None:
    submit(album)

    assert server.names == [file.name for file in find_album([album]).files]


def test_a_photo_that_cannot_be_read_stops_no_other(
    submit: Submit, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    gone = UploadFile(path=tmp_path / "gone.jpg", name="gone.jpg")
    broken = UploadFile(path=Path("/proc/self/mem"), name="broken.jpg")
    os.mkfifo(tmp_path / "pipe")
    job = submit(gone, broken, UploadFile(path=tmp_path / "pipe", name="c.jpg"), tmp_path / "a.jpg")

    assert server.names == ["a.jpg"]
    assert [(photo.name, photo.error_code) for photo in job.refused] == [
        ("gone.jpg", "unreadable"),
        ("broken.jpg", "unreadable"),
        ("c.jpg", "unreadable"),
    ]


def test_an_album_of_raw_files_makes_no_job(submit: Submit, server: FakeServer, tmp_path: Path) -> None:
    for name in ("a.CR3", "b.CR3"):
        (tmp_path / name).write_bytes(CR3)

    with pytest.raises(ClientError, match=r"a\.CR3: This is a camera's raw file .* 1 more"):
        submit(tmp_path)
    assert server.requests == []


def test_a_pipe_is_refused(submit: Submit, server: FakeServer, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(ClientError, match=r"pipe\.jpg: it is a pipe, not a file"):
        submit(tmp_path / "pipe.jpg")
    assert server.requests == []


@pytest.mark.parametrize(
    ("data", "is_one"),
    [(b"PK\3\4rest", True), (b"PK\5\6", True), (b"PK", False), (b"", False), (b"\xff\xd8\xffPK\3\4", False)],
)
def test_an_archive_is_recognised_by_its_first_bytes(tmp_path: Path, data: bytes, is_one: bool) -> None:
    (tmp_path / "album.zip").write_bytes(data)

    assert is_archive(tmp_path / "album.zip") is is_one


def test_a_path_that_is_not_a_file_is_not_an_archive(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert [is_archive(path) for path in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere")] == [False] * 3


def test_results_keep_names_of_any_script(tmp_path: Path) -> None:
    assert inside(tmp_path, "写真/海 🌊.png") == tmp_path / "写真" / "海 🌊.png"
