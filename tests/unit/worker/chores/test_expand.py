from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

import pytest

from shared import layout
from shared.archives import ArchiveLimits
from shared.chores import ChoreKind
from shared.errors import ObjectStoreUnavailable
from shared.jobs import Job, JobState
from tests.unit.worker.chores.conftest import House, go_on
from worker.chores.expand import TURN, ExpandArchives
from worker.chores.runner import ChoreInterrupted, ChoreRunner, Done, Later

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
        house.objects.put(layout.archive(job.id, first), data)
    return job


def expand(house: House, check: Callable[[], None] = go_on, limits: ArchiveLimits = LIMITS) -> Done | Later:
    handler = ExpandArchives(house.gathering(), house.objects, limits)
    return handler.do(house.claim(ChoreKind.EXPAND), check)


def inputs(house: House, job: Job) -> list[bytes]:
    return [house.objects.get(layout.input_image(job.id, n)) for n in range(job.counts.total)]


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
        house.objects.put(layout.input_image(job.id, index), b"photo %d" % index)
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
    put = house.objects.put_stream

    def tired(key: str, *args: object, **kwargs: object) -> None:
        if key.endswith("/7"):
            raise ObjectStoreUnavailable
        put(key, *args, **kwargs)  # type: ignore[arg-type]

    house.objects.put_stream = tired  # type: ignore[method-assign]
    with pytest.raises(ObjectStoreUnavailable):
        expand(house)
    assert house.job(job).state is JobState.UPLOADING

    house.objects.put_stream = put  # type: ignore[method-assign]
    house.clock.advance(31)
    expand(house)
    assert house.job(job).state is JobState.QUEUED


def test_what_was_stored_before_a_death_is_not_stored_again(house: House) -> None:
    job = submit(house, {0: album(0, 20)}, 20)
    for index in (0, 7, 19):
        house.objects.put(layout.input_image(job.id, index), b"photo %d" % index)
    house.objects.put(layout.input_image(job.id, 8), b"of another size")
    for foreign in ("x", "007", "1/2", "٣", ""):
        house.objects.put(layout.inputs_prefix(job.id) + foreign, b"photo 7")
    stored: list[str] = []
    put = house.objects.put_stream

    def count(key: str, *args: object, **kwargs: object) -> None:
        stored.append(key.rsplit("/", 1)[-1])
        put(key, *args, **kwargs)  # type: ignore[arg-type]

    house.objects.put_stream = count  # type: ignore[method-assign]
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
    start = house.jobs.start

    def note(job_id: str, **kwargs: int) -> Job:
        order.append(job_id)
        return start(job_id, **kwargs)

    house.jobs.start = note  # type: ignore[method-assign, assignment]
    runner.run_due()

    assert order == [small.id, large.id]
    assert inputs(house, large) == [b"photo %d" % n for n in range(20)]


def damaged() -> bytes:
    data = bytearray(album(0, 3))
    data[data.index(b"1.jpg") + 5] ^= 0xFF
    return bytes(data)


def a_bomb_by_ratio() -> bytes:
    return zip_of(("0.bmp", bytes(2**20 - 100)))


@pytest.mark.parametrize(
    ("archive", "limits", "code"),
    [
        (damaged(), LIMITS, "invalid_archive"),
        (album(0, 3)[:-30], LIMITS, "invalid_archive"),
        (b"", LIMITS, "invalid_archive"),
        (a_bomb_by_ratio(), ArchiveLimits(entries=9, entry_bytes=2**20, total_bytes=2**24, ratio_from=2**19), "too_large"),
        (album(0, 3), ArchiveLimits(entries=2, entry_bytes=2**20, total_bytes=2**24), "too_large"),
        (album(0, 3), ArchiveLimits(entries=9, entry_bytes=2**20, total_bytes=15), "too_large"),
    ],
    ids=["damaged", "cut", "empty", "ratio", "entries", "bytes"],
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


def test_of_a_photo_that_is_too_large_enough_is_kept_to_fail_it_alone(house: House) -> None:
    job = submit(house, {0: zip_of(("big.jpg", bytes(5000)), ("small.jpg", b"x"))}, 2)
    expand(house, limits=ArchiveLimits(entries=9, entry_bytes=1000, total_bytes=2**24))

    assert [len(data) for data in inputs(house, job)] == [1001, 1]


def test_an_entry_that_lies_about_its_size_yields_no_more_than_it_said(house: House) -> None:
    data = bytearray(zip_of(("0.jpg", bytes(50_000))))
    directory = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, directory + 24, 10)
    job = submit(house, {0: bytes(data)}, 1)
    expand(house)

    assert house.job(job).error is not None
    assert [key for key in house.keys(job) if key.startswith("inputs/")] == []


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_a_job_that_is_gone_before_is_not_expanded(house: House, verb: str) -> None:
    job = submit(house, {0: album(0, 3)}, 3)
    if verb == "delete":
        house.objects.delete(layout.job_record(job.id))
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
        house.objects.delete(layout.job_record(job.id))

    assert isinstance(expand(house, delete), Done)
    assert list(house.objects.list(layout.job_prefix(job.id))) == []


def test_a_job_that_is_not_recorded_yet_is_waited_for(house: House) -> None:
    """As a job is noted before it is recorded, and also while the job store is being restored."""
    job = house.accept(record=False, total=3)
    house.objects.put(layout.archive(job.id, 0), album(0, 3))
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
