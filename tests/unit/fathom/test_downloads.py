from __future__ import annotations

from pathlib import Path

import pytest

from fathom.downloads import Wanted, fetch_all, plan_downloads
from fathom.models import ImageResult
from fathom.sync_client import Fathom
from fathom.transport import ClientError
from tests.unit.fathom.conftest import JOB_ID, Server, lose, on, times


def image(index: int, *outputs: str) -> ImageResult:
    urls = {output: f"/v1/jobs/{JOB_ID}/images/{index}/{output}" for output in outputs}
    state = "succeeded" if outputs else "failed"
    return ImageResult(
        index=index, name=f"{index}.jpg", state=state, error_code=None, error_message=None, outputs=urls
    )


def test_each_output_of_each_image_that_succeeded_is_planned(tmp_path: Path) -> None:
    images = [image(0, "heatmap", "depth16", "depth"), image(1), image(2, "heatmap")]
    paths = [
        {"heatmap": f"{n}.png", "depth16": f"{n}.depth16.png", "depth": f"{n}.depth.json"} for n in range(3)
    ]

    wanted = plan_downloads(images, paths, tmp_path, left_out=frozenset({"depth"}))

    assert [file.path.relative_to(tmp_path).as_posix() for file in wanted] == [
        "0.png",
        "0.depth16.png",
        "2.png",
    ]


def test_a_plan_never_leaves_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="outside"):
        plan_downloads([image(0, "heatmap")], [{"heatmap": "../0.png"}], tmp_path / "out")


def test_a_download_goes_on_where_it_was(fathom: Fathom, server: Server, tmp_path: Path) -> None:
    server.outputs = {index: {"heatmap": b"x" * (index + 1)} for index in range(20)}
    wanted = [
        Wanted(url=f"/v1/jobs/{JOB_ID}/images/{index}/heatmap", path=tmp_path / f"{index}.png")
        for index in range(20)
    ]
    (tmp_path / "7.png").write_bytes(b"y" * 8)

    fresh = list(fetch_all(fathom.job(JOB_ID), wanted))

    assert sorted(fresh) == [False] + [True] * 19
    assert (tmp_path / "7.png").read_bytes() == b"y" * 8
    assert (tmp_path / "19.png").read_bytes() == b"x" * 20


def test_downloads_survive_lost_connections(fathom: Fathom, server: Server, tmp_path: Path) -> None:
    server.outputs = {index: {"heatmap": b"data"} for index in range(20)}
    job = fathom.job(JOB_ID)
    server.faults.append(times(5, on("GET", "/images/", lose)))
    wanted = [
        Wanted(url=f"/v1/jobs/{JOB_ID}/images/{index}/heatmap", path=tmp_path / f"{index}.png")
        for index in range(20)
    ]

    assert sum(fetch_all(job, wanted)) == 20
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"data"}


def test_a_file_that_cannot_be_written_keeps_no_other_from_it(
    fathom: Fathom, server: Server, tmp_path: Path
) -> None:
    server.outputs = {index: {"heatmap": b"data"} for index in range(5)}
    (tmp_path / "1.png" / "in the way").mkdir(parents=True)
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent)
    paths = [{"heatmap": path} for path in ("0.png", "1.png", "elsewhere/2.png", "深" * 100, "4.png")]
    wanted = plan_downloads([image(index, "heatmap") for index in range(5)], paths, tmp_path)
    lost: dict[int, str] = {}

    fresh = list(
        fetch_all(fathom.job(JOB_ID), wanted, fail=lambda file, exc: lost.update({file.index: exc.code}))
    )

    assert sum(fresh) == 2
    assert lost == dict.fromkeys((1, 2, 3), "cannot_write")
    assert (tmp_path / "4.png").read_bytes() == b"data"
