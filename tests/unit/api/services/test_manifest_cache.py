from __future__ import annotations

import pytest

from api.services.manifest_cache import ManifestCache
from shared.errors import ObjectNotFound, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import Source
from shared.jobs.manifest import encode_manifest
from tests.fakes import FakeObjectStore


def store_names(objects: FakeObjectStore, job_id: str, names: list[str]) -> None:
    sources = (Source(index=index, name=name) for index, name in enumerate(names))
    objects.put(object_keys.manifest(job_id), encode_manifest(sources))


@pytest.fixture
def objects() -> FakeObjectStore:
    store = FakeObjectStore()
    for job_id in "abc":
        store_names(store, job_id, [f"{job_id}{n}" for n in range(4)])
    return store


def two_jobs(objects: FakeObjectStore) -> int:
    """Return slightly more bytes than the names of two jobs take."""
    return 2 * ManifestCache(objects).names("a").size + 10


def test_beyond_the_limit_the_least_recently_used_names_are_dropped(objects: FakeObjectStore) -> None:
    manifests = ManifestCache(objects, max_bytes=two_jobs(objects))
    for job_id in "ab":
        manifests.names(job_id)
    manifests.names("a")
    manifests.names("c")
    objects.away = True

    assert list(manifests.names("a")) == ["a0", "a1", "a2", "a3"]
    assert manifests.names("c")[0] == "c0"
    with pytest.raises(ObjectStoreUnavailable):
        manifests.names("b")


def test_a_manifest_larger_than_the_limit_is_not_cached(objects: FakeObjectStore) -> None:
    manifests = ManifestCache(objects, max_bytes=3)
    assert manifests.names("a")[3] == "a3"
    objects.away = True

    with pytest.raises(ObjectStoreUnavailable):
        manifests.names("a")


def test_a_job_without_a_manifest_has_no_names(objects: FakeObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        ManifestCache(objects).names("z")


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
def test_every_name_is_found_by_its_index(objects: FakeObjectStore, count: int) -> None:
    given = [f"{n}/写真\n\u2028 {'x' * (n % 50)}.jpg" for n in range(count)]
    store_names(objects, "many", given)
    names = ManifestCache(objects).names("many")

    assert len(names) == count
    assert list(names) == given
    assert [names[index] for index in reversed(range(count))] == given[::-1]


@pytest.mark.parametrize("index", [-1, 4, 1000])
def test_there_is_no_name_beyond_the_last(objects: FakeObjectStore, index: int) -> None:
    with pytest.raises(IndexError):
        ManifestCache(objects).names("a")[index]


def test_names_take_less_memory_than_their_manifest(objects: FakeObjectStore) -> None:
    store_names(objects, "long", [f"holiday/2024-06-01/IMG_{n:06d}.JPG" for n in range(20_000)])

    assert ManifestCache(objects).names("long").size < objects.size(object_keys.manifest("long")) / 4
