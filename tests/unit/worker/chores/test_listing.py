from __future__ import annotations

import json
from typing import Any

import pytest

from photos.skipped import Skipped
from shared import layout
from shared.chore_needs import add_chores
from shared.chores import ChoreKind
from shared.errors import ObjectStoreDenied, ObjectStoreUnavailable
from shared.intent import read_intent
from shared.jobs import Job, JobState, Quota
from shared.manifest import decode_manifest, read_sources
from shared.sources import Listing, encode_listings
from tests.fakes import FakeObjectStore
from tests.unit.worker.chores.conftest import House, go_on
from worker.chores.listing import ListSources
from worker.chores.runner import ChoreInterrupted, Done, Later

BUCKET = "album"


@pytest.fixture
def bucket(house: House) -> FakeObjectStore:
    house.objects.buckets[BUCKET] = FakeObjectStore()
    return house.objects.buckets[BUCKET]  # type: ignore[return-value]


def submit(house: House, *listings: Listing, **changes: Any) -> Job:
    job = house.accept(**changes)
    house.chores.forget(job.id)
    house.objects.put(layout.sources(job.id), encode_listings(listings))
    add_chores(job, house.objects, house.chores)
    return job


def below(prefix: str = "", bucket: str = BUCKET) -> Listing:
    return Listing(s3_prefix=f"s3://{bucket}/{prefix}")


def run(
    house: House, check: Any = go_on, *, max_images: int = 100, buckets: tuple[str, ...] = (BUCKET,)
) -> Done | Later:
    handler = ListSources(house.gathering(), house.objects, buckets=buckets, max_images=max_images)
    return handler.do(house.claim(ChoreKind.LIST), check)


def put(bucket: FakeObjectStore, *keys: str) -> None:
    for key in keys:
        bucket.put(key, key.encode())


def test_photos_below_a_prefix_become_the_jobs_images_where_they_lie(
    house: House, bucket: FakeObjectStore
) -> None:
    put(bucket, "2024/a.jpg", "2024/walk/写真.PNG", "2024/b.HEIC", "2025/c.jpg", "2024.jpg")
    job = submit(house, below("2024/"))

    assert run(house) == Done()
    sources = decode_manifest(house.objects.get(layout.manifest(job.id)))
    assert [(s.index, s.name, s.s3, s.size) for s in sources] == [
        (0, "a.jpg", "s3://album/2024/a.jpg", 10),
        (1, "b.HEIC", "s3://album/2024/b.HEIC", 11),
        (2, "walk/写真.PNG", "s3://album/2024/walk/写真.PNG", 20),
    ]
    assert read_sources(house.objects, job.id, 1, 3) == sources[1:]
    started = house.job(job)
    assert (started.state, started.counts.total) == (JobState.QUEUED, 3)
    assert house.keys(job) == ["manifest.index", "manifest.jsonl", "skipped.json", "sources.jsonl"], (
        "Nothing is copied."
    )
    assert len(house.wakes) == 1


def test_how_many_images_there_are_outlives_the_job_store(house: House, bucket: FakeObjectStore) -> None:
    put(bucket, "a.jpg", "b.jpg")
    job = submit(house, below())
    run(house)

    intent = read_intent(house.objects, job.id)
    assert intent is not None
    assert (intent.verb, intent.total) == ("start", 2)


def test_what_is_no_photo_is_named(house: House, bucket: FakeObjectStore) -> None:
    put(
        bucket,
        "x/a.jpg",
        "x/notes.txt",
        "x/video.mov",
        "x/.hidden.jpg",
        "x/.thumbs/b.jpg",
        "x/__MACOSX/._a.jpg",
        "x/folder/",
    )
    job = submit(house, below("x/"))
    run(house)

    skipped = Skipped.from_json(house.objects.get(layout.skipped(job.id)))
    assert skipped == Skipped(count=2, videos=1, names=["notes.txt", "video.mov"])
    assert house.job(job).counts.total == 1


def test_a_picture_that_fathom_does_not_read_is_an_image_of_the_job(
    house: House, bucket: FakeObjectStore
) -> None:
    put(bucket, "x/a.CR3", "x/a.jpg", "x/b.psd", "x/@eaDir/a.jpg")
    job = submit(house, below("x/"))
    run(house)

    assert [source.name for source in read_sources(house.objects, job.id, 0, 9)] == [
        "a.CR3",
        "a.jpg",
        "b.psd",
    ]


