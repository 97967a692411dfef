"""Other buckets of the same server as sources of photos."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.errors import BucketNotFound, ObjectNotFound, SourceMissing
from shared.jobs.job import Source, new_job_id
from shared.jobs.manifest import ManifestWriter
from shared.objectstore.s3 import S3ObjectStore
from tests.fetching import make_fetcher

BUCKET = "someone-elses-album"


@pytest.fixture(scope="module")
def bucket(seaweed_store: S3ObjectStore) -> Iterator[S3ObjectStore]:
    bucket = seaweed_store.in_bucket(BUCKET)
    bucket.ensure_bucket()
    yield bucket
    bucket.delete_prefix("a")


def test_buckets_are_separate(object_store: S3ObjectStore, bucket: S3ObjectStore) -> None:
    bucket.put("a/写真 1.jpg", b"photo")

    assert bucket.get("a/写真 1.jpg", stop=3) == b"pho"
    assert [entry.key for entry in bucket.list("a/")] == ["a/写真 1.jpg"]
    assert not object_store.exists("a/写真 1.jpg")
    with pytest.raises(ObjectNotFound):
        bucket.get("a/2.jpg")


def test_a_missing_bucket_is_distinguished_from_an_unavailable_store(object_store: S3ObjectStore) -> None:
    nowhere = object_store.in_bucket("no-such-bucket-at-all")
    with pytest.raises((BucketNotFound, ObjectNotFound)):
        nowhere.get("a.jpg")
    with pytest.raises(BucketNotFound):
        list(nowhere.list(""))


def test_an_image_is_fetched_from_another_bucket(object_store: S3ObjectStore, bucket: S3ObjectStore) -> None:
    job_id = new_job_id()
    bucket.put("a/1.jpg", b"photo")
    with ManifestWriter() as manifest:
        for index, name in enumerate(("1.jpg", "2.jpg")):
            manifest.add(Source(index=index, name=name, s3=f"s3://{BUCKET}/a/{name}"))
        manifest.store(object_store, job_id)
    fetcher = make_fetcher(object_store, buckets=(BUCKET,), most_bytes=100)

    assert fetcher.fetch(job_id, 0) == b"photo"
    with pytest.raises(SourceMissing):
        fetcher.fetch(job_id, 1)
