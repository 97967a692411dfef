from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fathom.errors import ApiError, ClientError, ConnectionLost
from fathom.files import inside
from fathom.models import JobStatus, ModelInfo
from fathom.sync_client import Fathom
from tests.unit.fathom.conftest import JOB_ID, LARGE, FakeServer, lose, on, problem, times


@pytest.mark.parametrize("end", ["succeeded", "partial", "failed", "canceled", "expired"])
def test_a_wait_ends_with_the_job(fathom: Fathom, server: FakeServer, end: str) -> None:
    server.states = ["queued", "processing", "finalizing", end]
    seen: list[str] = []

    job = fathom.job(JOB_ID).wait(lambda status: seen.append(status.state))

    assert job.status.state == end
    assert seen == ["processing", "finalizing", end]


def test_a_wait_polls_quickly_at_first_and_then_once_a_second(
    fathom: Fathom, server: FakeServer, pauses: list[float]
) -> None:
    server.states = ["processing"] * 30 + ["succeeded"]

    fathom.job(JOB_ID).wait()

    assert pauses[0] == pytest.approx(0.1)
    assert pauses[-1] == pytest.approx(1.0)
    assert pauses == sorted(pauses)


def test_a_wait_continues_after_a_long_outage_of_the_server(fathom: Fathom, server: FakeServer) -> None:
    server.states = ["processing", "processing", "succeeded"]
    job = fathom.job(JOB_ID)
    server.faults.append(times(50, on("GET", "/v1/jobs", lose)))
    lost: list[ConnectionLost] = []

    job.wait(on_lost=lost.append)

    assert job.status.state == "succeeded"
    assert len(lost) >= 2


def test_a_wait_for_a_job_that_was_deleted_ends(fathom: Fathom, server: FakeServer) -> None:
    server.states = ["processing"]
    job = fathom.job(JOB_ID)
    gone = problem(404, "job_not_found", "There is no such job.")
    server.faults.append(on("GET", "/v1/jobs", lambda _: gone))

    with pytest.raises(ClientError, match="There is no such job"):
        job.wait()


def test_images_are_listed_over_all_pages(fathom: Fathom, server: FakeServer) -> None:
    server.names = [f"{number}.jpg" for number in range(8)]
    server.failed = {3: ("image_empty", "The file is empty.")}

    images = list(fathom.job(JOB_ID).images())

    assert [image.index for image in images] == list(range(8))
    assert (images[3].state, images[3].error_code) == ("failed", "image_empty")
    assert images[3].error_message == "The file is empty."


def test_images_can_be_filtered_by_state(fathom: Fathom, server: FakeServer) -> None:
    server.names = [f"{number}.jpg" for number in range(8)]
    server.failed = {2: ("x", "y"), 7: ("x", "y")}

    assert [image.index for image in fathom.job(JOB_ID).images("failed")] == [2, 7]


@pytest.mark.parametrize("name", ["../up.png", "/etc/passwd", "a/../../up.png"])
def test_an_archive_cannot_write_outside_its_folder(
    fathom: Fathom, server: FakeServer, tmp_path: Path, name: str
) -> None:
    server.names = [name]
    server.outputs = {0: {"heatmap": b"evil"}}

    with pytest.raises(ClientError, match="outside"):
        fathom.job(JOB_ID).download(tmp_path / "out")

    assert not (tmp_path / "up.png").exists()


def test_a_download_unpacks_the_archive_under_its_names(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    server.names = ["假期/猫.png", "b.png"]
    server.outputs = {0: {"heatmap": b"one"}, 1: {"heatmap": b"two"}}

    paths = fathom.job(JOB_ID).download(tmp_path / "out")

    assert [path.read_bytes() for path in paths] == [b"one", b"two"]
    assert paths[0] == tmp_path / "out" / "假期" / "猫.png"
    assert len(list((tmp_path / "out").rglob("*.*"))) == 2


def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path)

    with pytest.raises(ClientError, match="outside"):
        inside(tmp_path / "out", "link/file.png")


def test_a_file_of_the_same_size_is_kept(fathom: Fathom, server: FakeServer, tmp_path: Path) -> None:
    server.outputs = {0: {"heatmap": b"12345"}}
    target = tmp_path / "a.png"
    target.write_bytes(b"54321")
    url = f"/v1/jobs/{JOB_ID}/images/0/heatmap"

    assert fathom.job(JOB_ID).save(url, target) is False
    assert target.read_bytes() == b"54321"


