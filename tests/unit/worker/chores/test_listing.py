from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from fathom.photos.skipped import Skipped
from shared.chores.enqueue import add_chores
from shared.chores.port import ChoreKind
from shared.errors import ObjectStoreDenied, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.intent import read_intent
from shared.jobs.job import Job, JobState, Quota
from shared.jobs.manifest import decode_manifest, read_sources
from shared.jobs.sources import Listing, encode_listings
from shared.objectstore.port import ObjectInfo
from tests.fakes import FakeClock, FakeJobStore, FakeObjectStore
from tests.fakes_chores import FakeChores
from tests.unit.worker.chores.conftest import ChoreHarness, TickingClock, check_nothing
from worker.chores.listing import SourceLister
from worker.chores.runner import ChoreInterrupted, Done, Later
from worker.chores.time_slice import TIME_SLICE

BUCKET = "album"


@pytest.fixture
def bucket(harness: ChoreHarness) -> FakeObjectStore:
    bucket = harness.objects.buckets[BUCKET] = FakeObjectStore()
    return bucket


def submit(harness: ChoreHarness, *listings: Listing, **changes: Any) -> Job:
    job = harness.accept(**changes)
    harness.chores.forget(job.id)
    harness.objects.put(object_keys.sources(job.id), encode_listings(listings))
    add_chores(job, harness.objects, harness.chores)
    return job


def below(prefix: str = "", bucket: str = BUCKET) -> Listing:
    return Listing(s3_prefix=f"s3://{bucket}/{prefix}")


def run(
    harness: ChoreHarness,
    check: Any = check_nothing,
    *,
    max_images: int = 100,
    buckets: tuple[str, ...] = (BUCKET,),
) -> Done | Later:
    lister = SourceLister(harness.objects, buckets=buckets, max_images=max_images)
    return harness.gathering(lister.list_all).do(harness.claim(ChoreKind.LIST), check)


def put(bucket: FakeObjectStore, *keys: str) -> None:
    for key in keys:
        bucket.put(key, key.encode())


def test_photos_below_a_prefix_become_images_without_being_copied(
    harness: ChoreHarness, bucket: FakeObjectStore
) -> None:
    put(bucket, "2024/a.jpg", "2024/walk/写真.PNG", "2024/b.HEIC", "2025/c.jpg", "2024.jpg")
    job = submit(harness, below("2024/"))

    assert run(harness) == Done()
    sources = decode_manifest(harness.objects.get(object_keys.manifest(job.id)))
    assert [(s.index, s.name, s.s3, s.size) for s in sources] == [
        (0, "a.jpg", "s3://album/2024/a.jpg", 10),
        (1, "b.HEIC", "s3://album/2024/b.HEIC", 11),
        (2, "walk/写真.PNG", "s3://album/2024/walk/写真.PNG", 20),
    ]
    assert read_sources(harness.objects, job.id, 1, 3) == sources[1:]
    started = harness.job(job)
    assert (started.state, started.counts.total) == (JobState.QUEUED, 3)
    assert harness.keys(job) == ["manifest.index", "manifest.jsonl", "skipped.json", "sources.jsonl"], (
        "Nothing is copied."
    )
    assert len(harness.wakes) == 1


def test_the_number_of_images_survives_a_loss_of_the_job_store(
    harness: ChoreHarness, bucket: FakeObjectStore
) -> None:
    put(bucket, "a.jpg", "b.jpg")
    job = submit(harness, below())
    run(harness)

    intent = read_intent(harness.objects, job.id)
    assert intent is not None
    assert (intent.verb, intent.total) == ("start", 2)


def test_skipped_files_are_named(harness: ChoreHarness, bucket: FakeObjectStore) -> None:
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
    job = submit(harness, below("x/"))
    run(harness)

    skipped = Skipped.from_json(harness.objects.get(object_keys.skipped(job.id)))
    assert skipped == Skipped(count=2, videos=1, names=["notes.txt", "video.mov"])
    assert harness.job(job).counts.total == 1


def test_an_unsupported_picture_becomes_an_image_of_the_job(
    harness: ChoreHarness, bucket: FakeObjectStore
) -> None:
    put(bucket, "x/a.CR3", "x/a.jpg", "x/b.psd", "x/@eaDir/a.jpg")
    job = submit(harness, below("x/"))
    run(harness)

    assert [source.name for source in read_sources(harness.objects, job.id, 0, 9)] == [
        "a.CR3",
        "a.jpg",
        "b.psd",
    ]


