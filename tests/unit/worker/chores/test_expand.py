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
from tests.unit.worker.chores.conftest import House, Ticking, go_on
from worker.child.fetch import Fetcher
from worker.chores.expand import TURN, ExpandArchives
from worker.chores.runner import ChoreInterrupted, ChoreRunner, Done, Later
from worker.chores.turns import NOTE

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


def submit(house: House, archives: dict[int, bytes], total: int) -> Job:
    job = house.accept(total=total)
    for first, data in archives.items():
        house.objects.put(object_keys.archive(job.id, first), data)
    return job


def expand(house: House, check: Callable[[], None] = go_on, limits: ArchiveLimits = LIMITS) -> Done | Later:
    handler = ExpandArchives(house.gathering(), house.objects, limits)
    return handler.do(house.claim(ChoreKind.EXPAND), check)


def inputs(house: House, job: Job) -> list[bytes]:
    return [house.objects.get(object_keys.input_image(job.id, n)) for n in range(job.counts.total)]


def test_the_photos_of_an_archive_become_inputs_and_the_job_starts(house: House) -> None:
    job = submit(house, {0: album(0, 20)}, 20)

    assert expand(house) == Done()
    assert inputs(house, job) == [b"photo %d" % n for n in range(20)]
    assert house.job(job).state is JobState.QUEUED
    assert house.jobs.lease("worker", limit=100) is not None
    assert len(house.wakes) == 1
    assert not any(key.startswith("archives/") for key in house.keys(job)), "It takes no more space."


def test_photos_and_archives_keep_the_places_they_came_in(house: House) -> None:
    job = submit(house, {1: album(1, 3), 4: album(4, 2), 10: album(10, 2)}, 13)
    for index in (0, 6, 7, 8, 9, 12):
        house.objects.put(object_keys.input_image(job.id, index), b"photo %d" % index)
    expand(house)

    assert inputs(house, job) == [b"photo %d" % n for n in range(13)]


def test_what_was_cut_short_is_done_again_with_the_same_result(house: House) -> None:
    job = submit(house, {0: album(0, 20)}, 20)
    looks = iter(range(15))

    def die() -> None:
        if next(looks, None) is None:
            raise ChoreInterrupted

    with pytest.raises(ChoreInterrupted):
        expand(house, die)
    assert 0 < len([key for key in house.keys(job) if key.startswith("inputs/")]) < 20
    assert house.job(job).state is JobState.UPLOADING

    house.clock.advance(31)
    assert expand(house) == Done()
    assert inputs(house, job) == [b"photo %d" % n for n in range(20)]


def test_a_store_that_goes_away_leaves_the_job_waiting(house: House) -> None:
    job = submit(house, {0: album(0, 20)}, 20)

    def tire(key: str, stream: BinaryIO, **kwargs: str) -> None:
        if key.endswith("/7"):
            raise ObjectStoreUnavailable

    house.objects.before(house.objects.put_stream, tire)
    with pytest.raises(ObjectStoreUnavailable):
        expand(house)
    assert house.job(job).state is JobState.UPLOADING

    house.objects.before(house.objects.put_stream, None)
    house.clock.advance(31)
    expand(house)
    assert house.job(job).state is JobState.QUEUED


def test_what_was_stored_before_a_death_is_not_stored_again(house: House) -> None:
    job = submit(house, {0: album(0, 20)}, 20)
    for index in (0, 7, 19):
        house.objects.put(object_keys.input_image(job.id, index), b"photo %d" % index)
    house.objects.put(object_keys.input_image(job.id, 8), b"of another size")
    for foreign in ("x", "007", "1/2", "٣", ""):
        house.objects.put(object_keys.inputs_prefix(job.id) + foreign, b"photo 7")
    stored: list[str] = []

    def note(key: str, stream: BinaryIO, **kwargs: str) -> None:
        stored.append(key.rsplit("/", 1)[-1])

    house.objects.before(house.objects.put_stream, note)
    expand(house)

    assert sorted(map(int, stored)) == [n for n in range(20) if n not in (0, 7, 19)]
    assert inputs(house, job) == [b"photo %d" % n for n in range(20)]


