from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from photos.skipped import Skipped
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
from tests.unit.worker.chores.conftest import House, Ticking, go_on
from worker.chores.listing import ListSources
from worker.chores.runner import ChoreInterrupted, Done, Later
from worker.chores.turns import TURN

BUCKET = "album"


@pytest.fixture
def bucket(house: House) -> FakeObjectStore:
    bucket = house.objects.buckets[BUCKET] = FakeObjectStore()
    return bucket


def submit(house: House, *listings: Listing, **changes: Any) -> Job:
    job = house.accept(**changes)
    house.chores.forget(job.id)
    house.objects.put(object_keys.sources(job.id), encode_listings(listings))
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
    sources = decode_manifest(house.objects.get(object_keys.manifest(job.id)))
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

    skipped = Skipped.from_json(house.objects.get(object_keys.skipped(job.id)))
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

    assert [s.name for s in decode_manifest(house.objects.get(object_keys.manifest(job.id)))] == [
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

    sources = decode_manifest(house.objects.get(object_keys.manifest(job.id)))
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
    house.objects.put(object_keys.sources(job.id), encode_listings([below()]))
    add_chores(job, house.objects, house.chores)
    house.jobs.create(job, quota=Quota(owner_images=2))

    assert run(house) == Done(note="quota_exceeded", failed=True)
    assert house.job(job).error is not None


def test_our_own_store_that_refuses_us_is_no_fault_of_the_job(house: House) -> None:
    house.objects.buckets["closed"] = None
    job = submit(house, below(bucket="closed"))

    def refuse() -> None:
        raise ObjectStoreDenied

    house.objects.before(house.objects.ping, refuse)
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


class SlowBucket(FakeObjectStore):
    """Takes three turns to begin a listing, and a quarter of one for each object in it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._turns = clock

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self._turns.advance(3 * TURN)
        for entry in super().list(prefix, after=after):
            self._turns.advance(TURN / 4)
            yield entry


LISTINGS = (
    Listing(url="https://example.org/first.jpg"),
    below("a/"),
    Listing(s3="s3://album/elsewhere/x.jpg"),
    below("b/"),
    Listing(url="https://example.org/last.jpg"),
)


@pytest.fixture
def slow_bucket(house: House) -> SlowBucket:
    bucket = SlowBucket(house.clock)
    put(bucket, *(f"a/{n:02}.jpg" for n in range(15)), *(f"a/{n:02}.txt" for n in range(0, 15, 3)))
    put(bucket, *(f"b/{n}.png" for n in range(9)))
    house.objects.buckets[BUCKET] = bucket
    return bucket


def take_turn(house: House, *, max_images: int = 100) -> Done | Later:
    handler = ListSources(
        house.gathering(), house.objects, buckets=[BUCKET], max_images=max_images, clock=house.clock
    )
    chore = house.claim(ChoreKind.LIST)
    outcome = handler.do(chore, go_on)
    if isinstance(outcome, Later):
        house.chores.postpone(chore, seconds=outcome.seconds, note=outcome.note)
    return outcome


def listed(house: House, job: Job) -> list[str]:
    sources = decode_manifest(house.objects.get(object_keys.manifest(job.id)))
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
def test_a_listing_ends_in_a_few_turns_though_it_takes_longer_than_one_to_begin_it(
    house: House, slow_bucket: SlowBucket, lost_at: int | None
) -> None:
    """Also if Redis is lost after some of them."""
    job, turns = submit(house, *LISTINGS), 1
    while take_turn(house) != Done():
        turns += 1
        if turns == lost_at:
            house.jobs, house.chores = FakeJobStore(Ticking(house.clock)), FakeChores(house.clock)
            house.jobs.create(job)
            add_chores(job, house.objects, house.chores)

    assert listed(house, job) == PHOTOS
    assert 5 <= turns <= 10
    assert Skipped.from_json(house.objects.get(object_keys.skipped(job.id))).count == 5
    assert house.job(job).counts.total == len(PHOTOS)
    assert not [key for key in house.keys(job) if key.startswith("gathering/")]


def test_two_workers_at_one_listing_do_not_mix_what_they_found(house: House, slow_bucket: SlowBucket) -> None:
    """As when one is held up, loses its claim, and goes on beside the other; the bucket changes meanwhile."""
    job = submit(house, *LISTINGS)
    take_turn(house)

    def overtake(prefix: str, *, after: str = "") -> None:
        slow_bucket.before(slow_bucket.list, None)
        house.clock.advance(31)
        slow_bucket.put("a/00.JPEG", b"")
        slow_bucket.put("a/141.jpg", b"")
        take_turn(house)

    slow_bucket.before(slow_bucket.list, overtake)
    while take_turn(house) != Done():
        house.clock.advance(31)

    assert sorted({*listed(house, job)} - {"141.jpg"}) == sorted(PHOTOS)


def test_too_many_images_are_found_out_at_a_later_turn_too(house: House, slow_bucket: SlowBucket) -> None:
    job = submit(house, *LISTINGS)
    while isinstance(outcome := take_turn(house, max_images=20), Later):
        continue

    assert outcome == Done(note="too_large", failed=True)
    assert house.job(job).error is not None
    assert house.keys(job) == ["sources.jsonl"]


def test_a_key_that_says_nothing_of_its_folder_keeps_a_name(house: House, bucket: FakeObjectStore) -> None:
    put(bucket, "a//b.jpg")
    job = submit(house, below("a/"))
    run(house)

    (line,) = house.objects.get(object_keys.manifest(job.id)).splitlines()
    assert json.loads(line)["name"] == "b.jpg"