def test_a_prefix_need_not_end_at_a_folder(harness: ChoreHarness, bucket: FakeObjectStore) -> None:
    put(bucket, "x/img1.jpg", "x/img2.jpg", "x/other.jpg")
    job = submit(harness, below("x/img"))
    run(harness)

    assert [s.name for s in decode_manifest(harness.objects.get(object_keys.manifest(job.id)))] == [
        "img1.jpg",
        "img2.jpg",
    ]


def test_prefixes_and_single_photos_keep_their_order(harness: ChoreHarness, bucket: FakeObjectStore) -> None:
    put(bucket, "x/a.jpg", "y/b.jpg")
    job = submit(
        harness,
        Listing(url="https://example.org/p/c.jpg"),
        below("y/"),
        Listing(s3="s3://album/z/d.jpg", name="called.jpg"),
        below("x/"),
    )
    run(harness)

    sources = decode_manifest(harness.objects.get(object_keys.manifest(job.id)))
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
def test_a_failed_listing_ends_the_job_with_the_reason(
    harness: ChoreHarness, bucket: FakeObjectStore, listing: Listing, changes: dict[str, Any], code: str
) -> None:
    put(bucket, "a.jpg", "b.jpg", "c.jpg", "texts/a.txt")
    harness.objects.buckets["closed"] = None
    job = submit(harness, listing)

    assert run(harness, **changes) == Done(note=code, failed=True)
    ended = harness.job(job)
    assert ended.state is JobState.FINALIZING
    assert ended.error is not None
    assert ended.error.code == code


def test_exceeding_the_unfinished_images_of_the_owner_ends_the_job(
    harness: ChoreHarness, bucket: FakeObjectStore
) -> None:
    put(bucket, "a.jpg", "b.jpg", "c.jpg")
    job = harness.accept(record=False)
    harness.chores.forget(job.id)
    harness.objects.put(object_keys.sources(job.id), encode_listings([below()]))
    add_chores(job, harness.objects, harness.chores)
    harness.jobs.create(job, quota=Quota(owner_images=2))

    assert run(harness) == Done(note="quota_exceeded", failed=True)
    assert harness.job(job).error is not None


def test_a_job_does_not_fail_if_our_own_store_denies_access(harness: ChoreHarness) -> None:
    harness.objects.buckets["closed"] = None
    job = submit(harness, below(bucket="closed"))

    def refuse() -> None:
        raise ObjectStoreDenied

    harness.objects.before(harness.objects.ping, refuse)
    with pytest.raises(ObjectStoreDenied):
        run(harness, buckets=("closed",))
    assert harness.job(job).state is JobState.UPLOADING


def test_a_store_that_is_away_leaves_the_job_waiting(harness: ChoreHarness, bucket: FakeObjectStore) -> None:
    job = submit(harness, below())
    bucket.away = True
    with pytest.raises(ObjectStoreUnavailable):
        run(harness)

    assert harness.job(job).state is JobState.UPLOADING


def test_an_interrupted_listing_leaves_no_manifest(harness: ChoreHarness, bucket: FakeObjectStore) -> None:
    put(bucket, *(f"{n:05}.jpg" for n in range(2500)))
    job = submit(harness, below())
    looks: list[None] = []

    def die() -> None:
        looks.append(None)
        if len(looks) == 3:
            raise ChoreInterrupted

    with pytest.raises(ChoreInterrupted):
        run(harness, die, max_images=10_000)
    assert harness.keys(job) == ["sources.jsonl"]

    harness.clock.advance(31)
    run(harness, max_images=10_000)
    assert harness.job(job).counts.total == 2500


