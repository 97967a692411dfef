from __future__ import annotations

from pathlib import Path

import pytest

from fathom.downloads import Wanted, fetch_all
from fathom.errors import ClientError
from fathom.models import ImageResult
from fathom.sync_client import Fathom
from tests.unit.fathom.conftest import JOB_ID, FakeServer, lose, on, times


def wanted(*paths: str) -> list[Wanted]:
    """A heatmap of each image, to be written to a path."""
    return [
        (
            ImageResult(
                index=index,
                name=f"{index}.jpg",
                state="succeeded",
                error_code=None,
                error_message=None,
                outputs={"heatmap": f"/v1/jobs/{JOB_ID}/images/{index}/heatmap"},
            ),
            {"heatmap": path},
        )
        for index, path in enumerate(paths)
    ]


@pytest.fixture
def server(server: FakeServer) -> FakeServer:
    server.outputs = {index: {"heatmap": b"x" * (index + 1)} for index in range(20)}
    return server


def pngs(count: int) -> list[Wanted]:
    return wanted(*(f"{index}.png" for index in range(count)))


def test_a_download_never_leaves_the_folder(fathom: Fathom, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="outside"):
        list(fetch_all(fathom.job(JOB_ID), wanted("../0.png"), tmp_path / "out"))

    assert not (tmp_path / "0.png").exists()


@pytest.mark.parametrize(("replace", "kept"), [(False, b"y" * 8), (True, b"x" * 8)])
def test_a_download_continues_where_it_stopped(
    fathom: Fathom, tmp_path: Path, replace: bool, kept: bytes
) -> None:
    (tmp_path / "7.png").write_bytes(b"y" * 8)

    fetched = list(fetch_all(fathom.job(JOB_ID), pngs(20), tmp_path, replace=replace))

    assert sorted(image.index for (image, _), _ in fetched) == list(range(20))
    assert not any(errors for _, errors in fetched)
    assert (tmp_path / "7.png").read_bytes() == kept
    assert (tmp_path / "19.png").read_bytes() == b"x" * 20


def test_downloads_survive_lost_connections(fathom: Fathom, server: FakeServer, tmp_path: Path) -> None:
    job = fathom.job(JOB_ID)
    server.faults.append(times(5, on("GET", "/images/", lose)))

    assert not any(errors for _, errors in fetch_all(job, pngs(20), tmp_path))
    assert {len(path.read_bytes()) for path in tmp_path.iterdir()} == set(range(1, 21))


def test_a_file_that_cannot_be_written_does_not_affect_the_others(fathom: Fathom, tmp_path: Path) -> None:
    (tmp_path / "1.png" / "in the way").mkdir(parents=True)
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent)
    each = wanted("0.png", "1.png", "elsewhere/2.png", "深" * 100, "4.png")

    fetched = fetch_all(fathom.job(JOB_ID), each, tmp_path)
    codes = {image.index: [error.code for error in errors] for (image, _), errors in fetched}

    assert codes == {0: [], 1: ["cannot_write"], 2: ["cannot_write"], 3: ["cannot_write"], 4: []}
    assert (tmp_path / "4.png").read_bytes() == b"x" * 5


def test_an_output_that_cannot_be_written_does_not_affect_others_of_its_image(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    server.outputs[0]["pfm"] = b"raw"
    ((image, _),) = wanted("0.png")
    both = ImageResult(
        **{**vars(image), "outputs": {**image.outputs, "pfm": f"/v1/jobs/{JOB_ID}/images/0/pfm"}}
    )
    (tmp_path / "0.png").mkdir()

    ((_, errors),) = fetch_all(fathom.job(JOB_ID), [(both, {"heatmap": "0.png", "pfm": "0.pfm"})], tmp_path)

    assert [error.code for error in errors] == ["cannot_write"]
    assert (tmp_path / "0.pfm").read_bytes() == b"raw"
