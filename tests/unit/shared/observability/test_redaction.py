from __future__ import annotations

import json
import logging

import pytest

from api.auth.cookie import sign
from shared.api_keys import make_key
from shared.observability.logs import configure_logging
from shared.observability.redaction import Redactor, secrets_of
from shared.settings import Settings

SIGNED = (
    "https://s3.example/fathom/jobs/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAXYZ%2F2026&"
    "X-Amz-Date=20261122T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=0123456789abcdef"
)

SIGNING = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_only_the_id_of_an_api_key_remains():
    key, text = make_key("me", ["read"])

    assert (
        Redactor([]).redact(f"Bearer {text}, {text}!") == f"Bearer fathom_{key.id}_***, fathom_{key.id}_***!"
    )


def test_the_signature_of_a_session_is_removed():
    key, _ = make_key("me", ["read"])

    assert Redactor([]).redact(f"cookie {sign(key, 2**31)};") == f"cookie s1.{key.id}.***;"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (SIGNED, "0123456789abcdef"),
        (SIGNED, "AKIAXYZ"),
        (f'{{"url": "{SIGNED}"}}', "0123456789abcdef"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=AKIAXYZ/2026/s3, Signature=00ffee", "00ffee"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=AKIAXYZ/2026/s3, Signature=00ffee", "AKIAXYZ"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("{'Authorization': 'Bearer anything-at-all'}", "anything-at-all"),
        ("('authorization', b'Bearer anything-at-all')", "anything-at-all"),
        ("redis://:hunter22@127.0.0.1:6379/0 is away", "hunter22"),
        ("rediss://user:hunter22@host/0", "hunter22"),
        ("redis+sentinel://a,b/albums?sentinel_password=hunter22 is away", "hunter22"),
        (f"webhooks are signed by whsec_{SIGNING}", SIGNING),
        ("x-amz-security-token=FwoGZXIvYXdzE&x=1", "FwoGZXIvYXdzE"),
    ],
)
def test_values_that_look_like_secrets_are_removed(text: str, secret: str):
    assert secret not in Redactor([]).redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "A job of 3 images was accepted.",
        "http://127.0.0.1:9000/fathom/jobs/a@b",
        "GET /v1/jobs/aaaaaaaaaaaaaaaaaaaaaaaaaa answered 200.",
        "the signature of the file is PNG",
        "fathom_worker_images_total",
    ],
)
def test_other_values_remain(text: str):
    assert Redactor(["short"]).redact(text) == text


def test_known_secrets_are_removed_in_every_encoding():
    secret = 'a/b+c"d\\e'
    redactor = Redactor([secret])

    for text in (secret, json.dumps({"key": secret}), "a%2Fb%2Bc%22d%5Ce"):
        assert redactor.redact(text) != text
        assert "b+c" not in redactor.redact(text)


@pytest.mark.parametrize(
    "text",
    ["signature=abc", "x-amz-credential=abc", "redis://:hunter22@host", "Basic dXNlcjpwYXNz", SIGNED],
)
def test_a_redacted_json_line_stays_valid(text: str):
    line = json.dumps({"message": json.dumps({"authorization": text, "other": f'say "{text}"'})})
    redacted = Redactor([]).redact(line)

    assert set(json.loads(json.loads(redacted)["message"])) == {"authorization", "other"}
    assert redacted != line


def test_a_secret_that_contains_another_is_removed_completely():
    assert Redactor(["secret-key", "secret-key-and-more"]).redact("secret-key-and-more") == "***"


def test_the_settings_know_their_secrets():
    settings = Settings.from_environ(
        {
            "FATHOM_REDIS_URL": "redis://:hunter22@localhost:6379/0",
            "FATHOM_BROKER_URL": "redis+sentinel://:p%40sswords@one/albums?sentinel_password=watchword",
            "FATHOM_S3_ACCESS_KEY": "AKIAXYZ",
            "FATHOM_S3_SECRET_KEY": "wJalrXUtnFEMI",
            "FATHOM_METRICS_TOKEN": "scrape-me",
            "FATHOM_WEBHOOK_SECRETS": f"whsec_{SIGNING}",
        }
    )

    redis = {"hunter22", "p@sswords", "watchword"}
    assert set(secrets_of(settings)) == {*redis, "wJalrXUtnFEMI", "scrape-me", f"whsec_{SIGNING}"}


@pytest.mark.parametrize("fmt", ["json", "text"])
def test_no_line_of_the_log_holds_a_secret(fmt: str, capsys: pytest.CaptureFixture[str]):
    root, before = logging.getLogger(), (logging.getLogger().handlers[:], logging.getLogger().level)
    _, text = make_key("me", ["read"])
    try:
        configure_logging("DEBUG", fmt, secrets=["wJalrXUtnFEMI"])
        try:
            raise ValueError(f"wJalrXUtnFEMI in {SIGNED}")
        except ValueError:
            logging.getLogger("anything").exception(
                "%s", text, extra={"action": "x", "header": f"Bearer {text}"}
            )
        logging.getLogger("botocore.auth").debug("Signature:\n%s", "00ffee00ffee")
    finally:
        root.handlers[:], level = before
        root.setLevel(level)

    line = capsys.readouterr().err
    assert "Traceback" in line or "traceback" in line
    for secret in ("wJalrXUtnFEMI", "0123456789abcdef", text.rpartition("_")[2], "00ffee"):
        assert secret not in line