def test_a_large_archive_makes_way_for_others_and_is_gone_on_with(house: House) -> None:
    large, small = submit(house, {0: album(0, 20)}, 20), submit(house, {0: album(0, 2)}, 2)

    def tick() -> float:
        house.clock.advance(TURN / 4)
        return house.clock.now

    handler = ExpandArchives(house.gathering(), house.objects, LIMITS, clock=tick)
    runner = ChoreRunner(house.chores, {ChoreKind.EXPAND: handler})
    order: list[str] = []

    def note(job_id: str, **kwargs: int) -> None:
        order.append(job_id)

    house.jobs.before(house.jobs.start, note)
    runner.run_due()

    assert order == [small.id, large.id]
    assert inputs(house, large) == [b"photo %d" % n for n in range(20)]


class SlowListings:
    """A store that takes longer than a turn to list what was stored; it counts the photos it is given."""

    def __init__(self, house: House) -> None:
        self.stored: list[int] = []
        self._clock = house.clock
        house.objects.before(house.objects.list, self._take_time)
        house.objects.before(house.objects.put_stream, self._note)

    def _take_time(self, prefix: str, *, after: str = "") -> None:
        self._clock.advance(3 * TURN if "inputs" in prefix else TURN / 10)

    def _note(self, key: str, stream: BinaryIO, **kwargs: str) -> None:
        self.stored.append(int(key.rsplit("/", 1)[-1]))


def take_turn(house: House) -> Done | Later:
    """Go on with the chore for a turn, in which every look whether to go on takes a tenth of it."""
    chore = house.claim(ChoreKind.EXPAND)
    handler = ExpandArchives(house.gathering(), house.objects, LIMITS, clock=house.clock)
    outcome = handler.do(chore, lambda: house.clock.advance(TURN / 10))
    if isinstance(outcome, Later):
        house.chores.postpone(chore, seconds=outcome.seconds, note=outcome.note)
    return outcome


def test_an_archive_is_expanded_in_a_few_turns_though_listing_takes_longer_than_one(house: House) -> None:
    job = submit(house, {0: album(0, 20), 20: album(20, 10)}, 30)
    slow, turns = SlowListings(house), 1
    while take_turn(house) != Done():
        turns += 1

    assert inputs(house, job) == [b"photo %d" % n for n in range(30)]
    assert 4 <= turns <= 8
    assert sorted(slow.stored) == list(range(30)), "Nothing is stored twice."
    assert not [key for key in house.keys(job) if not key.startswith("inputs/")]


def test_after_a_loss_of_redis_an_archive_is_gone_on_with_where_it_was(house: House) -> None:
    job = submit(house, {0: album(0, 20)}, 20)
    slow = SlowListings(house)
    take_turn(house)
    before = set(slow.stored)
    house.jobs, house.chores = FakeJobStore(Ticking(house.clock)), FakeChores(house.clock)
    house.jobs.create(job)
    add_chores(job, house.objects, house.chores)
    while take_turn(house) != Done():
        continue

    assert 0 < len(before) < 20
    assert sorted(slow.stored) == list(range(20))
    assert inputs(house, job) == [b"photo %d" % n for n in range(20)]


def test_a_death_in_the_middle_of_a_turn_costs_what_was_stored_since_the_last_note(house: House) -> None:
    job = submit(house, {0: album(0, 20)}, 20)
    slow, looks = SlowListings(house), iter(range(18))

    def die() -> None:
        house.clock.advance(NOTE / 4)
        if next(looks, None) is None:
            raise ChoreInterrupted

    handler = ExpandArchives(house.gathering(), house.objects, LIMITS, clock=house.clock)
    with pytest.raises(ChoreInterrupted):
        handler.do(house.claim(ChoreKind.EXPAND), die)
    died_at = len(slow.stored)
    house.clock.advance(31)
    while take_turn(house) != Done():
        continue

    assert died_at > 5
    assert len(slow.stored) <= 20 + 3
    assert inputs(house, job) == [b"photo %d" % n for n in range(20)]


def damaged(first: int = 0) -> bytes:
    """Return an album of three photos whose second does not expand to what it was."""
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
    house: House, archive: bytes, limits: ArchiveLimits, code: str
) -> None:
    job = submit(house, {0: archive}, 3)
    assert expand(house, limits=limits) == Done(note=code, failed=True)

    ended = house.job(job)
    assert ended.state is JobState.FINALIZING
    assert ended.error is not None
    assert ended.error.code == code
    assert len(ended.error.message) > 20
    assert not any(key.startswith("archives/") for key in house.keys(job))


