from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from typing import BinaryIO

import pytest

from shared.archive.zip_reader import ArchiveLimits
from shared.chores.enqueue import add_chores
from shared.chores.port import ChoreKind
from shared.errors import ImageError, ObjectStoreUnavailable
from shared.jobs import object_keys
from shared.jobs.job import Job, JobState
from tests.fakes import FakeJobStore
from tests.fakes_chores import FakeChores
from tests.fetching import make_fetcher
from tests.unit.worker.chores.conftest import ChoreHarness, TickingClock, check_nothing
from worker.chores.expand import TIME_SLICE, ArchiveExpander
from worker.chores.runner import ChoreInterrupted, ChoreRunner, Done, Later
from worker.chores.time_slice import CHECKPOINT

LIMITS = ArchiveLimits(entries=100, entry_bytes=2**20, total_bytes=2**24)


def zip_of(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def album(first: int, count: int) -> bytes:
    return zip_of(
        ("note.txt", b"hello"), *((f"{n}.jpg", b"photo %d" % n) for n in range(first, first + count))
    )


def submit(harness: ChoreHarness, archives: dict[int, bytes], total: int) -> Job:
    job = harness.accept(total=total)
    for first, data in archives.items():
        harness.objects.put(object_keys.archive(job.id, first), data)
    return job


def expand(
    harness: ChoreHarness, check: Callable[[], None] = check_nothing, limits: ArchiveLimits = LIMITS
) -> Done | Later:
    handler = harness.gathering(ArchiveExpander(harness.objects, limits).expand_all)
    return handler.do(harness.claim(ChoreKind.EXPAND), check)


def inputs(harness: ChoreHarness, job: Job) -> list[bytes]:
    return [harness.objects.get(object_keys.input_image(job.id, n)) for n in range(job.counts.total)]


def test_the_photos_of_an_archive_become_inputs_and_the_job_starts(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 20)}, 20)

    assert expand(harness) == Done()
    assert inputs(harness, job) == [b"photo %d" % n for n in range(20)]
    assert harness.job(job).state is JobState.QUEUED
    assert harness.jobs.lease("worker", limit=100) is not None
    assert len(harness.wakes) == 1
    assert not any(key.startswith("archives/") for key in harness.keys(job)), "It takes no more space."


def test_photos_and_archives_keep_their_order(harness: ChoreHarness) -> None:
    job = submit(harness, {1: album(1, 3), 4: album(4, 2), 10: album(10, 2)}, 13)
    for index in (0, 6, 7, 8, 9, 12):
        harness.objects.put(object_keys.input_image(job.id, index), b"photo %d" % index)
    expand(harness)

    assert inputs(harness, job) == [b"photo %d" % n for n in range(13)]


def test_an_interrupted_expansion_is_repeated_with_the_same_result(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 20)}, 20)
    looks = iter(range(15))

    def die() -> None:
        if next(looks, None) is None:
            raise ChoreInterrupted

    with pytest.raises(ChoreInterrupted):
        expand(harness, die)
    assert 0 < len([key for key in harness.keys(job) if key.startswith("inputs/")]) < 20
    assert harness.job(job).state is JobState.UPLOADING

    harness.clock.advance(31)
    assert expand(harness) == Done()
    assert inputs(harness, job) == [b"photo %d" % n for n in range(20)]


def test_a_store_that_goes_away_leaves_the_job_waiting(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 20)}, 20)

    def fail_at_photo_7(key: str, stream: BinaryIO, **kwargs: str) -> None:
        if key.endswith("/7"):
            raise ObjectStoreUnavailable

    harness.objects.before(harness.objects.put_stream, fail_at_photo_7)
    with pytest.raises(ObjectStoreUnavailable):
        expand(harness)
    assert harness.job(job).state is JobState.UPLOADING

    harness.objects.before(harness.objects.put_stream, None)
    harness.clock.advance(31)
    expand(harness)
    assert harness.job(job).state is JobState.QUEUED


