from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from shared.errors import (
    AddressRefused,
    ImageError,
    InputChanged,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
    SourceUnavailable,
    UnsupportedFormat,
)
from shared.jobs import object_keys
from shared.jobs.accepted_uploads import AcceptedUploads
from shared.jobs.job import Job, JobState, Source, new_job_id
from shared.jobs.manifest import ManifestWriter
from shared.net.url_policy import AllowedHosts
from shared.settings import Settings
from tests.fakes import FakeObjectStore
from tests.fetching import make_fetcher
from tests.unit.worker.conftest import WorkerHarness
from worker.child.fetch import Fetcher
from worker.child.lease_loop import LeaseLoop
from worker.child.wiring import make_fetcher as fetcher_of_settings
from worker.outbound_http import Outbound, OutboundFailed, OutboundResponse

MOST = 100
JOB = new_job_id()


@dataclass(frozen=True, kw_only=True)
class FakeOutbound(Outbound):
    """Responses by URL: a status and a body in pieces, or an error."""

    allowed: AllowedHosts = field(default_factory=AllowedHosts)
    pages: dict[str, tuple[int, list[bytes]] | Exception] = field(default_factory=dict)
    read: list[bytes] = field(default_factory=list)

    @contextmanager
    def get(self, url: str) -> Iterator[OutboundResponse]:
        page = self.pages[url]
        if isinstance(page, Exception):
            raise page
        yield OutboundResponse(status=page[0], headers={}, pieces=self._pieces(page[1]))

    def _pieces(self, pieces: list[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.read.append(piece)
            yield piece


@pytest.fixture
def objects() -> FakeObjectStore:
    objects = FakeObjectStore()
    objects.buckets["album"] = FakeObjectStore()
    return objects


@pytest.fixture
def web() -> FakeOutbound:
    return FakeOutbound()


def store(objects: FakeObjectStore, *sources: dict[str, Any], job_id: str = JOB) -> None:
    with ManifestWriter() as manifest:
        for index, source in enumerate(sources):
            manifest.add(Source(**{"index": index, "name": "a.jpg", **source}))
        manifest.store(objects, job_id)


def fetcher(
    objects: FakeObjectStore, web: FakeOutbound | None = None, *, buckets: tuple[str, ...] = ("album",)
) -> Fetcher:
    return make_fetcher(objects, outbound=web, buckets=buckets, most_bytes=MOST)


def code(objects: FakeObjectStore, web: FakeOutbound | None = None, **changes: tuple[str, ...]) -> str:
    with pytest.raises(ImageError) as caught:
        fetcher(objects, web, **changes).fetch(JOB, 0)
    return caught.value.code


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(ImageError) as caught:
        call()
    return caught.value.code


# --- inputs -----------------------------------------------------------------------


def accept(objects: FakeObjectStore, *photos: bytes) -> None:
    """Store the uploads of a job, and record their tags as the start of a job does."""
    uploads = AcceptedUploads(len(photos))
    for index, data in enumerate(photos):
        objects.put(object_keys.input_image(JOB, index), data)
        (info,) = objects.list(object_keys.input_image(JOB, index))
        uploads.add(index, info)
    objects.put(object_keys.input_tags(JOB), uploads.tags)


def test_an_upload_that_was_replaced_fails_alone(objects: FakeObjectStore) -> None:
    photos = [b"photo", b"", bytes(MOST), bytes(10 * MOST)]
    accept(objects, *photos)
    loader = fetcher(objects)
    objects.put(object_keys.input_image(JOB, 0), b"other")

    with pytest.raises(InputChanged):
        loader.fetch(JOB, 0)
    assert [loader.fetch(JOB, index) for index in (1, 2, 3)] == [data[:MOST] for data in photos[1:]]


@pytest.mark.parametrize("index", [1, 2, 3])
def test_an_upload_may_not_become_another_upload(objects: FakeObjectStore, index: int) -> None:
    accept(objects, b"0", b"", b"22", bytes(10 * MOST))
    objects.put(object_keys.input_image(JOB, index), objects.get(object_keys.input_image(JOB, 0)))

    assert code_of(lambda: fetcher(objects).fetch(JOB, index)) == "input_changed"


def test_an_upload_that_is_put_back_is_the_one_accepted(objects: FakeObjectStore) -> None:
    accept(objects, b"photo")
    loader = fetcher(objects)
    objects.put(object_keys.input_image(JOB, 0), b"other")
    assert code_of(lambda: loader.fetch(JOB, 0)) == "input_changed"

    objects.put(object_keys.input_image(JOB, 0), b"photo")

    assert loader.fetch(JOB, 0) == b"photo"


def test_every_upload_of_a_large_album_is_compared(objects: FakeObjectStore) -> None:
    accept(objects, *(b"%d" % index for index in range(4100)))
    loader = fetcher(objects)
    for index in (4095, 4096, 4099):
        objects.put(object_keys.input_image(JOB, index), b"?" * 4)

    assert loader.fetch(JOB, 4097) == b"4097"
    assert [code_of(partial(loader.fetch, JOB, index)) for index in (4095, 4096, 4099)] == [
        "input_changed"
    ] * 3


def test_an_upload_that_is_gone_is_missing(objects: FakeObjectStore) -> None:
    accept(objects, b"photo")
    objects.delete(object_keys.input_image(JOB, 0))

    assert code(objects) == "input_missing"


def test_an_input_needs_no_manifest(objects: FakeObjectStore) -> None:
    objects.put(object_keys.input_image(JOB, 3), b"photo")

    assert fetcher(objects).fetch(JOB, 3) == b"photo"


def test_only_the_beginning_of_an_oversized_input_is_read(objects: FakeObjectStore) -> None:
    objects.put(object_keys.input_image(JOB, 0), bytes(1000))

    assert len(fetcher(objects).fetch(JOB, 0)) == MOST


@pytest.mark.parametrize(
    ("name", "data", "is_raw"),
    [
        ("a.NEF", b"MM\0*\0\0\0\x08", True),
        ("x/a.dng", b"II*\0\x08\0\0\0", True),
        ("a", b"II*\0\x10\0\0\0CR\x02\0", True),
        ("a.tif", b"II*\0\x08\0\0\0", False),
        ("a.nef", b"\xff\xd8\xff\xe0", False),
    ],
)
def test_a_tiff_named_like_a_raw_file_is_a_raw_file(
    objects: FakeObjectStore, name: str, data: bytes, is_raw: bool
) -> None:
    store(objects, {}, {"name": name})
    objects.put(object_keys.input_image(JOB, 1), data)
    if not is_raw:
        assert fetcher(objects).fetch(JOB, 1) == data
        return

    with pytest.raises(UnsupportedFormat, match="camera's raw file"):
        fetcher(objects).fetch(JOB, 1)


def test_a_tiff_of_a_job_without_a_manifest_is_a_tiff(objects: FakeObjectStore) -> None:
    objects.put(object_keys.input_image(JOB, 0), b"II*\0")

    assert fetcher(objects).fetch(JOB, 0) == b"II*\0"


@pytest.mark.parametrize("manifest", [True, False])
def test_an_input_that_is_gone_is_missing(objects: FakeObjectStore, manifest: bool) -> None:
    if manifest:
        store(objects, {})

    assert code(objects) == "input_missing"


def test_a_missing_input_does_not_affect_its_neighbours(objects: FakeObjectStore) -> None:
    store(objects, {}, {}, {})
    objects.put(object_keys.input_image(JOB, 0), b"first")
    objects.put(object_keys.input_image(JOB, 2), b"third")
    loader = fetcher(objects)
    with pytest.raises(ImageError):
        loader.fetch(JOB, 1)

    assert [loader.fetch(JOB, 0), loader.fetch(JOB, 2)] == [b"first", b"third"]


# --- objects ----------------------------------------------------------------------


def test_an_object_is_read_from_its_own_bucket(objects: FakeObjectStore) -> None:
    objects.in_bucket("album").put("walk/写真.jpg", b"photo")
    store(objects, {"s3": "s3://album/walk/写真.jpg"})

    assert fetcher(objects).fetch(JOB, 0) == b"photo"
    assert not objects.exists(object_keys.input_image(JOB, 0))


def test_only_the_beginning_of_an_oversized_object_is_read(objects: FakeObjectStore) -> None:
    objects.in_bucket("album").put("a.jpg", bytes(1000))
    store(objects, {"s3": "s3://album/a.jpg"})

    assert len(fetcher(objects).fetch(JOB, 0)) == MOST


@pytest.mark.parametrize(
    ("address", "buckets", "expected"),
    [
        ("s3://album/gone.jpg", ("album",), "source_missing"),
        ("s3://nowhere/a.jpg", ("nowhere",), "source_missing"),
        ("s3://closed/a.jpg", ("closed",), "source_denied"),
        ("s3://album/a.jpg", (), "source_denied"),
        ("s3://fathom/jobs/x/inputs/0", ("album",), "source_denied"),
        ("s3://album/../fathom/a.jpg", ("album",), "source_refused"),
    ],
)
def test_a_bad_object_fails_its_image(
    objects: FakeObjectStore, address: str, buckets: tuple[str, ...], expected: str
) -> None:
    objects.buckets["closed"] = None
    objects.in_bucket("album").put("a.jpg", b"photo")
    store(objects, {"s3": address})

    assert code(objects, buckets=buckets) == expected


def test_an_unavailable_store_fails_no_image(objects: FakeObjectStore) -> None:
    store(objects, {"s3": "s3://album/a.jpg"})
    objects.in_bucket("album").away = True
    with pytest.raises(ObjectStoreUnavailable):
        fetcher(objects).fetch(JOB, 0)


def test_a_store_that_denies_everything_fails_no_image(objects: FakeObjectStore) -> None:
    store(objects, {"s3": "s3://closed/a.jpg"})
    objects.buckets["closed"] = None

    def refuse() -> None:
        raise ObjectStoreDenied

    loader = fetcher(objects, buckets=("closed",))
    loader._references.find(JOB, 0)
    objects.before(objects.ping, refuse)
    with pytest.raises(ObjectStoreDenied):
        loader.fetch(JOB, 0)


# --- URLs -------------------------------------------------------------------------

URL = "https://example.org/a.jpg"


def test_a_url_is_read(objects: FakeObjectStore, web: FakeOutbound) -> None:
    store(objects, {"url": URL})
    web.pages[URL] = (200, [b"pho", b"to"])

    assert fetcher(objects, web).fetch(JOB, 0) == b"photo"


def test_only_the_beginning_of_an_oversized_url_is_read(objects: FakeObjectStore, web: FakeOutbound) -> None:
    store(objects, {"url": URL})
    web.pages[URL] = (200, [bytes(40)] * 1000)

    assert len(fetcher(objects, web).fetch(JOB, 0)) == MOST
    assert len(web.read) == 3


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ((404, []), "source_missing"),
        ((410, []), "source_missing"),
        ((401, []), "source_denied"),
        ((403, []), "source_denied"),
        ((451, []), "source_denied"),
        ((400, []), "source_denied"),
        ((408, []), "source_unavailable"),
        ((429, []), "source_unavailable"),
        ((500, []), "source_unavailable"),
        ((503, []), "source_unavailable"),
        ((204, []), "source_unavailable"),
        ((206, [b"part"]), "source_unavailable"),
        ((304, []), "source_unavailable"),
        (OutboundFailed("It took too long."), "source_unavailable"),
        (AddressRefused(), "source_refused"),
    ],
    ids=str,
)
def test_every_error_of_a_url_has_its_code(
    objects: FakeObjectStore, web: FakeOutbound, page: tuple[int, list[bytes]] | Exception, expected: str
) -> None:
    store(objects, {"url": URL})
    web.pages[URL] = page

    assert code(objects, web) == expected