def test_a_prefix_need_not_end_at_a_folder(house: House, bucket: FakeObjectStore) -> None:
    put(bucket, "x/img1.jpg", "x/img2.jpg", "x/other.jpg")
    job = submit(house, below("x/img"))
    run(house)

    assert [s.name for s in decode_manifest(house.objects.get(layout.manifest(job.id)))] == [
        "img1.jpg",
        "img2.jpg",
    ]


def test_prefixes_and_single_photos_keep_their_order(house: House, bucket: FakeObjectStore) -> None:
    put(bucket, "x/a.jpg", "y/b.jpg")
    job = submit(
        house,
        Listing(url="https://example.org/p/c.jpg"),
        below("y/"),
        Listing(s3="s3://album/z/d.jpg", name="called.jpg"),
        below("x/"),
    )
    run(house)

    sources = decode_manifest(house.objects.get(layout.manifest(job.id)))
    assert [(s.name, s.url or s.s3) for s in sources] == [
        ("c.jpg", "https://example.org/p/c.jpg"),
        ("b.jpg", "s3://album/y/b.jpg"),
        ("called.jpg", "s3://album/z/d.jpg"),
        ("a.jpg", "s3://album/x/a.jpg"),
    ]


@pytest.mark.parametrize(
    ("listing", "changes", "code"),
    [
        (below("none/"), {}, "no_images"),
        (below("texts/"), {}, "no_images"),
        (below(), {"max_images": 2}, "too_large"),
        (below(bucket="gone"), {"buckets": ("gone",)}, "invalid_source"),
        (below(bucket="closed"), {"buckets": ("closed",)}, "invalid_source"),
        (below(bucket="other"), {}, "sources_off"),
        (below(), {"buckets": ()}, "sources_off"),
    ],
)
def test_what_cannot_be_listed_ends_the_job_with_the_reason(
    house: House, bucket: FakeObjectStore, listing: Listing, changes: dict[str, Any], code: str
) -> None:
    put(bucket, "a.jpg", "b.jpg", "c.jpg", "texts/a.txt")
    house.objects.buckets["closed"] = None
    job = submit(house, listing)

    assert run(house, **changes) == Done(note=code, failed=True)
    ended = house.job(job)
    assert ended.state is JobState.FINALIZING
    assert ended.error is not None
    assert ended.error.code == code


def test_more_than_the_owner_may_have_unfinished_ends_the_job(house: House, bucket: FakeObjectStore) -> None:
    put(bucket, "a.jpg", "b.jpg", "c.jpg")
    job = house.accept(record=False)
    house.chores.forget(job.id)
    house.objects.put(layout.sources(job.id), encode_listings([below()]))
    add_chores(job, house.objects, house.chores)
    house.jobs.create(job, quota=Quota(owner_images=2))

    assert run(house) == Done(note="quota_exceeded", failed=True)
    assert house.job(job).error is not None


def test_our_own_store_that_refuses_us_is_no_fault_of_the_job(house: House) -> None:
    house.objects.buckets["closed"] = None
    job = submit(house, below(bucket="closed"))

    def refuse() -> None:
        raise ObjectStoreDenied

    house.objects.ping = refuse  # type: ignore[method-assign]
    with pytest.raises(ObjectStoreDenied):
        run(house, buckets=("closed",))
    assert house.job(job).state is JobState.UPLOADING


def test_a_store_that_is_away_leaves_the_job_waiting(house: House, bucket: FakeObjectStore) -> None:
    job = submit(house, below())
    bucket.away = True
    with pytest.raises(ObjectStoreUnavailable):
        run(house)

    assert house.job(job).state is JobState.UPLOADING


def test_a_listing_that_is_cut_short_leaves_no_manifest(house: House, bucket: FakeObjectStore) -> None:
    put(bucket, *(f"{n:05}.jpg" for n in range(2500)))
    job = submit(house, below())
    looks: list[None] = []

    def die() -> None:
        looks.append(None)
        if len(looks) == 3:
            raise ChoreInterrupted

    with pytest.raises(ChoreInterrupted):
        run(house, die, max_images=10_000)
    assert house.keys(job) == ["sources.jsonl"]

    house.clock.advance(31)
    run(house, max_images=10_000)
    assert house.job(job).counts.total == 2500


def test_a_key_that_says_nothing_of_its_folder_keeps_a_name(house: House, bucket: FakeObjectStore) -> None:
    put(bucket, "a//b.jpg")
    job = submit(house, below("a/"))
    run(house)

    (line,) = house.objects.get(layout.manifest(job.id)).splitlines()
    assert json.loads(line)["name"] == "b.jpg"
