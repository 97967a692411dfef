from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fathom.commands.download import Results, fetch_results, finish
from fathom.errors import ClientError
from fathom.progress import show_progress
from fathom.sync_client import Fathom
from tests.unit.fathom.conftest import JOB_ID, FakeServer

QUIET = show_progress(quiet=True)


def download(fathom: Fathom, out: Path, *, sidecars: bool = False) -> tuple[Results, int]:
    """Return the report of a download, and the exit code of the command."""
    job = fathom.job(JOB_ID)
    results = fetch_results(job, out, QUIET, sidecars=sidecars)
    with pytest.raises(SystemExit) as caught:
        finish(job, results, QUIET, as_json=True)
    return results, int(caught.value.code or 0)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def fathom(server: FakeServer) -> Iterator[Fathom]:
    with Fathom("http://fathom.test", transport=httpx.MockTransport(server)) as client:
        yield client


@pytest.fixture
def album(server: FakeServer) -> FakeServer:
    server.names = ["a.jpg", "b.jpg", "c.jpg"]
    server.outputs = {index: {"heatmap": b"heatmap of %d" % index} for index in range(3)}
    return server


def test_all_results_are_fetched(fathom: Fathom, album: FakeServer, tmp_path: Path) -> None:
    results, code = download(fathom, tmp_path / "out")

    assert (code, results.files, results.failures) == (0, 3, [])
    assert (tmp_path / "out" / "b.png").read_bytes() == b"heatmap of 1"


@pytest.mark.parametrize("sidecars", [True, False])
def test_outputs_are_downloaded_and_sidecars_on_request(
    fathom: Fathom, album: FakeServer, tmp_path: Path, sidecars: bool
) -> None:
    for index in range(3):
        album.outputs[index] |= {"depth16": b"16 bits", "depth": b"{}"}
    album.options = {"outputs": ["heatmap", "depth16"]}
    album.outputs[1].clear()
    album.failed = {1: ("image_empty", "The file is empty.")}

    results, _ = download(fathom, tmp_path, sidecars=sidecars)

    kinds = {"png", "depth16.png"} | ({"depth.json"} if sidecars else set())
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.{kind}" for name in "ac" for kind in kinds}
    assert results.files == 2 * len(kinds)
    assert [image.name for image in results.failures] == ["b.jpg"]


def test_a_result_that_cannot_be_written_is_named_at_every_run(
    fathom: Fathom, album: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / "b.png" / "in the way").mkdir(parents=True)
    for _ in range(2):
        results, code = download(fathom, out)

        assert (code, results.files) == (3, 2)
        assert [(image.name, image.error_code) for image in results.failures] == [("b.jpg", "cannot_write")]
        assert (out / "c.png").read_bytes() == b"heatmap of 2"
        (failure,) = json.loads(capsys.readouterr().out)["failures"]
        assert failure["error"]["code"] == "cannot_write"


def test_a_download_that_can_write_nothing_fails(fathom: Fathom, album: FakeServer, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png" / "in the way").mkdir(parents=True)

    assert download(fathom, tmp_path)[1] == 1


def test_a_job_of_a_newer_server_is_refused_in_one_sentence(
    fathom: Fathom, album: FakeServer, tmp_path: Path
) -> None:
    album.options = {"outputs": ["heatmap", "hologram"]}

    with pytest.raises(ClientError, match=r"older than the server.*outputs must be one of heatmap"):
        download(fathom, tmp_path / "out")
