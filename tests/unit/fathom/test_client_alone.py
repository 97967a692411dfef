"""A client that was installed without the server: its modules, and its messages for commands of the server."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest

from fathom.cli import COMMANDS
from tests.client_alone import CLIENT, fathom_alone, needed_by, python_alone, requirements_of

SOURCES = sorted(CLIENT.rglob("*.py"))
#: The modules of commands that need the server; none is imported before such a command runs.
SERVER_ONLY = ("fathom.demo", "fathom.doctor", "fathom.stack")
HTTP_COMMANDS = {
    *("submit", "watch", "status", "images", "jobs", "open", "download"),
    *("cancel", "pause", "resume", "retry", "delete", "completion"),
}
SERVER_COMMANDS = [
    "up",
    "run PHOTOS OUT",
    "model fetch",
    "model info",
    "model export --out depth.onnx",
    "model remove mine",
    "model share mine",
    "model unshare mine",
    "model train --pairs PHOTOS --out mine.safetensors",
    "housekeeper",
    "keys create --name me",
    "keys list",
    "keys rotate ID",
    "keys revoke ID",
    "doctor",
    "doctor --json",
]


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)


def test_the_client_requires_three_libraries(client_site: Path):
    assert set(requirements_of(client_site)) == {"click", "httpx", "rich"}


def test_the_client_needs_no_package_of_the_server(client_site: Path):
    heavy = {"celery", "flask", "numpy", "opencv-python-headless", "openvino", "pydantic", "redis", "boto3"}

    assert needed_by(requirements_of(client_site)) & heavy == set()


def test_every_package_of_the_client_is_installed(client_site: Path):
    root = client_site / "fathom"

    assert {path.relative_to(root) for path in root.rglob("*.py")} == {p.relative_to(CLIENT) for p in SOURCES}
    assert (client_site / "fathom" / "py.typed").exists()


def test_every_client_module_can_be_imported_without_the_server(client_site: Path, tmp_path: Path):
    modules = [".".join(path.relative_to(CLIENT.parent).with_suffix("").parts) for path in SOURCES]
    wanted = [name for name in modules if not name.startswith(SERVER_ONLY)]
    program = f"""
import importlib, json
for name in {wanted!r}:
    importlib.import_module(name)
print(json.dumps(list(sys.modules)))
"""
    ended = run(python_alone(client_site, program), tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert {"fathom.sync_client", "fathom.commands.keys", "fathom.mirror.run"} <= set(wanted)
    assert not {name for name in json.loads(ended.stdout) if name.startswith(SERVER_ONLY)}


def test_the_shared_rules_can_be_imported_without_the_http_client(client_site: Path, tmp_path: Path):
    program = """
import fathom.photos.discovery, fathom.result_names
print([name for name in ("httpx", "click", "rich", "fathom.transport") if name in sys.modules])
"""
    ended = run(python_alone(client_site, program), tmp_path)

    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")


def test_the_imports_of_the_readme_work(client_site: Path, tmp_path: Path):
    program = """
from fathom import *
from fathom import ApiError, AsyncFathom, Fathom
import fathom
print(sorted(set(fathom.__all__) - set(globals())), set(fathom.__all__) <= set(dir(fathom)))
print(Fathom.__module__, AsyncFathom.__module__, issubclass(ApiError, fathom.ClientError))
try:
    fathom.nothing
except AttributeError as exc:
    print(exc)
"""
    ended = run(python_alone(client_site, program), tmp_path)

    assert ended.stdout.splitlines() == [
        "[] True",
        "fathom.sync_client fathom.async_client True",
        "module 'fathom' has no attribute 'nothing'",
    ]


def test_help_lists_every_command(client_site: Path, tmp_path: Path):
    ended = run(fathom_alone(client_site, "--help"), tmp_path)

    assert ended.returncode == 0, ended.stderr
    listed = re.findall(r"^  (\w+) ", ended.stdout.partition("Commands:")[2], re.MULTILINE)
    assert set(COMMANDS) <= set(listed)


def test_every_command_is_listed_as_http_or_as_needing_the_server():
    assert {command.split()[0] for command in SERVER_COMMANDS} | HTTP_COMMANDS == set(COMMANDS)


@pytest.fixture(scope="module")
def said(client_site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The exit code, standard output and standard error of every command that needs the server."""
    program = f"""
import json
from click.testing import CliRunner
from fathom.cli import main
said = dict()
for command in {SERVER_COMMANDS!r}:
    ended = CliRunner().invoke(main, command.split())
    assert isinstance(ended.exception, SystemExit), (command, ended.exception)
    said[command] = [ended.exit_code, ended.stdout, ended.stderr]
print(json.dumps(said))
"""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "PHOTOS").mkdir()
    ended = run(python_alone(client_site, program), folder)
    assert ended.returncode == 0, ended.stderr
    return cast("dict[str, list[Any]]", json.loads(ended.stdout))


@pytest.mark.parametrize("command", SERVER_COMMANDS)
def test_a_command_that_needs_the_server_says_what_to_install(said: dict[str, list[Any]], command: str):
    code, out, err = said[command]

    assert (code, out) == (1, "")
    assert re.fullmatch(r"fathom: This command needs Fathom's server, .*`make setup`.*\.\n", err)


def test_a_process_that_needs_the_server_says_so_without_a_traceback(client_site: Path, tmp_path: Path):
    ended = run(fathom_alone(client_site, "doctor"), tmp_path)

    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)


def test_the_client_and_the_server_have_the_same_version():
    client = tomllib.loads((CLIENT / "pyproject.toml").read_text(encoding="utf-8"))
    server = tomllib.loads((CLIENT.parent / "pyproject.toml").read_text(encoding="utf-8"))

    assert client["project"]["version"] == server["project"]["version"]
