"""The contract of every object store. A subclass provides the fixture `store`, empty."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.api_keys import KeyStore, make_key, rotate_key
from shared.errors import ObjectNotFound
from shared.objectstore.port import ObjectStore, Transfer

#: More than the thousand objects of one page of an S3 listing.
MANY = 1050

KEYS = [
    "plain",
    "deep/er/and/deeper/still.png",
    "with space/and  two",
    "100%/50%25.jpg",
    "a%20b%2Fc",
    "one+one=two&three",
    "hash#question?mark",
    "quote'double\"angle<>",
    "colon:semi;comma,at@",
    "~tilde_under-dash.dot",
    "stra\u00dfe/\u00fcber",
    "combining/e\u0301",
    "写真/東京.jpg",
    "фото/Привет",
    "صور/بحر",
    "emoji/📷🏔️.heic",
    "l" * 200,
]

DATA = bytes(range(256)) * 4


def put_all(store: ObjectStore, keys: list[str]) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, key.encode()), keys))


class ObjectStoreContract:
    @pytest.fixture
    def wide(self, store: ObjectStore) -> ObjectStore:
        """The store for thousands of objects in as many folders."""
        return store

    @pytest.mark.parametrize("key", KEYS)
    def test_a_key_in_any_script_names_one_object(self, store: ObjectStore, key: str) -> None:
        store.put(f"keys/{key}", key.encode())
        store.put("keys/another", b"another")

        assert store.get(f"keys/{key}") == key.encode()
        assert store.exists(f"keys/{key}")
        assert [entry.key for entry in store.list(f"keys/{key}")] == [f"keys/{key}"]

        store.delete(f"keys/{key}")

        assert [entry.key for entry in store.list("keys/")] == ["keys/another"]

    @pytest.mark.parametrize("keys", [["p/a/1", "p/a/2", "p/a1", "p/b"], ["p/a!b", "p/a/b", "p/ab", "p/b"]])
    def test_a_listing_continues_after_any_of_its_keys(self, store: ObjectStore, keys: list[str]) -> None:
        put_all(store, [*keys, "other", "q/1"])
        listed = [entry.key for entry in store.list("p/")]
        assert sorted(listed) == sorted(keys)

        for place, key in enumerate(listed):
            assert [entry.key for entry in store.list("p/", after=key)] == listed[place + 1 :]

    def test_an_api_key_stays_revoked_even_if_its_record_is_written_again(self, store: ObjectStore) -> None:
        keys = KeyStore(store)
        key, _ = make_key("me", ["read"])
        keys.save(key)
        keys.revoke(key.id)

        # A rotation that has read the record before does this.
        keys.save(rotate_key(key, keep=0.0)[0])

        assert keys.read(key.id).is_revoked
        assert [each.is_revoked for each in keys.list()] == [True]

    def test_different_unicode_forms_are_different_keys(self, store: ObjectStore) -> None:
        store.put("forms/\u00e9", b"composed")
        store.put("forms/e\u0301", b"combining")

        assert store.get("forms/\u00e9") == b"composed"
        assert store.get("forms/e\u0301") == b"combining"

    def test_a_second_put_replaces_the_first(self, store: ObjectStore) -> None:
        store.put("k", b"a much longer first version")
        store.put("k", b"second")

        assert store.get("k") == b"second"
        assert store.size("k") == 6

    def test_a_memoryview_is_written_as_its_bytes(self, store: ObjectStore) -> None:
        store.put("k", memoryview(b"abcdef")[1:4])

        assert store.get("k") == b"bcd"

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (None, None),
            (0, None),
            (0, 1),
            (1, None),
            (10, 20),
            (None, 5),
            (1000, 1024),
            (1023, None),
            (1000, 5000),
            (1024, None),
            (1024, 1030),
            (5000, 6000),
            (7, 7),
            (0, 0),
            (9, 3),
        ],
    )
    def test_a_range_is_what_slicing_gives(
        self, store: ObjectStore, start: int | None, stop: int | None
    ) -> None:
        store.put("ranges", DATA)

        assert store.get("ranges", start=start, stop=stop) == DATA[start:stop]

    @pytest.mark.parametrize(("start", "stop"), [(-1, None), (0, -1), (-5, -2)])
    def test_a_negative_bound_is_refused(self, store: ObjectStore, start: int, stop: int | None) -> None:
        store.put("ranges", DATA)

        with pytest.raises(ValueError, match="range"):
            store.get("ranges", start=start, stop=stop)

    def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        store.put("empty", b"")

        assert store.exists("empty")
        assert store.size("empty") == 0
        assert store.get("empty") == b""
        assert store.get("empty", start=0, stop=10) == b""
        assert list(store.stream("empty")) == []
        assert [(entry.key, entry.size) for entry in store.list("empty")] == [("empty", 0)]

    @pytest.mark.parametrize("size", [0, 1, 5000, 9 * 2**20])
    def test_a_read_has_the_tag_of_the_listing(self, store: ObjectStore, size: int) -> None:
        data = bytes(size)
        store.put_stream("tagged/1", io.BytesIO(data))
        store.put("tagged/10", b"a neighbour")

        tags = {entry.key: entry.tag for entry in store.list("tagged/")}

        assert tags["tagged/1"]
        assert store.get_tagged("tagged/1") == (data, tags["tagged/1"])
        assert store.get_tagged("tagged/1", stop=3) == (data[:3], tags["tagged/1"])

    def test_other_content_of_the_same_size_has_another_tag(self, store: ObjectStore) -> None:
        store.put("tagged", b"one")
        (before,) = store.list("tagged")
        store.put("tagged", b"two")

        data, tag = store.get_tagged("tagged")

        assert data == b"two"
        assert tag != before.tag
        assert [entry.tag for entry in store.list("tagged")] == [tag]

    def test_a_missing_key_has_no_tag(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectNotFound):
            store.get_tagged("missing", stop=10)

    @pytest.mark.parametrize(
        ("start", "stop"), [(None, None), (0, 5), (100, None), (5, 5)], ids=["whole", "head", "tail", "none"]
    )
    def test_reading_a_missing_key_raises(
        self, store: ObjectStore, start: int | None, stop: int | None
    ) -> None:
        with pytest.raises(ObjectNotFound):
            store.get("missing", start=start, stop=stop)

    def test_a_missing_key_has_no_size(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectNotFound):
            store.size("missing")

    def test_streaming_a_missing_key_raises_at_the_call(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectNotFound):
            store.stream("missing")

    def test_a_missing_key_does_not_exist(self, store: ObjectStore) -> None:
        assert not store.exists("missing")

    def test_the_beginning_of_a_key_is_not_an_object(self, store: ObjectStore) -> None:
        store.put("folder/inner/object", b"x")

        assert not store.exists("folder")
        assert not store.exists("folder/inner")
        with pytest.raises(ObjectNotFound):
            store.get("folder/inner")

    def test_a_stream_gives_the_object_in_pieces(self, store: ObjectStore) -> None:
        store.put("k", DATA)

        pieces = list(store.stream("k", chunk_size=300))

        assert b"".join(pieces) == DATA
        assert max(len(piece) for piece in pieces) <= 300

    @pytest.mark.parametrize(
        ("start", "stop", "data"), [(3, 5, b"34"), (8, None, b"89"), (None, 2, b"01"), (0, 10, b"0123456789")]
    )
    def test_a_range_is_streamed(
        self, store: ObjectStore, start: int | None, stop: int | None, data: bytes
    ) -> None:
        store.put("k", b"0123456789")

        assert b"".join(store.stream("k", start=start, stop=stop, chunk_size=1)) == data

    def test_a_stream_may_be_abandoned(self, store: ObjectStore) -> None:
        store.put("k", bytes(3_000_000))

        for _ in range(40):
            pieces = store.stream("k", chunk_size=1000)
            assert next(pieces) == bytes(1000)
            del pieces

        assert store.size("k") == 3_000_000

    @pytest.mark.parametrize("size", [0, 1, 100_000, 8 * 2**20, 8 * 2**20 + 1, 20_000_000])
    def test_a_seekable_stream_is_written_completely(self, store: ObjectStore, size: int) -> None:
        data = (b"0123456789abcde" * (size // 15 + 1))[:size]
        source = io.BytesIO(data)

        store.put_stream("streamed", source)

        assert store.size("streamed") == size
        assert store.get("streamed") == data
        assert not source.closed

    def test_a_stream_is_written_from_its_position(self, store: ObjectStore) -> None:
        source = io.BytesIO(b"skipped and kept")
        source.seek(12)

        store.put_stream("streamed", source)

        assert store.get("streamed") == b"kept"

    def test_a_listing_is_complete_past_one_page_and_in_order(self, wide: ObjectStore) -> None:
        keys = [f"many/{index}/x" for index in range(MANY)]
        put_all(wide, keys)

        listed = list(wide.list("many/"))

        assert [entry.key for entry in listed] == sorted(keys)
        assert [entry.size for entry in listed] == [len(key) for key in sorted(keys)]
        assert wide.delete_prefix("many/") == MANY
        assert list(wide.list("many/")) == []

    def test_a_listing_is_complete_where_folders_and_objects_mix(self, wide: ObjectStore) -> None:
        """Servers over a file system sort `a/` before `a!`; pages must neither lose nor repeat an object."""
        endings = ("/x", "/y/z", "-", ".png", "!/x", "z0")
        keys = [f"mixed/{index}{ending}" for index in range(MANY // 5) for ending in endings]
        put_all(wide, keys)

        listed = [entry.key for entry in wide.list("mixed/")]

        assert sorted(listed) == sorted(keys)
        assert wide.delete_prefix("mixed/") == len(keys)

    def test_a_listing_contains_exactly_the_keys_with_the_prefix(self, store: ObjectStore) -> None:
        for key in ("jobs/1/a", "jobs/1/b/c", "jobs/10/a", "jobs/2/a", "job"):
            store.put(key, b"x")

        assert [entry.key for entry in store.list("jobs/1/")] == ["jobs/1/a", "jobs/1/b/c"]
        assert [entry.key for entry in store.list("jobs/1")] == ["jobs/1/a", "jobs/1/b/c", "jobs/10/a"]
        assert len(list(store.list(""))) == 5

    def test_a_listing_contains_the_modification_times(self, store: ObjectStore) -> None:
        before = time.time()
        store.put("k", b"first")
        store.put("k", b"second")

        (entry,) = store.list("k")

        # Servers return whole seconds, and their clocks may differ slightly from ours.
        assert before - 5 <= entry.modified_at <= time.time() + 5

    def test_folders_are_named_once_and_objects_beside_them_are_not(self, store: ObjectStore) -> None:
        for key in ("tree/b/one", "tree/b/two/three", "tree/a/one", "tree/loose", "tree.txt", "other/c/d"):
            store.put(key, b"x")

        assert list(store.folders("tree/")) == ["a", "b"]
        assert list(store.folders("nothing/")) == []

    def test_folders_are_complete_past_one_page(self, wide: ObjectStore) -> None:
        names = [f"folder-{number}" for number in range(MANY)]
        put_all(wide, [f"wide/{name}/x" for name in names])

        assert list(wide.folders("wide/")) == sorted(names)

    def test_a_listing_of_an_unknown_prefix_is_empty(self, store: ObjectStore) -> None:
        assert list(store.list("nothing/here/")) == []

    def test_deleting_a_missing_object_is_no_error(self, store: ObjectStore) -> None:
        store.delete("missing")
        store.delete("missing/too/deep")

    def test_delete_prefix_keeps_other_keys(self, store: ObjectStore) -> None:
        for key in ("jobs/1/a", "jobs/1/b/c", "jobs/1/b/d", "jobs/10/a", "jobs/11", "jobs/2/a"):
            store.put(key, b"x")

        assert store.delete_prefix("jobs/1/") == 3
        assert [entry.key for entry in store.list("jobs/")] == ["jobs/10/a", "jobs/11", "jobs/2/a"]

    def test_delete_prefix_of_nothing_deletes_nothing(self, store: ObjectStore) -> None:
        assert store.delete_prefix("nothing/") == 0

    def test_delete_prefix_deletes_names_in_any_script(self, store: ObjectStore) -> None:
        for key in KEYS:
            store.put(f"all/{key}", b"x")

        assert store.delete_prefix("all/") == len(KEYS)
        assert list(store.list("all/")) == []

    def test_an_empty_prefix_is_refused(self, store: ObjectStore) -> None:
        store.put("k", b"x")

        with pytest.raises(ValueError, match="everything"):
            store.delete_prefix("")
        assert store.exists("k")

    def test_many_threads_may_write_at_once(self, store: ObjectStore) -> None:
        bodies = {f"threads/{index}": bytes([index]) * 10_000 for index in range(100)}
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(store.put, bodies, bodies.values()))

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(store.get, bodies)) == list(bodies.values())

    def test_racing_writers_of_one_key_leave_one_complete_object(self, store: ObjectStore) -> None:
        bodies = [bytes([index]) * 50_000 for index in range(16)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda body: store.put("raced", body), bodies))

        assert store.get("raced") in bodies

    def test_an_observer_is_called_for_each_object_read_or_written(self, store: ObjectStore) -> None:
        observed_calls: list[tuple[Transfer, str]] = []
        observed = store.observed_by(lambda transfer, key, seconds: observed_calls.append((transfer, key)))
        observed.put("a", DATA)
        assert observed.get("a", stop=3) == DATA[:3]
        assert observed.get_tagged("a") == (DATA, next(store.list("a")).tag)
        with pytest.raises(ObjectNotFound):
            observed.get("missing")
        store.put("b", b"not observed")

        assert observed_calls == [(Transfer.WRITE, "a"), (Transfer.READ, "a"), (Transfer.READ, "a")]

    def test_the_bucket_may_be_ensured_again_and_again(self, store: ObjectStore) -> None:
        store.put("k", b"x")
        store.ensure_bucket()
        store.ensure_bucket()
        store.ping()

        assert store.exists("k")