def reason(house: House, job: Job, index: int) -> str:
    """Return the code that a worker fails an image with."""
    with pytest.raises(ImageError) as caught:
        Fetcher(house.objects, most_bytes=2**20).fetch(job.id, index)
    return caught.value.code


def test_a_photo_that_is_damaged_in_its_archive_becomes_an_image_that_fails(house: House) -> None:
    job = submit(house, {0: album(0, 2), 2: damaged(2), 5: album(5, 1)}, 6)

    assert expand(house) == Done()
    assert house.job(job).state is JobState.QUEUED
    assert reason(house, job, 3) == "image_corrupt"
    assert [house.objects.get(object_keys.input_image(job.id, n)) for n in (0, 1, 2, 4, 5)] == [
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
def test_a_photo_whose_entry_says_what_is_not_read_fails_alone(
    house: House, place: int, form: str, value: int, code: str
) -> None:
    data = bytearray(zip_of(("0.jpg", bytes(50_000)), ("1.jpg", b"photo 1")))
    struct.pack_into(form, data, data.index(b"PK\x01\x02") + place, value)
    job = submit(house, {0: bytes(data)}, 2)

    assert expand(house) == Done()
    assert reason(house, job, 0) == code
    assert house.objects.get(object_keys.input_image(job.id, 1)) == b"photo 1"


def test_a_photo_that_is_too_large_fails_alone(house: House) -> None:
    job = submit(house, {0: zip_of(("big.jpg", bytes(5000)), ("small.jpg", b"x"))}, 2)
    expand(house, limits=ArchiveLimits(entries=9, entry_bytes=1000, total_bytes=2**24))

    assert reason(house, job, 0) == "image_too_large"
    assert house.objects.get(object_keys.input_image(job.id, 1)) == b"x"


def test_a_photo_that_cannot_be_read_is_not_read_again_at_the_next_turn(house: House) -> None:
    job = submit(house, {0: damaged()}, 3)
    house.objects.put(
        object_keys.unreadable(job.id, 0), b'{"code": "image_empty", "message": "Told before."}'
    )
    expand(house)

    assert [reason(house, job, n) for n in (0, 1)] == ["image_empty", "image_corrupt"]
    assert house.objects.get(object_keys.input_image(job.id, 2)) == b"photo 2"


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_a_job_that_is_gone_before_is_not_expanded(house: House, verb: str) -> None:
    job = submit(house, {0: album(0, 3)}, 3)
    if verb == "delete":
        house.objects.delete(object_keys.job_record(job.id))
    getattr(house.jobs, verb)(job.id)

    assert isinstance(expand(house), Done)
    assert house.keys(job) == []


def test_a_job_that_is_canceled_meanwhile_leaves_no_archives(house: House) -> None:
    job = submit(house, {0: album(0, 3)}, 3)

    def cancel() -> None:
        house.jobs.cancel(job.id)

    assert expand(house, cancel) == Done(note="the job was canceled")
    assert not any(key.startswith("archives/") for key in house.keys(job))


def test_a_job_that_is_deleted_meanwhile_leaves_nothing(house: House) -> None:
    job = submit(house, {0: album(0, 3)}, 3)

    def delete() -> None:
        house.jobs.delete(job.id)
        house.objects.delete(object_keys.job_record(job.id))

    assert isinstance(expand(house, delete), Done)
    assert list(house.objects.list(object_keys.job_prefix(job.id))) == []


def test_a_job_that_is_not_recorded_yet_is_waited_for(house: House) -> None:
    """As a job is noted before it is recorded, and also while the job store is being restored."""
    job = house.accept(record=False, total=3)
    house.objects.put(object_keys.archive(job.id, 0), album(0, 3))
    later = expand(house)

    assert isinstance(later, Later)
    assert later.seconds <= 5
    assert house.keys(job) == ["archives/0.zip"]


def test_what_cannot_be_done_for_a_reason_nobody_foresaw_fails_the_job(house: House) -> None:
    job = submit(house, {0: album(0, 3)}, 3)
    ExpandArchives(house.gathering(), house.objects, LIMITS).give_up(house.claim(ChoreKind.EXPAND))

    error = house.job(job).error
    assert error is not None
    assert error.code == "internal_error"
