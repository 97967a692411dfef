from __future__ import annotations

import base64
import os

import pytest
import standardwebhooks

from shared.net.webhook_signing import is_secret, make_secret, owner_secret, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_example_of_the_specification_has_its_signature() -> None:
    """This example is from the libraries of the specification."""
    payload = b'{"test": 2432232314}'

    signature = sign([SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, payload)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_another_implementation_makes_the_same_signature() -> None:
    from datetime import UTC, datetime

    moment = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)
    theirs = standardwebhooks.Webhook(SECRET).sign("msg_1", moment, '{"name": "写真"}')

    assert sign([SECRET], "msg_1", int(moment.timestamp()), '{"name": "写真"}'.encode()) == theirs


def test_every_secret_signs() -> None:
    other = "whsec_" + base64.b64encode(os.urandom(24)).decode()
    both = sign([SECRET, other], "m", 1, b"x")

    assert both == f"{sign([SECRET], 'm', 1, b'x')} {sign([other], 'm', 1, b'x')}"


def test_new_secrets_are_valid_and_unique() -> None:
    made = {make_secret() for _ in range(100)}

    assert len(made) == 100
    assert all(map(is_secret, made))


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_long_enough_key_is_a_valid_secret(size: int) -> None:
    assert is_secret("whsec_" + base64.b64encode(bytes(size)).decode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        SECRET[:-4],
        "whsec_" + "A" * 28,
        "whsec_" + "!" * 32,
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_" + "é" * 32,
    ],
)
def test_other_texts_are_not_secrets(text: str) -> None:
    assert not is_secret(text)


def test_every_owner_has_their_own_permanent_secret() -> None:
    secrets = {owner_secret(SECRET, owner) for owner in ("alice", "bob", "", "anyone", "alice ")}

    assert len(secrets) == 5
    assert all(map(is_secret, secrets))
    assert SECRET not in secrets
    assert owner_secret(SECRET, "alice") in secrets