class SlowBucket(FakeObjectStore):
    """Takes three time slices to begin a listing, and a quarter of one for each object in it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._slices = clock

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self._slices.advance(3 * TIME_SLICE)
        for entry in super().list(prefix, after=after):
            self._slices.advance(TIME_SLICE / 4)
            yield entry


LISTINGS = (
    Listing(url="https://example.org/first.jpg"),
    below("a/"),
    Listing(s3="s3://album/elsewhere/x.jpg"),
    below("b/"),
    Listing(url="https://example.org/last.jpg"),
)


@pytest.fixture
def slow_bucket(harness: ChoreHarness) -> SlowBucket:
    bucket = SlowBucket(harness.clock)
    put(bucket, *(f"a/{n:02}.jpg" for n in range(15)), *(f"a/{n:02}.txt" for n in range(0, 15, 3)))
    put(bucket, *(f"b/{n}.png" for n in range(9)))
    harness.objects.buckets[BUCKET] = bucket
    return bucket


def run_time_slice(harness: ChoreHarness, *, max_images: int = 100) -> Done | Later:
    lister = SourceLister(harness.objects, buckets=[BUCKET], max_images=max_images, clock=harness.clock)
    handler = harness.gathering(lister.list_all)
    chore = harness.claim(ChoreKind.LIST)
    outcome = handler.do(chore, check_nothing)
    if isinstance(outcome, Later):
        harness.chores.postpone(chore, seconds=outcome.seconds, note=outcome.note)
    return outcome


def listed(harness: ChoreHarness, job: Job) -> list[str]:
    sources = decode_manifest(harness.objects.get(object_keys.manifest(job.id)))
    assert [source.index for source in sources] == list(range(len(sources)))
    return [source.name for source in sources]


PHOTOS = [
    "first.jpg",
    *(f"{n:02}.jpg" for n in range(15)),
    "x.jpg",
    *(f"{n}.png" for n in range(9)),
    "last.jpg",
]


@pytest.mark.parametrize("lost_at", [None, 2])
def test_a_listing_ends_in_a_few_time_slices_even_if_its_start_takes_longer_than_one(
    harness: ChoreHarness, slow_bucket: SlowBucket, lost_at: int | None
) -> None:
    """This also holds if Redis loses its data after some time slices."""
    job, slices = submit(harness, *LISTINGS), 1
    while run_time_slice(harness) != Done():
        slices += 1
        if slices == lost_at:
            harness.jobs, harness.chores = (
                FakeJobStore(TickingClock(harness.clock)),
                FakeChores(harness.clock),
            )
            harness.jobs.create(job)
            add_chores(job, harness.objects, harness.chores)

    assert listed(harness, job) == PHOTOS
    assert 5 <= slices <= 10
    assert Skipped.from_json(harness.objects.get(object_keys.skipped(job.id))).count == 5
    assert harness.job(job).counts.total == len(PHOTOS)
    assert not [key for key in harness.keys(job) if key.startswith("gathering/")]


def test_two_workers_that_list_the_same_job_do_not_mix_their_results(
    harness: ChoreHarness, slow_bucket: SlowBucket
) -> None:
    """One is delayed, loses its claim, and continues beside the other; the bucket changes meanwhile."""
    job = submit(harness, *LISTINGS)
    run_time_slice(harness)

    def overtake(prefix: str, *, after: str = "") -> None:
        slow_bucket.before(slow_bucket.list, None)
        harness.clock.advance(31)
        slow_bucket.put("a/00.JPEG", b"")
        slow_bucket.put("a/141.jpg", b"")
        run_time_slice(harness)

    slow_bucket.before(slow_bucket.list, overtake)
    while run_time_slice(harness) != Done():
        harness.clock.advance(31)

    assert sorted({*listed(harness, job)} - {"141.jpg"}) == sorted(PHOTOS)


def test_too_many_images_are_detected_in_a_later_time_slice_too(
    harness: ChoreHarness, slow_bucket: SlowBucket
) -> None:
    job = submit(harness, *LISTINGS)
    while isinstance(outcome := run_time_slice(harness, max_images=20), Later):
        continue

    assert outcome == Done(note="too_large", failed=True)
    assert harness.job(job).error is not None
    assert harness.keys(job) == ["sources.jsonl"]


def test_a_key_with_an_empty_folder_name_gets_the_name_of_its_file(
    harness: ChoreHarness, bucket: FakeObjectStore
) -> None:
    put(bucket, "a//b.jpg")
    job = submit(harness, below("a/"))
    run(harness)

    (line,) = harness.objects.get(object_keys.manifest(job.id)).splitlines()
    assert json.loads(line)["name"] == "b.jpg"
