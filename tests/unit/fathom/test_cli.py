from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from fathom.cli import COMMANDS, main


def loaded_by(program: str, *arguments: str, exit_code: int = 0) -> set[str]:
    """Return the modules that a fresh Python has loaded after a program."""
    ending = "import atexit; atexit.register(lambda: print('LOADED', *sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys\n{ending}\n{program}", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == exit_code, ended.stderr
    return set(ended.stdout.rpartition("LOADED")[2].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_lists_a_command_as_it_describes_itself(name: str):
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert command.name == name
    assert COMMANDS[name][1] == command.get_short_help_str(limit=200)


def test_a_command_that_does_not_exist_is_none():
    assert main.get_command(click.Context(main), "depth") is None


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["up", "--help"]])
def test_help_waits_for_no_package_but_click(arguments: Sequence[str]):
    loaded = loaded_by("from fathom.cli import main; main()", *arguments)

    assert "click" in loaded
    assert loaded.isdisjoint(
        {"httpx", "rich", "asyncio", "numpy", "cv2", "celery", "boto3", "fathom.transport"}
    )


@pytest.mark.parametrize(
    ("arguments", "needed", "others"),
    [
        (["submit", "--help"], "httpx", {"fathom.commands.run", "fathom.commands.watch", "shared", "worker"}),
        (["run", "--help"], "rich", {"httpx", "asyncio", "fathom.sync_client", "shared", "worker", "numpy"}),
    ],
)
def test_a_command_waits_for_no_package_of_another(arguments: Sequence[str], needed: str, others: set[str]):
    loaded = loaded_by("from fathom.cli import main; main()", *arguments)

    assert needed in loaded
    assert loaded.isdisjoint(others)


def test_a_run_leaves_the_packages_of_the_pipeline_to_its_processes(tmp_path: Path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"no photo")
    simulated = "import os; os.environ.update(FATHOM_ENGINE='simulated', FATHOM_SIMULATE='network')"

    loaded = loaded_by(
        f"{simulated}\nfrom fathom.cli import main\nif __name__ == '__main__': main()",
        *("run", str(photo), str(tmp_path / "out"), "--quiet"),
        exit_code=1,
    )

    assert "worker.local.process_pool" in loaded
    assert loaded.isdisjoint(
        {"numpy", "cv2", "PIL", "openvino", "celery", "kombu", "boto3", "redis", "httpx"}
    )