@pytest.mark.parametrize("page", [AddressRefused("10.0.0.7 is private"), OutboundFailed("10.0.0.7 said no")])
def test_errors_reveal_nothing_about_the_server(
    objects: FakeObjectStore, web: FakeOutbound, page: Exception
) -> None:
    store(objects, {"url": URL})
    web.pages[URL] = page
    with pytest.raises(ImageError) as caught:
        fetcher(objects, web).fetch(JOB, 0)

    assert "10.0.0.7" not in caught.value.message
    assert URL not in caught.value.message


def test_a_fetch_is_broken_off_when_the_worker_stops(objects: FakeObjectStore, web: FakeOutbound) -> None:
    store(objects, {"url": URL})
    web.pages[URL] = (200, [b"x"] * 50)
    stopping = make_fetcher(objects, outbound=web, most_bytes=MOST, draining=lambda: True)
    with pytest.raises(SourceUnavailable):
        stopping.fetch(JOB, 0)

    assert len(web.read) == 1


# --- manifests --------------------------------------------------------------------


def test_a_job_accepted_before_urls_were_switched_off_reads_none(objects: FakeObjectStore) -> None:
    settings = replace(Settings.from_environ({}), url_sources=False, source_hosts=("photos.test",))
    store(objects, {"url": "http://photos.test/a.jpg"})
    loader = fetcher_of_settings(settings, objects, patience=5.0)

    assert code_of(lambda: loader.fetch(JOB, 0)) == "source_refused"


