"""What sharing models must do over every object store. A subclass provides the fixture `objects`, empty."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import ModelError, WeightsInvalid, WeightsUnavailable
from shared.jobs import object_keys
from shared.model_registry import (
    content_path,
    fetch_shared,
    file_model,
    find_file_model,
    list_file_models,
    list_shared,
    models_folder,
    register,
    share,
    store_content,
    unshare,
)
from shared.networks import Near, Network, Preprocessing, Rule, WayBack
from shared.objectstore.port import ObjectStore

#: More than the one part of a short upload.
LONG = os.urandom(2**20) * 9

Add = Callable[..., Network]


def add_file(
    cache: Path, content: bytes = b"a model", *, name: str = "file:mine", near: Near = Near.LOW
) -> Network:
    """Add a model that nothing has checked."""
    network = file_model(
        name=name,
        title="Mine",
        sha256=store_content(cache, [content]),
        megabytes=1,
        licence="CC0",
        near=near,
        parameters=3,
        cost=12.3,
        preprocessing=Preprocessing(
            rule=Rule.LOWER_BOUND, side=518, multiple=14, longest=1036, way_back=WayBack.LINEAR
        ),
    )
    register(cache, network)
    return network


def keys(objects: ObjectStore) -> list[str]:
    return sorted(entry.key for entry in objects.list(""))


class SharedModelsContract:
    @pytest.fixture
    def here(self, tmp_path: Path) -> Path:
        """The cache of the machine where models are added."""
        return tmp_path / "here"

    @pytest.fixture
    def there(self, tmp_path: Path) -> Path:
        """The cache of a worker."""
        return tmp_path / "there"

    def test_a_shared_model_is_the_same_on_another_machine(
        self, objects: ObjectStore, here: Path, there: Path
    ) -> None:
        added = add_file(here, LONG)

        assert share(objects, here, "mine") == find_file_model("mine", here)
        fetched = fetch_shared(objects, there, "file:mine")

        assert fetched == added
        assert fetched.cost == pytest.approx(12.3)
        assert list_shared(objects) == [fetched] == list_file_models(there)
        assert content_path(there, fetched).read_bytes() == LONG
        assert keys(objects) == [object_keys.model(f"{added.sha256}.onnx"), object_keys.model("mine.json")]

    def test_sharing_and_fetching_again_change_nothing(
        self, objects: ObjectStore, here: Path, there: Path
    ) -> None:
        added = add_file(here)
        share(objects, here, "mine")
        fetch_shared(objects, there, "mine")
        before = content_path(there, added).stat().st_mtime_ns

        share(objects, here, "mine")
        again = fetch_shared(objects, there, "mine")

        assert [again] == list_shared(objects)
        assert content_path(there, added).stat().st_mtime_ns == before

    def test_a_name_is_not_given_to_other_content_unless_it_is_replaced(
        self, objects: ObjectStore, here: Path, there: Path
    ) -> None:
        add_file(here)
        share(objects, here, "mine")
        first = fetch_shared(objects, there, "mine")
        other = add_file(here, b"another model")

        with pytest.raises(ModelError, match="in the object store has the name file:mine"):
            share(objects, here, "mine")
        share(objects, here, "mine", replace=True)
        fetch_shared(objects, there, "mine")

        assert [each.sha256 for each in list_shared(objects)] == [other.sha256]
        assert len(keys(objects)) == 2
        assert not content_path(there, first).exists()

    def test_content_that_two_names_share_stays_until_both_are_gone(
        self, objects: ObjectStore, here: Path
    ) -> None:
        add_file(here)
        added = add_file(here, name="file:yours", near=Near.HIGH)
        share(objects, here, "mine")
        share(objects, here, "yours")

        unshare(objects, "mine")
        assert keys(objects) == [object_keys.model(f"{added.sha256}.onnx"), object_keys.model("yours.json")]
        unshare(objects, "file:yours")

        assert keys(objects) == []

    def test_what_is_not_shared_can_be_neither_fetched_nor_unshared(
        self, objects: ObjectStore, there: Path
    ) -> None:
        for use in (lambda: fetch_shared(objects, there, "mine"), lambda: unshare(objects, "mine")):
            with pytest.raises(WeightsUnavailable, match="The model file:mine is not shared"):
                use()
        assert list_shared(objects) == []

    def test_damage_in_the_store_is_noticed_and_nothing_kept(
        self, objects: ObjectStore, here: Path, there: Path
    ) -> None:
        added = add_file(here)
        share(objects, here, "mine")
        objects.put(object_keys.model(added.file), b"a m0del")

        with pytest.raises(WeightsInvalid, match="The shared file of file:mine is damaged"):
            fetch_shared(objects, there, "mine")
        assert not list(models_folder(there).iterdir())

        share(objects, here, "mine", replace=True)
        assert fetch_shared(objects, there, "mine").sha256 == added.sha256

    @pytest.mark.parametrize("description", [b"", b"[]", b'{"name": "file:mine"}', b"\xff"])
    def test_a_damaged_description_hides_no_other(
        self, objects: ObjectStore, here: Path, there: Path, description: bytes
    ) -> None:
        add_file(here, name="file:yours")
        share(objects, here, "yours")
        objects.put(object_keys.model("mine.json"), description)

        assert [each.name for each in list_shared(objects)] == ["file:yours"]
        with pytest.raises(WeightsInvalid, match="description of file:mine is damaged"):
            fetch_shared(objects, there, "mine")
        unshare(objects, "mine")

        assert [entry.rpartition(".")[2] for entry in keys(objects)] == ["onnx", "json"]

    def test_several_processes_may_fetch_at_once(self, objects: ObjectStore, here: Path, there: Path) -> None:
        add_file(here, LONG)
        share(objects, here, "mine")

        with ThreadPoolExecutor(4) as pool:
            fetched = list(pool.map(lambda _: fetch_shared(objects, there, "mine"), range(4)))

        assert len(set(fetched)) == 1
        found = hashlib.sha256(content_path(there, fetched[0]).read_bytes()).hexdigest()
        assert found == fetched[0].sha256
        assert len(list(models_folder(there).iterdir())) == 2
