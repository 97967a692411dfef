from __future__ import annotations

import pytest

from api.manifests import Manifests
from shared import layout
from shared.errors import ObjectNotFound
from shared.jobs import Source
from shared.manifest import encode_manifest
from tests.fakes import FakeObjectStore


@pytest.fixture
def objects() -> FakeObjectStore:
    store = FakeObjectStore()
    for job_id in "abc":
        sources = (Source(index=n, name=f"{job_id}{n}") for n in range(4))
        store.put(layout.manifest(job_id), encode_manifest(sources))
    return store


def test_names_beyond_the_bound_are_forgotten_the_least_used_first(objects: FakeObjectStore) -> None:
    manifests = Manifests(objects, max_names=8)
    for job_id in "ab":
        manifests.names(job_id)
    manifests.names("a")
    manifests.names("c")
    objects.away = True

    assert manifests.names("a") == ("a0", "a1", "a2", "a3")
    assert manifests.names("c")[0] == "c0"
    with pytest.raises(Exception, match="cannot be reached"):
        manifests.names("b")


def test_a_manifest_larger_than_the_bound_is_read_but_not_kept(objects: FakeObjectStore) -> None:
    manifests = Manifests(objects, max_names=3)
    assert manifests.names("a")[3] == "a3"
    objects.away = True

    with pytest.raises(Exception, match="cannot be reached"):
        manifests.names("a")


def test_a_job_without_a_manifest_has_no_names(objects: FakeObjectStore) -> None:
    with pytest.raises(ObjectNotFound):
        Manifests(objects).names("z")
