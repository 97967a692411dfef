"""Albums through the whole system, as users submit them."""

from __future__ import annotations

import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fathom.models import UploadFile
from fathom.uploads import ONE_REQUEST_FILES
from tests.acceptance.albums import BAD, REAL, SKIPPED, nasty_album, plain_album, tree
from tests.acceptance.conftest import CommandStarter
from tests.acceptance.stacks import CommandResult, LaunchedStack, check_exactly_once, run_fathom
from tests.waiting import DEADLINE, eventually


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nasty_album(tmp_path_factory.mktemp("album"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def submitted(stack: LaunchedStack, album: Path, results: Path) -> CommandResult:
    """The nasty album, submitted and downloaded once."""
    return stack.run("submit", album, "--out", results)


def test_every_real_photo_has_its_heatmap_under_its_own_name(submitted: CommandResult, results: Path) -> None:
    assert tree(results) == set(REAL)


@pytest.mark.parametrize("name", sorted(REAL))
def test_a_heatmap_has_the_size_of_its_photo(submitted: CommandResult, results: Path, name: str) -> None:
    with Image.open(results / name) as heatmap:
        assert heatmap.size == REAL[name]
        assert heatmap.mode == "P"


def test_some_bad_photos_make_the_job_partial(submitted: CommandResult) -> None:
    assert submitted.code == 3
    assert f"partial: {len(REAL)} of {len(REAL) + len(BAD)} images" in submitted.err
    assert SKIPPED in submitted.err


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_photo_is_named_with_its_reason(submitted: CommandResult, name: str) -> None:
    lines = [line for line in submitted.err.splitlines() if line.startswith(f"failed: {name} ")]

    assert len(lines) == 1
    assert f"[{BAD[name]}]" in lines[0]
    assert lines[0].endswith(".")


def test_the_heatmap_of_a_photo_taken_sideways_is_upright(submitted: CommandResult, results: Path) -> None:
    upright, phone = (
        np.asarray(Image.open(results / name)).astype(int) for name in ("upright.png", "phone.png")
    )

    same = np.abs(upright - phone).mean()
    turned = np.abs(upright - phone[::-1, ::-1]).mean()

    # The photos differ only by their JPEG compression, which random weights amplify.
    assert same < turned / 4


def test_a_zip_gives_the_same_results_as_its_folder_whatever_is_damaged_in_it(
    stack: LaunchedStack, album: Path, submitted: CommandResult, results: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "album.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(album.rglob("*")):
            file.write(path, path.relative_to(album).as_posix())
        file.writestr("damaged.jpg", b"not what the checksum is of")
    archive.write_bytes(archive.read_bytes().replace(b"not what", b"NOT WHAT"))

    ended = stack.run("submit", archive, "--out", tmp_path / "out")

    assert ended.code == 3
    assert all(f"failed: {name}  [{code}]" in ended.err for name, code in BAD.items())
    assert SKIPPED in ended.err
    assert tree(tmp_path / "out") >= set(REAL) - {"same.png", "same.png.png"}
    name = "假期/猫.png"
    assert (tmp_path / "out" / name).read_bytes() == (results / name).read_bytes()


def test_the_library_gives_the_same_results_as_the_command(
    stack: LaunchedStack, album: Path, submitted: CommandResult, results: Path, tmp_path: Path
) -> None:
    job_id = submitted.err.splitlines()[-1].split()[0]

    with stack.client() as fathom:
        paths = fathom.job(job_id).download(tmp_path)

    heatmaps = {path.relative_to(tmp_path).as_posix() for path in paths if path.suffix == ".png"}
    assert heatmaps == set(REAL)
    for name in REAL:
        assert (tmp_path / name).read_bytes() == (results / name).read_bytes()


def test_a_run_without_a_server_gives_the_same_results(
    stack: LaunchedStack, album: Path, submitted: CommandResult, results: Path, tmp_path: Path
) -> None:
    ended = run_fathom("run", album, tmp_path / "out", "--json", environ=stack.environ)

    assert ended.code == 3
    assert ended.json["state"] == "partial"
    assert {f["name"]: f["code"] for f in ended.json["failures"]} == BAD
    assert tree(tmp_path / "out") == set(REAL)
    for name in REAL:
        assert (tmp_path / "out" / name).read_bytes() == (results / name).read_bytes()


def test_announced_photos_are_uploaded_directly_to_s3(stack: LaunchedStack, tmp_path: Path) -> None:
    folder = plain_album(tmp_path / "album", 3)
    files = [UploadFile(path=path, name=path.name) for path in sorted(folder.iterdir())]

    with stack.client() as fathom:
        job = fathom.announce(files, {})
        endpoint = stack.info["s3"]["endpoint"]
        assert all(upload["url"].startswith(f"{endpoint}/") for upload in job.status.raw["uploads"])

        job.upload(files)
        job.wait()

    assert job.status.state == "succeeded"
    check_exactly_once(stack, job.id, 3)


def test_an_album_too_large_for_one_request_goes_through_the_command(
    stack: LaunchedStack, tmp_path: Path
) -> None:
    count = ONE_REQUEST_FILES + 1
    folder = plain_album(tmp_path / "album", count)

    ended = stack.run("submit", folder, "--out", tmp_path / "out", "--json")

    assert ended.code == 0
    assert ended.json["counts"] == {"total": count, "succeeded": count, "failed": 0, "pending": 0}
    assert ended.json["files"] == count
    assert len(tree(tmp_path / "out")) == count
    check_exactly_once(stack, ended.json["id"], count)


def test_a_detached_job_is_fetched_later_and_only_once(stack: LaunchedStack, tmp_path: Path) -> None:
    folder, out = plain_album(tmp_path / "album", 3), tmp_path / "out"
    job_id = stack.run("submit", folder, "--detach").out.strip()
    eventually(lambda: "succeeded" in stack.run("status", job_id).out)

    assert stack.run("download", job_id, "--out", out, "--sidecars").code == 0
    assert len(tree(out)) == 6
    first = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    (out / "0001.png").unlink()

    assert stack.run("download", job_id, "--out", out).code == 0
    again = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    assert {name for name in first if again[name] != first[name]} == {"0001.png"}


def test_all_commands_show_the_same_job(stack: LaunchedStack, tmp_path: Path) -> None:
    submitted = stack.run("submit", plain_album(tmp_path / "album", 3), "--json").json
    status = stack.run("status", submitted["id"], "--json").json
    listed = stack.run("jobs", "--json").json["jobs"]
    images = stack.run("images", submitted["id"], "--state", "succeeded", "--json").json["images"]

    assert {**submitted, **status} == submitted
    assert listed[0] == status
    assert [image["name"] for image in images] == ["0000.jpg", "0001.jpg", "0002.jpg"]


def test_options_reach_the_pipeline(stack: LaunchedStack, tmp_path: Path) -> None:
    folder, out = plain_album(tmp_path / "album", 2), tmp_path / "out"
    options = ["-o", "outputs=heatmap,depth16,npy", "-o", "heatmap_format=jpeg", "-o", "normalize=job"]

    assert stack.run("submit", folder, "--out", out, *options).code == 0

    assert tree(out) == {f"{n:04}.{ending}" for n in range(2) for ending in ("jpg", "depth16.png", "npy")}
    assert np.load(out / "0000.npy").shape == (64, 96)


def test_a_canceled_job_exits_4_and_can_be_deleted(stack: LaunchedStack, tmp_path: Path) -> None:
    with stack.workers_stopped():
        job_id = stack.run("submit", plain_album(tmp_path / "album", 2), "--detach").out.strip()
        assert stack.run("cancel", job_id).code in (0, 4)
    ended = eventually(lambda: stack.run("status", job_id), lambda status: status.code == 4)
    assert "canceled" in ended.out

    assert stack.run("delete", job_id).code == 0
    gone = stack.run("status", job_id)
    assert gone.code == 1
    assert "no such job" in gone.err


def test_a_paused_job_waits_until_it_is_resumed(stack: LaunchedStack, tmp_path: Path) -> None:
    with stack.client() as fathom:
        with stack.workers_stopped():
            job = fathom.submit([plain_album(tmp_path / "album", 12)])
            assert job.pause().state == "paused"
        job.resume()
        job.wait()

    assert job.status.state == "succeeded"
    check_exactly_once(stack, job.id, 12)


def test_an_interrupted_submit_leaves_the_job_running(
    stack: LaunchedStack, start_command: CommandStarter, tmp_path: Path
) -> None:
    with stack.client() as fathom:
        with stack.workers_stopped():
            process = start_command("submit", plain_album(tmp_path / "album", 12), "--api", stack.api)
            assert process.stderr is not None
            said = ""
            while "processing" not in said:
                said += process.stderr.readline()
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=DEADLINE)[1]
            job = fathom.job(next(iter(fathom.jobs())).id)
        job.wait()

    assert process.returncode == 130
    again = next(line for line in rest.splitlines() if "fathom download" in line).split()
    assert again[2] == job.id
    assert job.status.state == "succeeded"
    assert job.status.total == 12


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["submit", "nowhere"], 2, "does not exist"),
        (["submit", "samples", "-o", "colormap=pink"], 2, "colormap"),
        (["submit", "samples", "-o", "colormap"], 2, "name=value"),
        (["submit", "tests/acceptance"], 2, "no photo"),
        (["submit", "samples", "--detach", "--out", "x"], 2, "--detach"),
        (["status", "a" * 26], 1, "no such job"),
        (["status", "../../livez"], 1, "fathom: "),
        (["download", "a" * 26, "--out", "x"], 1, "no such job"),
        (["images", "a" * 26], 1, "no such job"),
    ],
)
def test_a_wrong_command_is_explained_in_one_sentence(
    stack: LaunchedStack, arguments: list[str], code: int, message: str
) -> None:
    ended = stack.run(arguments[0], *arguments[1:])

    assert ended.code == code
    assert message in ended.err
    assert ended.out == ""
