from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from shared.api_keys import (
    ApiKey,
    InvalidKeySettings,
    KeyNotFound,
    KeyRevoked,
    KeyStore,
    KeyUnreadable,
    Scope,
    decode_key,
    encode_key,
    make_key,
    split_key,
)
from shared.errors import SettingsError
from shared.jobs import object_keys
from shared.settings import Settings
from tests.fakes import FakeClock, FakeObjectStore


@pytest.fixture
def objects() -> FakeObjectStore:
    return FakeObjectStore()


@pytest.fixture
def store(objects: FakeObjectStore) -> KeyStore:
    return KeyStore(objects)


def saved(store: KeyStore, name: str = "me") -> tuple[ApiKey, str]:
    key, text = make_key(name, ["read", "submit"])
    store.save(key)
    return key, text


def proves(key: ApiKey, text: str) -> bool:
    return key.is_proved_by(text.rpartition("_")[2])


def test_a_key_is_found_by_its_id_and_verified_by_its_secret():
    key, text = make_key("me", ["read"])
    key_id, secret = split_key(text) or ("", "")

    assert key_id == key.id
    assert key.is_proved_by(secret)
    assert not key.is_proved_by(secret[:-1] + ("a" if secret[-1] != "a" else "b"))
    assert not key.is_proved_by("")


def test_two_keys_have_nothing_in_common():
    texts = [make_key("me", ["read"])[1] for _ in range(50)]

    assert len({split_key(text) for text in texts}) == 50
    assert all(len(text.rpartition("_")[2]) * 5 >= 128 for text in texts)


def test_the_secret_is_neither_stored_nor_shown(objects: FakeObjectStore, store: KeyStore):
    key, text = saved(store)
    secret = text.rpartition("_")[2]

    (stored,) = objects.objects.values()
    assert secret.encode() not in stored
    assert secret not in repr(key)
    assert key.hash.hex() not in json.dumps(key.to_json())


def test_a_key_record_round_trips():
    key, _ = make_key("me", ["read", "admin"], rate="600/minute", max_images=7, max_bytes=2**40)

    assert decode_key(encode_key(key)) == key


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"scopes": ["read"], "hash": "zz"}',
        b"\xff",
        b'{"scopes":["root"],"hash":""}',
    ],
)
def test_a_damaged_record_is_an_error(data: bytes):
    with pytest.raises(KeyUnreadable):
        decode_key(data)


@pytest.mark.parametrize(
    "text",
    ["", "fathom_", "fathom_a_b", "x" * 50, "fathom_" + "a" * 12 + "_" + "a" * 31, "FATHOM_" + "a" * 45,
     "fathom_" + "a" * 12 + "_" + "a" * 32 + "\n", "fathom_" + "../" * 4 + "_" + "a" * 32],
)  # fmt: skip
def test_an_invalid_key_is_not_looked_up(text: str):
    assert split_key(text) is None


@pytest.mark.parametrize(
    ("name", "scopes", "bounds"),
    [
        ("", ["read"], {}),
        ("x" * 101, ["read"], {}),
        ("a\nb", ["read"], {}),
        ("me", [], {}),
        ("me", ["root"], {}),
        ("me", ["read"], {"rate": "fast"}),
        ("me", ["read"], {"rate": "0/minute"}),
        ("me", ["read"], {"rate": "5/fortnight"}),
        ("me", ["read"], {"max_images": -1}),
        ("me", ["read"], {"max_bytes": -1}),
    ],
)
def test_invalid_keys_are_not_created(name: str, scopes: list[str], bounds: dict[str, Any]):
    with pytest.raises(InvalidKeySettings):
        make_key(name, scopes, **bounds)


def test_keys_are_listed_the_oldest_first(store: KeyStore):
    made = [saved(store, name)[0] for name in ("a", "b", "c")]

    assert store.list() == tuple(made)


def test_a_revoked_key_keeps_its_record(store: KeyStore):
    key, _ = saved(store)
    revoked = store.revoke(key.id)

    assert revoked.is_revoked
    assert store.list() == (revoked,)
    assert store.revoke(key.id) == revoked


def test_a_recent_record_has_no_tag_because_a_change_might_not_show(objects: FakeObjectStore):
    clock = FakeClock()
    store = KeyStore(objects, clock=clock)
    key, _ = saved(store)
    record = object_keys.api_key(key.id)

    for age, marked in ((0.0, False), (9.0, False), (-9.0, False), (11.0, True), (-11.0, True)):
        objects.modified_at[record] = clock() - age
        assert [mark is not None for _, mark in store.versions()] == [marked]


def test_a_changed_record_has_another_tag(objects: FakeObjectStore, store: KeyStore):
    key, _ = saved(store)
    marks = []
    for change in (lambda: None, lambda: store.rotate(key.id, keep=0.0), lambda: store.revoke(key.id)):
        change()
        objects.modified_at[object_keys.api_key(key.id)] = 1_700_000_000.0
        marks += [mark for _, mark in store.versions()]

    assert len(set(marks)) == 3