def test_the_lines_of_a_lease_are_read_once(objects: FakeObjectStore) -> None:
    for index in range(70):
        objects.in_bucket("album").put(f"{index}.jpg", b"photo %d" % index)
    store(objects, *({"s3": f"s3://album/{index}.jpg"} for index in range(70)))
    asked: list[str] = []

    def note(key: str, **span: int | None) -> None:
        asked.append(key.rsplit("/", 1)[-1])

    objects.before(objects.get, note)
    loader = fetcher(objects)
    assert [loader.fetch(JOB, index) for index in range(70)] == [b"photo %d" % n for n in range(70)]
    manifest = ["manifest.index", "manifest.jsonl"]
    assert asked == ["inputs.tags", "0", *manifest, "64", *manifest]


def test_manifest_lines_of_many_jobs_do_not_accumulate(objects: FakeObjectStore) -> None:
    objects.in_bucket("album").put("a.jpg", b"photo")
    loader = fetcher(objects)
    for _ in range(100):
        job_id = new_job_id()
        store(objects, {"s3": "s3://album/a.jpg"}, job_id=job_id)
        assert loader.fetch(job_id, 0) == b"photo"

    assert len(loader._references._blocks) == 16


# --- in a child -------------------------------------------------------------------


def submit(harness: WorkerHarness, *sources: dict[str, str]) -> Job:
    job_id = harness.submit(*(b"" for _ in sources))
    harness.objects.delete_prefix(object_keys.inputs_prefix(job_id))
    store(harness.objects, *sources, job_id=job_id)
    return harness.jobs.get(job_id)


