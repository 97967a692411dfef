from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from fathom.cli import main
from fathom.commands.submit import tell_apart
from tests.unit.fathom.commands.conftest import Fathom, codes, printed_json
from tests.unit.fathom.conftest import CR3, REFUSED, SKIPPED
from tests.unit.fathom.job_server import JobServer


def refused(*arguments: str | Path) -> str:
    """Return the usage error of a command."""
    result = CliRunner().invoke(main, [*map(str, arguments), "--api", "http://127.0.0.1:9"])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def test_files_and_urls_are_distinguished() -> None:
    assert tell_apart([Path("a"), Path("b")]) == ([Path("a"), Path("b")], [])
    assert tell_apart(["s3://a/b", "https://c/d"]) == ([], ["s3://a/b", "https://c/d"])


def test_files_and_urls_cannot_be_mixed(tmp_path: Path) -> None:
    assert "go as two jobs" in refused("submit", tmp_path, "s3://bucket/a.jpg")


@pytest.mark.parametrize("command", ["submit", "watch"])
def test_results_among_the_photos_are_refused(tmp_path: Path, command: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")

    said = refused(command, tmp_path, "--out", tmp_path / "x" / "..")

    assert "--out must be another folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_is_printed(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])

    assert result.exit_code == 0
    assert "_FATHOM_COMPLETE" in result.output


def test_an_unsupported_shell_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.parametrize(
    ("typed", "offered"), [("fathom wa", "watch"), ("fathom submit --out", "--out"), ("fathom st", "status")]
)
def test_words_are_completed(monkeypatch: pytest.MonkeyPatch, typed: str, offered: str) -> None:
    words = {"_FATHOM_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}

    result = CliRunner().invoke(main, prog_name="fathom", env=words)

    assert f"plain,{offered}" in result.output


def test_without_a_server_job_ids_are_not_completed() -> None:
    words = {
        "_FATHOM_COMPLETE": "bash_complete",
        "COMP_WORDS": "fathom status --api ftp://nowhere a",
        "COMP_CWORD": "4",
    }

    result = CliRunner().invoke(main, prog_name="fathom", env=words)

    assert (result.exit_code, result.output.strip()) == (0, "")


# --- what is sent, and what is not -------------------------------------------------


def zipped(name: str = "a.jpg") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(name, b"photo")
    return data.getvalue()


def sent(server: JobServer) -> list[str]:
    return sorted(name for job in server.jobs.values() for name in job.names)


def test_everything_of_an_album_that_can_get_a_depth_map_is_sent(
    fathom: Fathom, server: JobServer, album: Path, tmp_path: Path
) -> None:
    result = fathom("submit", album, "--out", tmp_path / "out", "--json")
    answer = printed_json(result)

    assert sent(server) == ["a.jpg", "x/b.jpg"]
    assert (result.exit_code, answer["state"], codes(answer)) == (3, "partial", REFUSED)
    assert answer["counts"] == {"total": 4, "succeeded": 2, "failed": 2, "pending": 0}
    assert {name: answer["skipped"][name] for name in ("count", "videos", "sidecars")} == {
        "count": 4,
        "videos": 1,
        "sidecars": 1,
    }
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == ["a.png", "b.png"]


def test_a_second_run_reports_the_same_and_sends_nothing(
    fathom: Fathom, server: JobServer, album: Path
) -> None:
    fathom("submit", album, "--out", album / "depth")
    again = fathom("submit", album, "--out", album / "depth", "--json")

    assert (again.exit_code, codes(printed_json(again)), printed_json(again)["kept"]) == (3, REFUSED, 2)
    assert len(server.jobs) == 1


def test_without_results_the_skipped_files_are_counted(
    fathom: Fathom, server: JobServer, album: Path
) -> None:
    server.bad[b"photo x/b.jpg"] = "image_corrupt"
    result = fathom("submit", album, "--json")
    answer = printed_json(result)

    assert sent(server) == ["a.jpg", "x/b.jpg"]
    assert (result.exit_code, answer["state"]) == (3, "partial")
    assert codes(answer) == {**REFUSED, "x/b.jpg": "image_corrupt"}
    assert answer["counts"] == {"total": 4, "succeeded": 1, "failed": 3, "pending": 0}


def test_a_detached_job_reports_the_skipped_files(fathom: Fathom, album: Path) -> None:
    as_json, as_text = (
        fathom("submit", album, "--detach", "--json"),
        fathom("submit", album, "--detach"),
    )

    assert (as_json.exit_code, codes(printed_json(as_json))) == (3, REFUSED)
    assert printed_json(as_json)["counts"]["total"] == 4
    assert as_text.exit_code == 3
    assert as_text.stdout == "b" * 26 + "\n"
    assert SKIPPED in as_text.stderr
    assert all(f"failed: {name}" in as_text.stderr for name in REFUSED)


@pytest.mark.parametrize("out", [True, False])
def test_without_json_the_report_is_text(fathom: Fathom, album: Path, tmp_path: Path, out: bool) -> None:
    result = fathom("submit", album, *(("--out", tmp_path / "out") if out else ()))

    assert result.exit_code == 3
    assert SKIPPED in result.stderr
    assert "failed: IMG_1.CR3  [unsupported_format] This is a camera's raw file (Canon CR3)" in result.stderr
    assert "partial: 2 of 4 images" in result.stderr.replace("a" * 26 + " ", "")


@pytest.mark.parametrize("out", [True, False])
def test_an_album_of_raw_files_fails_and_sends_nothing(
    fathom: Fathom, server: JobServer, tmp_path: Path, out: bool
) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.CR3").write_bytes(CR3)
    (tmp_path / "album" / "b.dng").write_bytes(b"II*\0")
    result = fathom("submit", tmp_path / "album", "--json", *(("--out", tmp_path / "out") if out else ()))

    assert (result.exit_code, printed_json(result)["state"], server.jobs) == (1, "failed", {})
    assert codes(printed_json(result)) == {"a.CR3": "unsupported_format", "b.dng": "unsupported_format"}


@pytest.mark.parametrize("out", [True, False])
def test_an_album_without_photos_is_wrong_usage_that_names_what_there_is(
    fathom: Fathom, tmp_path: Path, out: bool
) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "clip.mov").touch()
    result = fathom("submit", tmp_path / "album", *(("--out", tmp_path / "out") if out else ()))

    assert result.exit_code == 2
    assert "There is no photo in" in result.stderr
    assert "1 video." in result.stderr


def test_a_photo_that_becomes_unreadable_is_named(fathom: Fathom, server: JobServer, tmp_path: Path) -> None:
    """The file can be opened, but reading it is an I/O error."""
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (tmp_path / "b.jpg").symlink_to("/proc/self/mem")
    result = fathom("submit", tmp_path, "--json")

    assert (result.exit_code, codes(printed_json(result)), sent(server)) == (
        3,
        {"b.jpg": "unreadable"},
        ["a.jpg"],
    )


def test_a_photo_with_an_archive_behind_it_is_a_photo(
    fathom: Fathom, server: JobServer, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0" + zipped())
    assert zipfile.is_zipfile(tmp_path / "a.jpg")

    assert fathom("submit", tmp_path / "a.jpg", "--out", tmp_path / "out").exit_code == 0
    assert fathom("submit", tmp_path / "a.jpg").exit_code == 0
    assert (sent(server), server.forms) == (["a.jpg", "a.jpg"], ["images"])


def test_an_archive_is_recognised_whatever_its_name(
    fathom: Fathom, server: JobServer, tmp_path: Path
) -> None:
    (tmp_path / "album.bin").write_bytes(zipped())
    server.skipped = {"count": 3, "videos": 2, "names": ["a.mov", "b.mov", "c.txt"]}
    result = fathom("submit", tmp_path / "album.bin")
    detached = fathom("submit", tmp_path / "album.bin", "--detach", "--json")

    assert (result.exit_code, detached.exit_code, server.forms) == (0, 0, ["archive"] * 2)
    assert "Skipped 3 files that are no photos: 2 videos, 1 other file." in result.stderr
    assert printed_json(detached)["skipped"]["names"] == ["a.mov", "b.mov", "c.txt"]


@pytest.mark.parametrize("command", ["submit", "run", "watch"])
@pytest.mark.parametrize("make", ["pipe", "device", "nothing"])
def test_a_path_that_is_not_a_file_is_refused_in_one_sentence(
    fathom: Fathom, tmp_path: Path, command: str, make: str
) -> None:
    path = {"pipe": tmp_path / "pipe", "device": Path("/dev/null"), "nothing": tmp_path / "nothing"}[make]
    if make == "pipe":
        os.mkfifo(path)
    out = (tmp_path / "out",) if command == "run" else ("--out", tmp_path / "out")
    result = fathom(command, path, *out)

    said = {"pipe": "it is a pipe", "device": "it is a device", "nothing": "does not exist"}[make]
    assert (result.exit_code, said in " ".join(result.stderr.split())) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_file_at_standard_input_is_sent(fathom: Fathom, server: JobServer, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 photo")
    with (tmp_path / "a.jpg").open("rb") as file:
        result = fathom("submit", f"/dev/fd/{file.fileno()}", "--json")

    assert (result.exit_code, [job.stored[0] for job in server.jobs.values()]) == (
        0,
        [b"\xff\xd8\xff\xe0 photo"],
    )


def test_no_result_overwrites_a_photo_in_the_same_folder(
    fathom: Fathom, server: JobServer, tmp_path: Path
) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(b"photo")
    result = fathom("submit", photo, "--out", tmp_path)

    assert (result.exit_code, photo.read_bytes(), server.jobs) == (2, b"photo", {})
    assert fathom("submit", photo, "--out", tmp_path, "--option", "heatmap_format=jpeg").exit_code == 0
