from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from api.auth.key_cache import FOR_UNKNOWN, FRESH, LONGEST, PAUSE, SOON, WAITING, KeyCache
from shared.api_keys import ApiKey, KeyStore, make_key
from shared.errors import ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.objectstore.port import ObjectInfo
from tests.fakes import FakeClock, FakeObjectStore
from tests.waiting import DEADLINE


class CountingStore(FakeObjectStore):
    """Counts how often it is listed."""

    def __init__(self) -> None:
        super().__init__()
        self.listings = 0

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self.listings += 1
        return super().list(prefix, after=after)


@pytest.fixture
def objects() -> CountingStore:
    return CountingStore()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cache(objects: CountingStore, clock: FakeClock) -> KeyCache:
    return KeyCache(objects, clock=clock, pause=clock.advance)


def add(objects: FakeObjectStore) -> ApiKey:
    key, _ = make_key("me", ["read"])
    KeyStore(objects).save(key)
    return key


def settle() -> None:
    """Wait until no refresh is running."""
    for thread in threading.enumerate():
        if thread.name == "keys":
            thread.join(DEADLINE)


def test_a_key_is_found(cache: KeyCache, objects: CountingStore):
    key = add(objects)

    assert cache.find(key.id) == key
    assert not cache.is_empty()


def test_without_keys_the_cache_is_empty(cache: KeyCache):
    assert cache.is_empty()
    assert cache.find("aaaaaaaaaaaa") is None


def test_keys_are_read_once_for_many_requests(cache: KeyCache, objects: CountingStore):
    key = add(objects)
    found = [cache.find(key.id) for _ in range(1000)]

    assert found == [key] * 1000
    assert objects.listings == 1


def test_a_revocation_is_known_within_five_seconds(cache: KeyCache, objects: CountingStore, clock: FakeClock):
    key = add(objects)
    assert cache.find(key.id) == key
    revoked = KeyStore(objects).revoke(key.id)
    clock.advance(FRESH + 0.01)

    assert FRESH < 5
    assert cache.find(key.id) == revoked