def test_photos_stored_before_a_crash_are_not_stored_again(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 20)}, 20)
    for index in (0, 7, 19):
        harness.objects.put(object_keys.input_image(job.id, index), b"photo %d" % index)
    harness.objects.put(object_keys.input_image(job.id, 8), b"of another size")
    for foreign in ("x", "007", "1/2", "٣", ""):
        harness.objects.put(object_keys.inputs_prefix(job.id) + foreign, b"photo 7")
    stored: list[str] = []

    def note(key: str, stream: BinaryIO, **kwargs: str) -> None:
        stored.append(key.rsplit("/", 1)[-1])

    harness.objects.before(harness.objects.put_stream, note)
    expand(harness)

    assert sorted(map(int, stored)) == [n for n in range(20) if n not in (0, 7, 19)]
    assert inputs(harness, job) == [b"photo %d" % n for n in range(20)]


def test_a_large_archive_lets_others_run_and_continues_later(harness: ChoreHarness) -> None:
    large, small = submit(harness, {0: album(0, 20)}, 20), submit(harness, {0: album(0, 2)}, 2)

    def tick() -> float:
        harness.clock.advance(TIME_SLICE / 4)
        return harness.clock.now

    handler = harness.gathering(ArchiveExpander(harness.objects, LIMITS, clock=tick).expand_all)
    runner = ChoreRunner(harness.chores, {ChoreKind.EXPAND: handler}, draining=lambda: False)
    order: list[str] = []

    def note(job_id: str, **kwargs: int) -> None:
        order.append(job_id)

    harness.jobs.before(harness.jobs.start, note)
    runner.run_due()

    assert order == [small.id, large.id]
    assert inputs(harness, large) == [b"photo %d" % n for n in range(20)]


class SlowListings:
    """A store whose listings take longer than a time slice; it counts the photos put into it."""

    def __init__(self, harness: ChoreHarness) -> None:
        self.stored: list[int] = []
        self._clock = harness.clock
        harness.objects.before(harness.objects.list, self._take_time)
        harness.objects.before(harness.objects.put_stream, self._note)

    def _take_time(self, prefix: str, *, after: str = "") -> None:
        self._clock.advance(3 * TIME_SLICE if "inputs" in prefix else TIME_SLICE / 10)

    def _note(self, key: str, stream: BinaryIO, **kwargs: str) -> None:
        self.stored.append(int(key.rsplit("/", 1)[-1]))


def run_time_slice(harness: ChoreHarness) -> Done | Later:
    """Run the chore for a time slice, in which every check takes a tenth of it."""
    chore = harness.claim(ChoreKind.EXPAND)
    handler = harness.gathering(ArchiveExpander(harness.objects, LIMITS, clock=harness.clock).expand_all)
    outcome = handler.do(chore, lambda: harness.clock.advance(TIME_SLICE / 10))
    if isinstance(outcome, Later):
        harness.chores.postpone(chore, seconds=outcome.seconds, note=outcome.note)
    return outcome


def test_an_archive_is_expanded_in_a_few_time_slices_though_listing_takes_longer_than_one(
    harness: ChoreHarness,
) -> None:
    job = submit(harness, {0: album(0, 20), 20: album(20, 10)}, 30)
    slow, slices = SlowListings(harness), 1
    while run_time_slice(harness) != Done():
        slices += 1

    assert inputs(harness, job) == [b"photo %d" % n for n in range(30)]
    assert 4 <= slices <= 8
    assert sorted(slow.stored) == list(range(30)), "Nothing is stored twice."
    assert not [key for key in harness.keys(job) if not key.startswith("inputs/")]


def test_after_a_loss_of_redis_an_archive_continues_where_it_stopped(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 20)}, 20)
    slow = SlowListings(harness)
    run_time_slice(harness)
    before = set(slow.stored)
    harness.jobs, harness.chores = FakeJobStore(TickingClock(harness.clock)), FakeChores(harness.clock)
    harness.jobs.create(job)
    add_chores(job, harness.objects, harness.chores)
    while run_time_slice(harness) != Done():
        continue

    assert 0 < len(before) < 20
    assert sorted(slow.stored) == list(range(20))
    assert inputs(harness, job) == [b"photo %d" % n for n in range(20)]


