from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidSource
from shared.jobs.sources import (
    Listing,
    S3Address,
    decode_listings,
    encode_listings,
    key_name,
    name_below,
    parse_s3,
    to_source,
    url_name,
)


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://album/a.jpg", "album", "a.jpg"),
        ("s3://my.album-2/2024/写真 1.jpg", "my.album-2", "2024/写真 1.jpg"),
        ("s3://album/a//b.jpg", "album", "a//b.jpg"),
        ("s3://album/a?b#c%20d.jpg", "album", "a?b#c%20d.jpg"),
        ("s3://album/..a/.b/c...jpg", "album", "..a/.b/c...jpg"),
    ],
)
def test_a_key_is_taken_literally(text: str, bucket: str, key: str) -> None:
    assert parse_s3(text) == S3Address(bucket=bucket, key=key)
    assert str(parse_s3(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s3://",
        "s3:///a.jpg",
        "s3://album",
        "s3://album/",
        "S3://album/a.jpg",
        "http://album/a.jpg",
        "s3://al bum/a.jpg",
        "s3://user@album/a.jpg",
        "s3://album:80/a.jpg",
        "s3://../a.jpg",
        "s3://album/../secret/a.jpg",
        "s3://album/a/../../secret/b.jpg",
        "s3://album/./a.jpg",
        "s3://album/a/..",
        "s3://album/a\\..\\b.jpg",
        "s3://album/a\x00.jpg",
        "s3://album/a\nb.jpg",
        "s3://album/" + "é" * 513,
        "s3://" + "a" * 300 + "/a.jpg",
    ],
)
def test_invalid_keys_and_keys_outside_the_bucket_are_refused(text: str) -> None:
    with pytest.raises(InvalidSource):
        parse_s3(text)


def test_a_prefix_may_be_a_whole_bucket() -> None:
    assert parse_s3("s3://album", prefix=True) == parse_s3("s3://album/", prefix=True)
    with pytest.raises(InvalidSource):
        parse_s3("s3://album/../other/", prefix=True)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/a/b.jpg", "b.jpg"),
        ("https://example.org/a/b.jpg?size=2", "b.jpg"),
        ("https://example.org/a/", "a"),
        ("https://example.org/", "example.org"),
        ("https://example.org/%E5%86%99%E7%9C%9F%201.jpg", "写真 1.jpg"),
        ("https://example.org/%ff.jpg", "\ufffd.jpg"),
        ("https://example.org/a%2Fb.jpg", "b.jpg"),
    ],
)
def test_a_photo_gets_the_last_part_of_its_url_as_name(url: str, name: str) -> None:
    assert url_name(url) == name


@pytest.mark.parametrize(
    ("prefix", "key", "name"),
    [
        ("", "a/b.jpg", "a/b.jpg"),
        ("a/", "a/b/c.jpg", "b/c.jpg"),
        ("a/im", "a/img.jpg", "img.jpg"),
        ("a", "a/b.jpg", "a/b.jpg"),
        ("a/b.jpg", "a/b.jpg", "b.jpg"),
        ("a/", "a//b.jpg", "b.jpg"),
    ],
)
def test_a_photo_gets_its_key_below_the_prefix_as_name(prefix: str, key: str, name: str) -> None:
    assert name_below(prefix, key) == name


def test_a_photo_named_by_itself_gets_the_last_part_of_its_key_as_name() -> None:
    assert key_name("2024/walk/a.jpg") == "a.jpg"
    assert key_name("a/b/") == "b"


def test_a_given_name_is_used() -> None:
    url, s3 = "https://example.org/a.jpg", "s3://album/b.jpg"

    assert to_source(Listing(url=url), 3).name == "a.jpg"
    assert to_source(Listing(url=url, name="x.jpg"), 3).name == "x.jpg"
    assert (to_source(Listing(s3=s3), 4).name, to_source(Listing(s3=s3), 4).s3) == ("b.jpg", s3)
    assert to_source(Listing(s3=s3, name="y.jpg"), 4).name == "y.jpg"


texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.builds(Listing, url=texts, s3=texts, s3_prefix=texts, name=texts)))
def test_listings_round_trip_any_text(listings: list[Listing]) -> None:
    assert decode_listings(encode_listings(listings)) == tuple(listings)