def test_two_changes_within_one_second_are_both_seen(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    key = add(objects)
    rotated, _ = KeyStore(objects).rotate(key.id, keep=0.0)
    written = objects.modified_at[object_keys.api_key(key.id)]
    assert cache.find(key.id) == rotated
    # It has the size of the one before, and the same modification time in the whole seconds of S3.
    again, _ = KeyStore(objects).rotate(key.id, keep=0.0)
    objects.modified_at[object_keys.api_key(key.id)] = written
    clock.advance(FRESH + 0.01)

    assert cache.find(key.id) == again


def test_an_unchanged_record_is_read_once(cache: KeyCache, objects: CountingStore, clock: FakeClock):
    key = add(objects)
    objects.modified_at[object_keys.api_key(key.id)] = 1_700_000_000.0
    assert cache.find(key.id) == key
    # If it were read again, it would be damaged.
    objects.objects[object_keys.api_key(key.id)] = b"?" * len(objects.objects[object_keys.api_key(key.id)])
    clock.advance(FRESH + 0.01)

    assert cache.find(key.id) == key


def test_keys_are_refreshed_before_a_request_must_wait(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    key = add(objects)
    cache.find(key.id)
    clock.advance(SOON + 0.01)
    cache.find(key.id)
    settle()

    assert objects.listings == 2


def test_a_new_key_is_found(cache: KeyCache, objects: CountingStore, clock: FakeClock):
    assert cache.find("aaaaaaaaaaaa") is None
    key = add(objects)
    clock.advance(FOR_UNKNOWN + 0.01)

    assert cache.find(key.id) == key


def test_a_request_waits_for_a_key_made_after_the_last_refresh(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    assert cache.find("aaaaaaaaaaaa") is None
    key = add(objects)
    clock.advance(FOR_UNKNOWN / 2)

    assert cache.find(key.id) == key


def test_a_flood_of_guesses_does_not_block_the_threads(objects: CountingStore, clock: FakeClock):
    waiting, go_on = threading.Semaphore(0), threading.Event()

    def pause(_seconds: float) -> None:
        waiting.release()
        go_on.wait(DEADLINE)

    cache = KeyCache(objects, clock=clock, pause=pause)
    cache.find("aaaaaaaaaaaa")
    clock.advance(FOR_UNKNOWN / 2)
    with ThreadPoolExecutor(WAITING) as pool:
        held = [pool.submit(cache.find, "aaaaaaaaaaaa") for _ in range(WAITING)]
        assert all(waiting.acquire(timeout=DEADLINE) for _ in held)

        assert cache.find("bbbbbbbbbbbb") is None
        go_on.set()


def test_a_rejected_key_is_read_again(cache: KeyCache, objects: CountingStore, clock: FakeClock):
    key = add(objects)
    assert cache.find(key.id) == key
    rotated, _ = KeyStore(objects).rotate(key.id, keep=0.0)
    clock.advance(FOR_UNKNOWN + 0.01)

    assert cache.find(key.id, accept=lambda found: found.hash == rotated.hash) == rotated
    assert cache.find(key.id, accept=lambda found: found.hash == key.hash) is None


def test_guessing_secrets_causes_a_few_listings_per_second(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    key, began = add(objects), clock()
    for _ in range(100):
        assert cache.find(key.id, accept=lambda _: False) is None
        clock.advance(0.001)
    settle()

    assert objects.listings <= (clock() - began) / FOR_UNKNOWN + 1


def test_guessing_ids_causes_a_few_listings_per_second(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    add(objects)
    began = clock()
    for _ in range(100):
        assert cache.find("aaaaaaaaaaaa") is None
        clock.advance(0.01)
    settle()

    assert objects.listings <= (clock() - began) / FOR_UNKNOWN + 1


def test_known_keys_work_while_the_object_store_is_away(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    key = add(objects)
    cache.find(key.id)
    objects.away = True
    clock.advance(LONGEST - 1)

    assert cache.find(key.id) == key


def test_an_unknown_key_is_neither_accepted_nor_refused_while_the_object_store_is_away(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    cache.find(add(objects).id)
    objects.away = True
    clock.advance(FRESH + 0.01)

    with pytest.raises(ObjectStoreUnavailable):
        cache.find("aaaaaaaaaaaa")


def test_known_keys_do_not_work_for_ever_without_the_object_store(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    key = add(objects)
    cache.find(key.id)
    objects.away = True
    clock.advance(LONGEST + 1)

    with pytest.raises(ObjectStoreUnavailable):
        cache.find(key.id)


def test_before_the_first_refresh_no_key_is_known(cache: KeyCache, objects: CountingStore):
    objects.away = True

    with pytest.raises(ObjectStoreUnavailable):
        cache.is_empty()


def test_keys_are_read_again_when_the_object_store_is_back(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    objects.away = True
    with pytest.raises(ObjectStoreUnavailable):
        cache.is_empty()
    objects.away = False
    clock.advance(PAUSE + 0.01)

    assert cache.is_empty()


def test_an_unavailable_object_store_is_not_read_at_every_request(cache: KeyCache, objects: CountingStore):
    objects.away = True
    for _ in range(100):
        with pytest.raises(ObjectStoreUnavailable):
            cache.is_empty()

    assert objects.listings == 1


def test_a_damaged_record_does_not_affect_other_keys(
    cache: KeyCache, objects: CountingStore, caplog: pytest.LogCaptureFixture
):
    key = add(objects)
    objects.put(object_keys.api_key("aaaaaaaaaaaa"), b"{")

    assert cache.find(key.id) == key
    assert cache.find("aaaaaaaaaaaa") is None
    assert "left out" in caplog.text


def test_a_damaged_record_does_not_allow_anonymous_access(cache: KeyCache, objects: CountingStore):
    objects.put(object_keys.api_key("aaaaaaaaaaaa"), b"{")

    assert not cache.is_empty()


def test_a_key_that_is_replaced_within_a_second_is_seen(
    cache: KeyCache, objects: CountingStore, clock: FakeClock
):
    key = add(objects)
    assert cache.find(key.id) == key
    KeyStore(objects).save(replace(key, revoked_at=1.5))
    clock.advance(FRESH + 0.01)
    found = cache.find(key.id)

    assert found is not None
    assert found.is_revoked