def test_a_file_of_another_size_is_replaced(fathom: Fathom, server: FakeServer, tmp_path: Path) -> None:
    server.outputs = {0: {"heatmap": b"12345"}}
    target = tmp_path / "a.png"
    target.write_bytes(b"123")
    url = f"/v1/jobs/{JOB_ID}/images/0/heatmap"

    assert fathom.job(JOB_ID).save(url, target) is True
    assert target.read_bytes() == b"12345"


class BreakingBody(httpx.SyncByteStream):
    """A body that ends with the connection."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"123"
        raise httpx.ReadError("reset by peer")


def test_a_file_whose_connection_broke_is_fetched_again(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    server.outputs = {0: {"heatmap": b"12345"}}
    server.faults.append(
        times(2, on("GET", "/heatmap", lambda _: httpx.Response(200, stream=BreakingBody())))
    )

    assert fathom.job(JOB_ID).save(f"/v1/jobs/{JOB_ID}/images/0/heatmap", tmp_path / "a.png") is True
    assert (tmp_path / "a.png").read_bytes() == b"12345"


def test_a_file_whose_connection_always_breaks_fails(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    server.faults.append(on("GET", "/heatmap", lambda _: httpx.Response(200, stream=BreakingBody())))

    with pytest.raises(ConnectionLost, match="was lost"):
        fathom.job(JOB_ID).save(f"/v1/jobs/{JOB_ID}/images/0/heatmap", tmp_path / "a.png")

    assert list(tmp_path.iterdir()) == []


def test_an_output_behind_a_redirect_is_followed(fathom: Fathom, server: FakeServer, tmp_path: Path) -> None:
    away = httpx.Response(307, headers={"Location": "http://s3.elsewhere/object"})
    server.faults.append(on("GET", "/images/0/heatmap", lambda _: away))
    server.faults.append(on("GET", "/object", lambda _: httpx.Response(200, content=b"far")))

    fathom.job(JOB_ID).save(f"/v1/jobs/{JOB_ID}/images/0/heatmap", tmp_path / "a.png")

    assert (tmp_path / "a.png").read_bytes() == b"far"


@pytest.mark.parametrize("url", ["ftp://host", "localhost:8080", "", "/v1"])
def test_an_address_that_is_no_http_address_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="http://"):
        Fathom(url)


def test_a_job_keeps_all_fields_of_the_response(fathom: Fathom, server: FakeServer) -> None:
    server.names = ["a.jpg"]
    server.options = {"colormap": "gray"}

    status = fathom.job(JOB_ID).status

    assert status == JobStatus.from_json(status.raw)
    assert (status.total, status.images_per_second, status.eta_seconds) == (1, 2.0, 4.0)
    assert status.options == {"colormap": "gray"}


def test_jobs_are_listed(fathom: Fathom) -> None:
    assert [job.id for job in fathom.jobs()] == [JOB_ID]


def test_models_are_listed_with_all_their_fields(fathom: Fathom, server: FakeServer) -> None:
    server.models = [LARGE]

    (model,) = fathom.models()

    assert {name: getattr(model, name) for name in LARGE if name != "colour"} == {
        name: value for name, value in LARGE.items() if name != "colour"
    }
    assert model.raw["colour"] == "blue"


def test_a_model_from_a_file_that_is_not_shared_is_known_by_its_name(
    fathom: Fathom, server: FakeServer
) -> None:
    server.models = [{"name": "file:mine", "relative_cost": 3.2, "available": True, "licence_note": None}]

    (model,) = fathom.models()

    assert (model.title, model.tier, model.weights_licence, model.licence_note) == (
        "file:mine",
        None,
        None,
        "",
    )
    assert model == ModelInfo.from_json(server.models[0])


def test_a_model_that_is_not_served_is_an_error_with_its_code(
    fathom: Fathom, server: FakeServer, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    refusal = problem(422, "model_unavailable", "No worker serves the model 'dpt_large'.")
    server.faults.append(on("POST", "/v1/jobs", lambda _: refusal))

    with pytest.raises(ApiError, match="No worker serves") as caught:
        fathom.submit([tmp_path / "a.jpg"], {"model": "dpt_large"})

    assert (caught.value.status, caught.value.code) == (422, "model_unavailable")


def test_a_job_id_cannot_reach_another_path(fathom: Fathom, server: FakeServer) -> None:
    with pytest.raises(ClientError):
        fathom.job("../../livez")

    assert server.requests[-1].url.raw_path == b"/v1/jobs/..%2F..%2Flivez"