def child(harness: WorkerHarness, web: FakeOutbound) -> LeaseLoop:
    return harness.child(fetcher=fetcher(harness.objects, web))


def test_a_bad_source_fails_its_own_image_and_no_other(harness: WorkerHarness, web: FakeOutbound) -> None:
    harness.objects.buckets["album"] = FakeObjectStore()
    harness.objects.in_bucket("album").put("a.jpg", b"photo")
    web.pages.update({URL: (200, [b"photo"]), URL + "2": (404, []), URL + "3": AddressRefused()})
    job = submit(
        harness,
        {"s3": "s3://album/a.jpg"},
        {"s3": "s3://album/b.jpg"},
        {"url": URL},
        {"url": URL + "2"},
        {"url": URL + "3"},
    )
    child(harness, web).work(60)

    failures = {i.index: i.failure.code for i in harness.jobs.failures(job.id) if i.failure is not None}
    assert failures == {1: "source_missing", 3: "source_missing", 4: "source_refused"}
    assert harness.jobs.get(job.id).counts.succeeded == 2


def test_a_server_that_does_not_answer_is_tried_three_times(
    harness: WorkerHarness, web: FakeOutbound
) -> None:
    web.pages.update({URL: OutboundFailed("away"), URL + "2": (200, [b"photo"])})
    job = submit(harness, {"url": URL}, {"url": URL + "2"})
    for _ in range(3):
        assert not list(harness.jobs.failures(job.id))
        child(harness, web).work(60)
        harness.clock.advance(60)

    (failed,) = harness.jobs.failures(job.id)
    assert failed.failure is not None
    assert (failed.index, failed.failure.code) == (0, "source_unavailable")
    assert harness.jobs.get(job.id).counts.succeeded == 1


def test_a_server_that_recovers_fails_no_image(harness: WorkerHarness, web: FakeOutbound) -> None:
    web.pages[URL] = (503, [])
    job = submit(harness, {"url": URL})
    child(harness, web).work(60)
    web.pages[URL] = (200, [b"photo"])
    harness.clock.advance(60)
    child(harness, web).work(60)

    assert harness.jobs.get(job.id).state is JobState.FINALIZING
    assert harness.jobs.get(job.id).counts.succeeded == 1