def test_after_a_crash_only_photos_since_the_last_checkpoint_are_stored_again(
    harness: ChoreHarness,
) -> None:
    job = submit(harness, {0: album(0, 20)}, 20)
    slow, looks = SlowListings(harness), iter(range(18))

    def die() -> None:
        harness.clock.advance(CHECKPOINT / 4)
        if next(looks, None) is None:
            raise ChoreInterrupted

    handler = harness.gathering(ArchiveExpander(harness.objects, LIMITS, clock=harness.clock).expand_all)
    with pytest.raises(ChoreInterrupted):
        handler.do(harness.claim(ChoreKind.EXPAND), die)
    died_at = len(slow.stored)
    harness.clock.advance(31)
    while run_time_slice(harness) != Done():
        continue

    assert died_at > 5
    assert len(slow.stored) <= 20 + 3
    assert inputs(harness, job) == [b"photo %d" % n for n in range(20)]


def damaged(first: int = 0) -> bytes:
    """Return an album of three photos, the second of which is damaged."""
    data = bytearray(album(first, 3))
    data[data.index(b"%d.jpg" % (first + 1)) + 5] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    ("archive", "limits", "code"),
    [
        (album(0, 3)[:-30], LIMITS, "invalid_archive"),
        (b"", LIMITS, "invalid_archive"),
        (album(0, 3), ArchiveLimits(entries=2, entry_bytes=2**20, total_bytes=2**24), "too_large"),
        (album(0, 3), ArchiveLimits(entries=9, entry_bytes=2**20, total_bytes=15), "too_large"),
    ],
    ids=["cut", "empty", "entries", "bytes"],
)  # fmt: skip
def test_an_archive_that_cannot_be_expanded_ends_the_job_with_the_reason(
    harness: ChoreHarness, archive: bytes, limits: ArchiveLimits, code: str
) -> None:
    job = submit(harness, {0: archive}, 3)
    assert expand(harness, limits=limits) == Done(note=code, failed=True)

    ended = harness.job(job)
    assert ended.state is JobState.FINALIZING
    assert ended.error is not None
    assert ended.error.code == code
    assert len(ended.error.message) > 20
    assert not any(key.startswith("archives/") for key in harness.keys(job))


def reason(harness: ChoreHarness, job: Job, index: int) -> str:
    """Return the code with which a worker fails an image."""
    with pytest.raises(ImageError) as caught:
        make_fetcher(harness.objects, most_bytes=2**20).fetch(job.id, index)
    return caught.value.code


def test_a_photo_that_is_damaged_in_its_archive_becomes_an_image_that_fails(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 2), 2: damaged(2), 5: album(5, 1)}, 6)

    assert expand(harness) == Done()
    assert harness.job(job).state is JobState.QUEUED
    assert reason(harness, job, 3) == "image_corrupt"
    assert [harness.objects.get(object_keys.input_image(job.id, n)) for n in (0, 1, 2, 4, 5)] == [
        b"photo %d" % n for n in (0, 1, 2, 4, 5)
    ]


@pytest.mark.parametrize(
    ("place", "form", "value", "code"),
    [
        (8, "<H", 1, "image_encrypted"),
        (10, "<H", 9, "unsupported_compression"),
        (24, "<L", 10, "image_corrupt"),
        (24, "<L", 2**31, "image_too_large"),
    ],
    ids=["encrypted", "deflate64", "a size too small", "a size too large"],
)
def test_a_photo_with_an_unsupported_entry_fails_alone(
    harness: ChoreHarness, place: int, form: str, value: int, code: str
) -> None:
    data = bytearray(zip_of(("0.jpg", bytes(50_000)), ("1.jpg", b"photo 1")))
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + place, value)
    job = submit(harness, {0: bytes(data)}, 2)

    assert expand(harness) == Done()
    assert reason(harness, job, 0) == code
    assert harness.objects.get(object_keys.input_image(job.id, 1)) == b"photo 1"


