"""`fathom doctor` on real servers, good and broken ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from fathom.cli import main
from fathom.stack.servers import ValkeyServer, free_ports
from shared.jobstore.redis_store import RedisJobStore
from shared.objectstore.s3 import S3ObjectStore
from shared.redis.client import connect_redis
from tests.conftest import start_or_skip


@pytest.fixture
def environ(fathom_environ: dict[str, str]) -> dict[str, str]:
    """The settings of good servers, with real weights."""
    return {**fathom_environ, "FATHOM_WEIGHTS": "starter"}


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A Valkey for one test, which configures it wrongly."""
    server = start_or_skip(ValkeyServer(tmp_path / "valkey", password="secret-word"))
    yield server
    server.stop()


class DoctorOutput:
    """The output of the command."""

    def __init__(self, environ: Mapping[str, str], *arguments: str) -> None:
        result = CliRunner().invoke(main, ["doctor", "--json", *arguments], env=dict(environ))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.code = result.exit_code
        self.text = result.stdout
        self.findings = json.loads(result.stdout)["findings"]
        self.healthy = json.loads(result.stdout)["healthy"]

    def not_ok(self, part: str) -> list[tuple[str, str]]:
        return [(f["level"], f["message"]) for f in self.findings if f["part"] == part and f["level"] != "ok"]


def test_good_servers_are_healthy(environ: dict[str, str], object_store: S3ObjectStore) -> None:
    with connect_redis(environ["FATHOM_REDIS_URL"]) as client:
        RedisJobStore(client).register_worker("one", 3)

    report = DoctorOutput(environ)

    assert (report.code, report.healthy) == (0, True)
    assert report.not_ok("redis") == []
    assert report.not_ok("workers") == []
    assert {f["part"] for f in report.findings} == {
        "settings",
        "redis",
        "workers",
        "s3",
        "model",
        "machine",
    }
    assert any("They serve midas_small (3 images at once)." in f["message"] for f in report.findings)
    assert any("Presigned URLs" in f["message"] and f["level"] == "ok" for f in report.findings)
    # It leaves nothing behind.
    assert list(object_store.list("")) == []


def test_the_text_shows_marks_and_remedies(environ: dict[str, str]) -> None:
    port = free_ports(1)[0]
    broken = {**environ, "FATHOM_REDIS_URL": f"redis://127.0.0.1:{port}/0"}

    result = CliRunner().invoke(main, ["doctor"], env=broken)

    assert result.exit_code == 1
    assert f"error    redis     redis://127.0.0.1:{port}" in result.stdout
    assert "-> Start it, or correct FATHOM_REDIS_URL." in result.stdout


def test_without_workers_it_warns_and_is_no_error(environ: dict[str, str]) -> None:
    report = DoctorOutput(environ)

    assert report.code == 0
    assert [level for level, _ in report.not_ok("workers")] == ["warning"]


def test_workers_that_serve_other_models_than_the_default_are_a_warning(environ: dict[str, str]) -> None:
    with connect_redis(environ["FATHOM_REDIS_URL"]) as client:
        RedisJobStore(client).register_worker("one", 3, {"dpt_large": 101.9})

    (found,) = DoctorOutput(environ).not_ok("workers")

    assert found[0] == "warning"
    assert found[1].startswith(
        "They serve dpt_large (3 images at once). None serves FATHOM_MODEL, midas_small"
    )


def test_a_redis_that_persists_nothing_and_evicts_data_is_an_error(
    environ: dict[str, str], valkey: ValkeyServer
) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("appendonly", "no")
        client.config_set("maxmemory-policy", "allkeys-lru")

    report = DoctorOutput({**environ, "FATHOM_REDIS_URL": valkey.url})

    assert report.code == 1
    assert [level for level, _ in report.not_ok("redis")] == ["error", "error"]
    assert "allkeys-lru" in report.text
    assert "appendonly yes" in report.text
    assert "secret-word" not in report.text


def test_a_redis_that_is_nearly_full_is_a_warning(environ: dict[str, str], valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", str(int(used * 1.1)))

    report = DoctorOutput({**environ, "FATHOM_REDIS_URL": valkey.url})

    assert [level for level, _ in report.not_ok("redis")] == ["warning"]


@pytest.mark.parametrize("login", ["", ":wrong@"])
def test_a_wrong_password_is_reported_without_showing_it(
    environ: dict[str, str], valkey: ValkeyServer, login: str
) -> None:
    report = DoctorOutput({**environ, "FATHOM_REDIS_URL": f"redis://{login}127.0.0.1:{valkey.port}/0"})

    assert report.code == 1
    assert "refused this user or password" in report.not_ok("redis")[0][1]
    assert "wrong" not in report.text


@pytest.mark.parametrize(
    ("setting", "value", "word"),
    [
        ("FATHOM_S3_SECRET_KEY", "another-secret", "refused"),
        ("FATHOM_S3_BUCKET", "no-such-bucket", "no such bucket"),
        ("FATHOM_S3_ENDPOINT_URL", None, "cannot be reached"),
        ("FATHOM_S3_PUBLIC_URL", None, "public address"),
    ],
)
def test_an_s3_that_cannot_be_used_is_an_error(
    environ: dict[str, str], setting: str, value: str | None, word: str
) -> None:
    report = DoctorOutput({**environ, setting: value or f"http://127.0.0.1:{free_ports(1)[0]}"})

    assert report.code == 1
    found = report.not_ok("s3")
    assert found[0][0] == "error"
    assert word in found[0][1]
    assert "another-secret" not in report.text


def test_a_public_address_below_a_path_is_an_error_with_its_reason(environ: dict[str, str]) -> None:
    report = DoctorOutput({**environ, "FATHOM_S3_PUBLIC_URL": f"{environ['FATHOM_S3_PUBLIC_URL']}/s3/"})

    assert report.code == 1
    assert [level for level, _ in report.not_ok("settings")] == ["warning"]
    (broken,) = (f for f in report.findings if f["part"] == "s3" and f["level"] == "error")
    assert "/s3 is answered" in broken["message"]
    assert "part of what is signed" in broken["remedy"]


def test_a_public_address_that_is_another_server_is_an_error(
    environ: dict[str, str], valkey: ValkeyServer
) -> None:
    report = DoctorOutput({**environ, "FATHOM_S3_PUBLIC_URL": f"http://127.0.0.1:{valkey.port}"})

    assert report.code == 1
    assert [level for level, _ in report.not_ok("s3")][:1] == ["error"]
