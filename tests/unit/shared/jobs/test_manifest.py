from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ObjectNotFound
from shared.jobs import object_keys
from shared.jobs.job import Source, new_job_id
from shared.jobs.manifest import ManifestWriter, decode_manifest, encode_manifest, read_sources
from tests.fakes import FakeObjectStore

JOB = new_job_id()

names = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(names, st.none() | st.integers(min_value=0))))
def test_a_manifest_survives_any_name(rows: list[tuple[str, int | None]]):
    sources = tuple(Source(index=i, name=name, size=size) for i, (name, size) in enumerate(rows))

    assert decode_manifest(encode_manifest(sources)) == sources


def test_line_n_is_image_n_even_with_line_breaks_in_names():
    data = encode_manifest([Source(index=0, name="a\nb\u2028c.jpg"), Source(index=1, name="d.jpg")])

    assert data.count(b"\n") == 2
    assert b'"index": 1' in data.split(b"\n")[1]


#: The source of a photo: a URL, a location in S3, or none.
references = st.tuples(st.none(), st.none()) | st.tuples(names, st.none()) | st.tuples(st.none(), names)


@given(st.lists(st.tuples(names, references), max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_a_line_is_found_by_its_index(
    rows: list[tuple[str, tuple[str | None, str | None]]], start: int, stop: int
):
    sources = tuple(Source(index=i, name=name, url=url, s3=s3) for i, (name, (url, s3)) in enumerate(rows))
    objects = FakeObjectStore()
    with ManifestWriter() as manifest:
        for source in sources:
            manifest.add(source)
        manifest.store(objects, JOB)

    assert decode_manifest(objects.get(object_keys.manifest(JOB))) == sources
    assert read_sources(objects, JOB, start, stop) == sources[start:stop]


def test_a_manifest_without_an_index_is_read_as_a_whole():
    objects = FakeObjectStore()
    sources = tuple(Source(index=index, name=f"{index}.jpg") for index in range(5))
    objects.put(object_keys.manifest(JOB), encode_manifest(sources))

    assert read_sources(objects, JOB, 1, 3) == sources[1:3]
    assert read_sources(objects, JOB, 4, 9) == sources[4:]


def test_a_job_without_a_manifest_has_none():
    with pytest.raises(ObjectNotFound):
        read_sources(FakeObjectStore(), JOB, 0, 1)


def test_a_line_must_be_the_next_image():
    with ManifestWriter() as manifest:
        manifest.add(Source(index=0, name="a"))
        with pytest.raises(ValueError, match="Line 1"):
            manifest.add(Source(index=2, name="c"))


def test_only_the_wanted_lines_are_read():
    objects = FakeObjectStore()
    with ManifestWriter() as manifest:
        for index in range(100_000):
            manifest.add(Source(index=index, name=f"{index}.jpg", s3=f"s3://album/{index}.jpg"))
        manifest.store(objects, JOB)
    asked: list[int] = []

    def count(key: str, *, start: int | None = None, stop: int | None = None) -> None:
        asked.append(len(objects.objects[key][start:stop]))

    objects.before(objects.get, count)
    (source,) = read_sources(objects, JOB, 99_999, 100_000)
    assert source.s3 == "s3://album/99999.jpg"
    assert sum(asked) < 200
