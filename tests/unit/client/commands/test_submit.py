from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from client.cli import main
from client.commands.submit import tell_apart


def refused(*arguments: str | Path) -> str:
    """Return what a command says that is used in a wrong way."""
    result = CliRunner().invoke(main, [*map(str, arguments), "--api", "http://127.0.0.1:9"])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


def test_files_and_addresses_are_told_apart() -> None:
    assert tell_apart([Path("a"), Path("b")]) == ([Path("a"), Path("b")], [])
    assert tell_apart(["s3://a/b", "https://c/d"]) == ([], ["s3://a/b", "https://c/d"])


def test_files_and_addresses_do_not_go_together(tmp_path: Path) -> None:
    assert "go as two jobs" in refused("submit", tmp_path, "s3://bucket/a.jpg")


@pytest.mark.parametrize("command", ["submit", "watch"])
def test_results_among_the_photos_are_refused(tmp_path: Path, command: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")

    said = refused(command, tmp_path, "--out", tmp_path / "x" / "..")

    assert "--out must be another folder" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])

    assert result.exit_code == 0
    assert "_FATHOM_COMPLETE" in result.output


def test_a_shell_without_completion_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == 2


@pytest.mark.parametrize(
    ("typed", "offered"), [("fathom wa", "watch"), ("fathom submit --out", "--out"), ("fathom st", "status")]
)
def test_words_are_completed(monkeypatch: pytest.MonkeyPatch, typed: str, offered: str) -> None:
    words = {"_FATHOM_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}

    result = CliRunner().invoke(main, prog_name="fathom", env=words)

    assert f"plain,{offered}" in result.output


def test_a_job_is_completed_with_nothing_where_no_server_is() -> None:
    words = {
        "_FATHOM_COMPLETE": "bash_complete",
        "COMP_WORDS": "fathom status --api ftp://nowhere a",
        "COMP_CWORD": "4",
    }

    result = CliRunner().invoke(main, prog_name="fathom", env=words)

    assert (result.exit_code, result.output.strip()) == (0, "")
