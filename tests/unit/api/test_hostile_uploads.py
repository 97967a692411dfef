"""Bad uploads through the form: files of the corpus, and hostile names."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from fathom.options import Options
from shared.archive.zip_reader import ArchiveLimits
from shared.chores.port import ChoreKind
from shared.errors import ImageError
from shared.jobs import object_keys
from shared.jobs.job import ImageFailure
from tests.corpus import FINE, CorpusFile, bad_uploads
from tests.fakes_engine import LuminanceEngine
from tests.unit.api.conftest import Api
from worker.chores.expand import ArchiveExpander
from worker.chores.gathering import Gathering
from worker.chores.runner import ChoreRunner
from worker.pipeline.photo import Limits
from worker.pipeline.pipeline import Pipeline

#: Names that a file system, a log, a terminal or a page might take for something else.
NAMES = {
    "out of the folder": "../../../../etc/passwd.jpg",
    "out of a windows folder": "..\\..\\windows\\system32\\a.jpg",
    "absolute": "/etc/passwd.jpg",
    "a drive": "C:\\a.jpg",
    "a share": "\\\\server\\share\\a.jpg",
    "a home": "~/a.jpg",
    "turned around": "a\u202egpj.exe.jpg",
    "no width": "a\u200b\u200d\ufeff.jpg",
    "a device": "CON.jpg",
    "another device": "aux",
    "a stream": "a.jpg:hidden",
    "a leading dash": "-rf *.jpg",
    "an option": "--output=x.jpg",
    "a command": "$(reboot) `id` ; rm -rf /.jpg",
    "a pipe": "| cat /etc/passwd .jpg",
    "a script": '<img src=x onerror="alert(1)">.jpg',
    "a template": "{{7*7}} ${7*7} %s %n.jpg",
    "a query": "'; DROP TABLE jobs; --.jpg",
    "control characters": "a\x01\x08\x1b[31m\x7f.jpg",
    "a bell": "a\x07.jpg",
    "line breaks": "a\nHTTP/1.1 200 OK\r\n.jpg",
    "only dots": "...",
    "one dot": ".",
    "two dots": "..",
    "spaces": "   ",
    "trailing dots": "a.jpg. . .",
    "very long": "a" * 4000 + ".jpg",
    "very deep": "a/" * 1500 + "b.jpg",
    "many scripts": "写真 صورة фото 📷.jpg",
    "combining marks": "a" + "\u0301" * 500 + ".jpg",
    "our own key": "jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa/job.json",
    "a sibling": "../job.json",
    "a percent": "%2e%2e%2f%00.jpg",
}


@pytest.fixture
def api(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The API in its own working directory, in which no file may appear."""
    monkeypatch.chdir(tmp_path)
    yield api
    assert list(tmp_path.rglob("*")) == []


def work(api: Api) -> None:
    """Process the images as a worker does, with the real pipeline."""
    pipeline = Pipeline(
        LuminanceEngine(), limits=Limits(max_pixels=4_000_000, min_side=16, max_bytes=8 * 2**20)
    )
    while (lease := api.jobs.lease("worker", limit=100)) is not None:
        for index in lease.indices:
            failure = None
            try:
                files = pipeline.render(
                    api.objects.get(object_keys.input_image(lease.job_id, index)), Options()
                )
            except ImageError as exc:
                failure = ImageFailure(code=exc.code, message=exc.message)
            else:
                for file in files:
                    api.objects.put(object_keys.output(lease.job_id, index, file.file_name), file.data)
            api.jobs.done(lease, index, failure=failure)


def gather(api: Api) -> None:
    expander = ArchiveExpander(api.objects, ArchiveLimits.from_settings(api.settings))
    handler = Gathering(
        jobs=api.jobs, objects=api.objects, wake_workers=lambda: None, gather=expander.expand_all
    )
    ChoreRunner(api.chores, {ChoreKind.EXPAND: handler}, draining=lambda: False).run_due()


def outcomes(api: Api, job_id: str) -> list[str]:
    images = api.get(f"/v1/jobs/{job_id}/images?limit=1000").get_json()["images"]
    return [image["error"]["code"] if image["error"] else image["state"] for image in images]


def zipped(uploads: dict[str, CorpusFile]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, upload in uploads.items():
            archive.writestr(name if "." in name else f"{name}.jpg", upload.data)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def sample() -> dict[str, CorpusFile]:
    """A few bad uploads of every kind, by name; all of them are judged one by one elsewhere."""
    return {upload.name: upload for upload in bad_uploads()[::12]}


@pytest.mark.parametrize("packed", [False, True])
def test_bad_files_fail_one_by_one_with_their_codes(
    api: Api, sample: dict[str, CorpusFile], packed: bool
) -> None:
    good = CorpusFile(name="good.png", data=bad_uploads()[-1].data, expected=bad_uploads()[-1].expected)
    files = sample | {"good.png": good}
    if packed:
        response = api.post_parts([("archive", "bad.zip", zipped(files))])
        gather(api)
    else:
        response = api.post_files([(name, upload.data) for name, upload in files.items()])
    assert response.status_code == 202, response.text
    work(api)

    expected = [upload.expected for upload in files.values()]
    assert outcomes(api, response.get_json()["id"]) == expected
    assert FINE in expected
    assert len(set(expected)) >= 4


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_hostile_name_is_never_used_as_a_path(api: Api, name: str) -> None:
    response = api.announce({"name": name, "size": 5})
    assert response.status_code == 202, response.text
    job_id = response.get_json()["id"]
    assert api.client.put(f"/v1/jobs/{job_id}/uploads/0", data=b"photo").status_code == 204
    assert api.client.post(f"/v1/jobs/{job_id}/start").status_code == 202
    api.work()

    keys = {key.removeprefix(f"jobs/{job_id}/") for key in api.objects.objects}
    assert keys <= {
        "job.json",
        "intent.json",
        "manifest.jsonl",
        "manifest.index",
        "inputs/0",
        "inputs.tags",
        "outputs/0/heatmap.png",
        "outputs/0/depth.json",
    }
    (image,) = api.get(f"/v1/jobs/{job_id}/images").get_json()["images"]
    assert image["name"] == name
    output = api.get(f"{image['outputs']['heatmap']}?stream=1")
    disposition = output.headers.get("Content-Disposition", "")
    assert not set("\r\n\x00") & set(disposition)
    with zipfile.ZipFile(io.BytesIO(api.get(f"/v1/jobs/{job_id}/archive").data)) as archive:
        for path in archive.namelist():
            parts = path.split("/")
            assert not path.startswith("/")
            assert {"", ".", ".."}.isdisjoint(parts)
            assert all(0 < len(part.encode()) < 256 for part in parts)
            assert not any(char < " " or char == "\x7f" for char in path)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_hostile_name_in_an_archive_is_never_used_as_a_path(api: Api, name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name + ".png", b"photo")
    response = api.post_parts([("archive", "a.zip", buffer.getvalue())])
    if response.status_code != 202:
        assert response.get_json()["code"] in ("no_images", "invalid_archive"), "It counts as hidden."
        return
    gather(api)

    job_id = response.get_json()["id"]
    assert {key for key in api.objects.objects if "/inputs/" in key} == {object_keys.input_image(job_id, 0)}


@pytest.mark.parametrize("name", ["a.jpg", "../a.jpg", '<b>"x"</b>.jpg', "a\u202egpj.jpg"])
def test_a_hostile_name_in_an_error_is_escaped_in_json(api: Api, name: str) -> None:
    response = api.client.get(f"/v1/jobs/{quote(name, safe='')}")

    assert response.content_type == "application/problem+json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