def test_a_rotated_key_is_the_same_key_with_another_secret(store: KeyStore):
    key, text = saved(store)
    rotated, new_text = store.rotate(key.id, keep=3600.0)

    assert store.read(key.id) == rotated
    assert replace(rotated, hash=key.hash, former_hash=None, former_until=None) == key
    assert proves(rotated, new_text)
    assert proves(rotated, text)
    assert new_text != text


def test_only_the_previous_secret_stays_valid_for_the_requested_time(store: KeyStore):
    key, first = saved(store)
    _, second = store.rotate(key.id, keep=3600.0)
    rotated, third = store.rotate(key.id, keep=3600.0)

    assert [proves(rotated, text) for text in (first, second, third)] == [False, True, True]

    over = replace(rotated, former_until=time.time() - 0.001)
    assert [proves(over, text) for text in (second, third)] == [False, True]


def test_a_previous_secret_without_overlap_ends_at_once(store: KeyStore):
    key, text = saved(store)
    rotated, new_text = store.rotate(key.id, keep=0.0)

    assert [proves(rotated, each) for each in (text, new_text)] == [False, True]


def test_a_failed_rotation_changes_nothing(store: KeyStore):
    key, _ = saved(store)
    with pytest.raises(InvalidKeySettings):
        store.rotate(key.id, keep=-1.0)
    with pytest.raises(KeyNotFound):
        store.rotate("aaaaaaaaaaaa", keep=0.0)
    revoked = store.revoke(key.id)
    with pytest.raises(KeyRevoked):
        store.rotate(key.id, keep=0.0)

    assert store.read(key.id) == revoked


@pytest.mark.parametrize("first", ["rotate", "revoke"])
def test_a_rotation_during_a_revocation_does_not_restore_the_key(
    objects: FakeObjectStore, store: KeyStore, first: str
):
    """Both read the record before either writes; then one of them writes first."""
    key, _ = saved(store)
    verbs: dict[str, Callable[[], object]] = {
        "rotate": partial(store.rotate, key.id, keep=3600.0),
        "revoke": partial(store.revoke, key.id),
    }
    overtaking = verbs.pop(first)
    (overtaken,) = verbs.values()

    def overtake(name: str, data: bytes, **kwargs: Any) -> None:
        objects.before(objects.put, None)
        overtaking()

    objects.before(objects.put, overtake)
    overtaken()

    assert store.read(key.id).is_revoked
    assert [each.is_revoked for each in store.list()] == [True]
    with pytest.raises(KeyRevoked):
        store.rotate(key.id, keep=0.0)


def test_a_key_that_an_earlier_version_revoked_is_revoked(store: KeyStore):
    key, _ = saved(store)
    store.save(replace(key, revoked_at=5.0))

    assert store.read(key.id).revoked_at == 5.0


def test_a_revocation_is_valid_whatever_it_contains(objects: FakeObjectStore, store: KeyStore):
    key, _ = saved(store)
    objects.put(object_keys.revoked_key(key.id), b"")

    assert store.read(key.id).is_revoked


def test_printing_a_rotated_key_shows_neither_hash(store: KeyStore):
    key, _ = saved(store)
    rotated, _ = store.rotate(key.id, keep=3600.0)
    shown = json.dumps(rotated.to_json()) + repr(rotated)

    assert rotated.hash.hex() not in shown
    assert key.hash.hex() not in shown
    assert repr(key.hash) not in shown


def test_a_record_from_before_rotation_existed_is_read():
    key, _ = make_key("me", ["read"])
    record = json.loads(encode_key(key))
    del record["former_hash"], record["former_until"]

    assert decode_key(json.dumps(record).encode()) == key


def test_an_unknown_key_cannot_be_revoked(store: KeyStore):
    with pytest.raises(KeyNotFound):
        store.revoke("aaaaaaaaaaaa")


def test_there_are_three_scopes_and_none_implies_another():
    assert list(Scope) == ["read", "submit", "admin"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FATHOM_ALLOW_ANONYMOUS", "perhaps"),
        ("FATHOM_TRUSTED_PROXIES", "-1"),
        ("FATHOM_TRUSTED_PROXIES", "all"),
        ("FATHOM_CORS_ORIGINS", "*"),
        ("FATHOM_CORS_ORIGINS", "null"),
        ("FATHOM_CORS_ORIGINS", "https://example.org/"),
        ("FATHOM_CORS_ORIGINS", "https://EXAMPLE.org"),
        ("FATHOM_CORS_ORIGINS", "example.org"),
        ("FATHOM_RATE_LIMIT", "lots"),
        ("FATHOM_RATE_LIMIT", "0/second"),
        ("FATHOM_MAX_UNFINISHED_IMAGES", "0"),
    ],
)
def test_an_invalid_access_setting_is_named(name: str, value: str):
    with pytest.raises(SettingsError, match=name):
        Settings.from_environ({name: value})


def test_the_metrics_token_is_not_in_the_settings_text():
    assert "hush" not in repr(Settings.from_environ({"FATHOM_METRICS_TOKEN": "hush"}))