def test_a_photo_that_is_too_large_fails_alone(harness: ChoreHarness) -> None:
    job = submit(harness, {0: zip_of(("big.jpg", bytes(5000)), ("small.jpg", b"x"))}, 2)
    expand(harness, limits=ArchiveLimits(entries=9, entry_bytes=1000, total_bytes=2**24))

    assert reason(harness, job, 0) == "image_too_large"
    assert harness.objects.get(object_keys.input_image(job.id, 1)) == b"x"


def test_a_photo_that_cannot_be_read_is_not_read_again_in_the_next_time_slice(harness: ChoreHarness) -> None:
    job = submit(harness, {0: damaged()}, 3)
    harness.objects.put(
        object_keys.unreadable(job.id, 0), b'{"code": "image_empty", "message": "Told before."}'
    )
    expand(harness)

    assert [reason(harness, job, n) for n in (0, 1)] == ["image_empty", "image_corrupt"]
    assert harness.objects.get(object_keys.input_image(job.id, 2)) == b"photo 2"


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_the_archive_of_a_deleted_job_is_not_expanded(harness: ChoreHarness, verb: str) -> None:
    job = submit(harness, {0: album(0, 3)}, 3)
    if verb == "delete":
        harness.objects.delete(object_keys.job_record(job.id))
    getattr(harness.jobs, verb)(job.id)

    assert isinstance(expand(harness), Done)
    assert harness.keys(job) == []


def test_a_job_that_is_canceled_meanwhile_leaves_no_archives(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 3)}, 3)

    def cancel() -> None:
        harness.jobs.cancel(job.id)

    assert expand(harness, cancel) == Done(note="the job was canceled")
    assert not any(key.startswith("archives/") for key in harness.keys(job))


def test_a_job_that_is_deleted_meanwhile_leaves_nothing(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 3)}, 3)

    def delete() -> None:
        harness.jobs.delete(job.id)
        harness.objects.delete(object_keys.job_record(job.id))

    assert isinstance(expand(harness, delete), Done)
    assert list(harness.objects.list(object_keys.job_prefix(job.id))) == []


def test_a_job_that_is_not_recorded_yet_is_waited_for(harness: ChoreHarness) -> None:
    """A chore may exist before its job is recorded, and while the job store is being restored."""
    job = harness.accept(record=False, total=3)
    harness.objects.put(object_keys.archive(job.id, 0), album(0, 3))
    later = expand(harness)

    assert isinstance(later, Later)
    assert later.seconds <= 5
    assert harness.keys(job) == ["archives/0.zip"]


def test_a_chore_given_up_fails_the_job_with_internal_error(harness: ChoreHarness) -> None:
    job = submit(harness, {0: album(0, 3)}, 3)
    harness.gathering(ArchiveExpander(harness.objects, LIMITS).expand_all).give_up(
        harness.claim(ChoreKind.EXPAND)
    )

    error = harness.job(job).error
    assert error is not None
    assert error.code == "internal_error"


def test_label_pictures_in_an_archive_are_kept_beside_their_photos(harness: ChoreHarness) -> None:
    entries = [("a/0.labels.png", b"labels of 0"), ("a/0.jpg", b"photo 0"), ("1.jpg", b"photo 1")]
    job = submit(harness, {0: zip_of(*entries)}, 2)

    assert expand(harness) == Done()
    assert inputs(harness, job) == [b"photo 0", b"photo 1"]
    assert harness.objects.get(object_keys.labels(job.id, "a/0.jpg")) == b"labels of 0"


def test_a_damaged_label_picture_is_kept_as_an_empty_one_so_that_its_photo_is_refused(
    harness: ChoreHarness,
) -> None:
    archive = zip_of(("0.labels.png", b"labels of 0"), ("0.jpg", b"photo 0"))
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        checksum = file.getinfo("0.labels.png").CRC.to_bytes(4, "little")
    job = submit(harness, {0: archive.replace(checksum, b"\0\1\2\3")}, 1)

    assert expand(harness) == Done()
    assert inputs(harness, job) == [b"photo 0"]
    assert harness.objects.get(object_keys.labels(job.id, "0.jpg")) == b""
