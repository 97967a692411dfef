from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.settings import Settings


def test_an_empty_environment_gives_the_defaults():
    settings = Settings.from_environ({})

    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert settings.s3_endpoint_url is None
    assert (settings.weights, settings.engine, settings.precision) == ("auto", "openvino", "auto")
    # The largest pictures of phones, 16,320 x 12,240, and their PNGs.
    assert settings.max_pixels == 250_000_000
    assert settings.max_image_bytes == 2**29


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FATHOM_REDIS_URL", "127.0.0.1:6379"),
        ("FATHOM_REDIS_URL", "http://127.0.0.1"),
        ("FATHOM_REDIS_URL", "redis+sentinel://127.0.0.1"),
        ("FATHOM_BROKER_URL", "amqp://127.0.0.1"),
        ("FATHOM_S3_ENDPOINT_URL", "ftp://store"),
        ("FATHOM_S3_PUBLIC_URL", "store:9000"),
        ("FATHOM_ENGINE", "cuda"),
        ("FATHOM_PRECISION", "f16"),
        ("FATHOM_DECODE", "half"),
        ("FATHOM_MAX_PIXELS", "many"),
        ("FATHOM_MAX_PIXELS", "0"),
        ("FATHOM_MAX_PIXELS", "1.5"),
        ("FATHOM_LEASE_IMAGES", "1001"),
        ("FATHOM_LEASE_SECONDS", "nan"),
        ("FATHOM_CHILD_MEMORY_MB", "500"),
        ("FATHOM_RETENTION_HOURS", "-1"),
        ("FATHOM_LEASE_SECONDS", "-1"),
        ("FATHOM_PRESIGN_SECONDS", "604801"),
        ("FATHOM_SOURCE_HOSTS", "10.0.0.1/8"),
        ("FATHOM_SOURCE_HOSTS", "photos.internal, http://a"),
        ("FATHOM_SOURCE_BUCKETS", "album, fathom"),
        ("FATHOM_SOURCE_SECONDS", "61"),
        ("FATHOM_WEBHOOK_SECRETS", "hunter2"),
        ("FATHOM_WEBHOOK_SECRETS", "whsec_" + "A" * 32 + ",whsec_short"),
        ("FATHOM_LOG_LEVEL", "loud"),
        ("FATHOM_URL_SOURCES", "perhaps"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_variable(name: str, value: str):
    with pytest.raises(SettingsError, match=name):
        Settings.from_environ({name: value})


@pytest.mark.parametrize(
    ("value", "is_on"),
    [(None, True), ("", True), ("on", True), ("1", True), ("off", False), ("0", False), ("false", False)],
)
def test_sources_by_url_can_be_switched_off(value: str | None, is_on: bool):
    environ = {} if value is None else {"FATHOM_URL_SOURCES": value}

    assert Settings.from_environ(environ).url_sources is is_on


@pytest.mark.parametrize("name", ["FATHOM_S3_ENDPOINT_URL", "FATHOM_S3_PUBLIC_URL"])
@pytest.mark.parametrize("tail", ["?", "?x=1", "/?x=1", "#", "/#top", "/s3/?x#y"])
def test_an_address_of_s3_with_a_query_or_a_fragment_is_refused(name: str, tail: str):
    with pytest.raises(SettingsError, match=rf"{name}.*query"):
        Settings.from_environ({name: f"https://s3.example.org{tail}"})


@pytest.mark.parametrize("name", ["FATHOM_S3_ENDPOINT_URL", "FATHOM_S3_PUBLIC_URL"])
@pytest.mark.parametrize("login", ["me@", "me:hunter2@", ":hunter2@", "@"])
def test_an_address_of_s3_with_credentials_is_refused_without_repeating_them(name: str, login: str):
    with pytest.raises(SettingsError, match=rf"{name}.*FATHOM_S3_ACCESS_KEY") as caught:
        Settings.from_environ({name: f"https://{login}s3.example.org"})

    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "environ",
    [
        {"FATHOM_ENGINE": "simulated"},
        {"FATHOM_SIMULATE": "network"},
        {"FATHOM_SIMULATE": "pipeline"},
        {"FATHOM_ENGINE": "torch", "FATHOM_SIMULATE": "network"},
        {"FATHOM_ENGINE": "simulated", "FATHOM_SIMULATE": "none"},
    ],
)
def test_simulation_needs_two_settings(environ: dict[str, str]):
    with pytest.raises(SettingsError, match="FATHOM_ENGINE=simulated and FATHOM_SIMULATE"):
        Settings.from_environ(environ)


@pytest.mark.parametrize("present", ["FATHOM_S3_ACCESS_KEY", "FATHOM_S3_SECRET_KEY"])
def test_an_access_key_without_its_secret_is_refused(present: str):
    with pytest.raises(SettingsError, match="must be set together"):
        Settings.from_environ({present: "value"})


def test_an_error_about_a_url_does_not_repeat_the_password_in_it():
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"FATHOM_REDIS_URL": "reddis://:hunter2@store"})

    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown_when_settings_are_printed():
    settings = Settings.from_environ(
        {"FATHOM_S3_ACCESS_KEY": "the-access-key", "FATHOM_S3_SECRET_KEY": "the-secret-key"}
    )

    assert "the-access-key" not in repr(settings)
    assert "the-secret-key" not in repr(settings)


def test_an_empty_variable_counts_as_not_set():
    assert Settings.from_environ({"FATHOM_WEIGHTS": " "}).weights == "auto"


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.from_environ({}).weights = "random"  # type: ignore[misc]  # So mypy says.


def test_every_setting_is_documented_in_sentences():
    explained = [variable.about for variable in Settings.variables().values()]

    assert {about for about in explained if not about.endswith(".") or "|" in about} == set()


def test_downloads_are_stored_in_the_cache_folder_of_the_user():
    settings = Settings.from_environ({"XDG_CACHE_HOME": "/var/cache/me"})

    assert settings.cache_dir == Path("/var/cache/me/fathom")


def test_sources_and_webhooks_are_off_unless_they_are_set():
    settings = Settings.from_environ({})

    assert (settings.source_buckets, settings.source_hosts, settings.webhook_secrets) == ((), (), ())


def test_lists_are_separated_by_commas_or_spaces():
    settings = Settings.from_environ({"FATHOM_SOURCE_HOSTS": "127.0.0.1, photos.internal 10.1.0.0/16"})

    assert settings.source_hosts == ("127.0.0.1", "photos.internal", "10.1.0.0/16")


def test_webhook_secrets_are_shown_neither_in_settings_nor_in_errors():
    secret = "whsec_" + "QUJD" * 8
    assert secret not in repr(Settings.from_environ({"FATHOM_WEBHOOK_SECRETS": secret}))
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({"FATHOM_WEBHOOK_SECRETS": f"{secret},hunter2"})

    assert "hunter2" not in str(caught.value)
    assert secret not in str(caught.value)
