from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.jobs import Source
from shared.manifest import decode_manifest, encode_manifest

names = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(names, st.none() | st.integers(min_value=0))))
def test_a_manifest_survives_any_name(rows: list[tuple[str, int | None]]):
    sources = tuple(Source(index=i, name=name, size=size) for i, (name, size) in enumerate(rows))

    assert decode_manifest(encode_manifest(sources)) == sources


def test_line_n_is_image_n_even_with_line_breaks_in_names():
    data = encode_manifest([Source(index=0, name="a\nb\u2028c.jpg"), Source(index=1, name="d.jpg")])

    assert data.count(b"\n") == 2
    assert b'"index": 1' in data.split(b"\n")[1]
