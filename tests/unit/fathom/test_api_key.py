from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from fathom.backends import run
from fathom.cli import main
from fathom.commands.connection import connect
from fathom.sync_client import Fathom
from tests.unit.fathom.conftest import JOB_ID, S3, FakeServer, on

KEY = "fathom_aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"


@pytest.fixture
def keyed(server: FakeServer) -> Iterator[Fathom]:
    with Fathom("http://fathom.test", api_key=KEY, transport=httpx.MockTransport(server)) as client:
        yield client


def sent_authorizations(server: FakeServer) -> dict[str, set[str | None]]:
    """Return the Authorization header that each host received."""
    found: dict[str, set[str | None]] = {}
    for request in server.requests:
        found.setdefault(request.url.host, set()).add(request.headers.get("Authorization"))
    return found


def test_the_key_is_sent_to_the_api_and_not_to_the_object_store(
    server: FakeServer, keyed: Fathom, tmp_path: Path
):
    for index in range(70):
        (tmp_path / f"{index}.jpg").write_bytes(b"photo")
    keyed.submit([tmp_path])

    assert sent_authorizations(server) == {"fathom.test": {f"Bearer {KEY}"}, "s3.test": {None}}


def test_a_redirect_to_the_object_store_does_not_carry_the_key(
    server: FakeServer, keyed: Fathom, tmp_path: Path
):
    def redirect(request: httpx.Request) -> httpx.Response:
        return httpx.Response(307, headers={"Location": f"{S3}/inputs/0"})

    server.faults.append(on("GET", "/heatmap", redirect))
    keyed.job(JOB_ID).save(f"/v1/jobs/{JOB_ID}/images/0/heatmap", tmp_path / "0.png")

    assert sent_authorizations(server) == {"fathom.test": {f"Bearer {KEY}"}, "s3.test": {None}}


@pytest.mark.parametrize(
    "url", ["http://fathom.test:81/x", "https://fathom.test/x", "http://fathom.test.evil/x"]
)
def test_the_key_is_for_one_origin(server: FakeServer, keyed: Fathom, url: str):
    server.faults.append(lambda request: httpx.Response(200))
    run(keyed._http.json("GET", url))

    assert set().union(*sent_authorizations(server).values()) == {None}


def test_without_a_key_none_is_sent(server: FakeServer, fathom: Fathom):
    list(fathom.jobs())

    assert sent_authorizations(server) == {"fathom.test": {None}}


@pytest.mark.parametrize(("value", "expected"), [(KEY, True), ("", False), (None, False)])
def test_commands_take_the_key_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: bool
):
    if value is None:
        monkeypatch.delenv("FATHOM_API_KEY", raising=False)
    else:
        monkeypatch.setenv("FATHOM_API_KEY", value)
    with connect("http://fathom.test") as client:
        assert (client._http._http.auth is not None) is expected


# --- fathom keys ---------------------------------------------------------------


def test_without_a_stack_the_error_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("ENDPOINT_URL", "ACCESS_KEY", "SECRET_KEY", "BUCKET", "PUBLIC_URL", "REGION"):
        monkeypatch.delenv(f"FATHOM_S3_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(main, ["keys", "list"])

    assert ended.exit_code == 1
    assert "No `fathom up` runs on .fathom." in ended.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["--name", "me", "--scopes", "root"],
        ["--name", "me", "--scopes", ""],
        ["--name", "me", "--rate", "fast"],
        ["--name", "me", "--max-images", "-1"],
        ["--name", ""],
    ],
)
def test_a_malformed_key_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, arguments: list[str]):
    monkeypatch.setenv("FATHOM_S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("FATHOM_S3_ACCESS_KEY", "a")
    monkeypatch.setenv("FATHOM_S3_SECRET_KEY", "b")
    ended = CliRunner().invoke(main, ["keys", "create", *arguments])

    assert ended.exit_code == 1
    assert len(ended.output.splitlines()) == 1
