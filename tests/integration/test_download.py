"""Downloads that are interrupted and continued, over real connections."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.errors import ModelError, WeightsUnavailable
from tests.origins import Origin, answer, origin
from tests.ranges import RangedFile
from worker.model.download import CONNECTIONS, Part, Source, download, kept_if_continuable

DATA = np.random.default_rng(0).bytes(100_000)
OTHER = np.random.default_rng(1).bytes(90_000)
CHANGED = "Tue, 03 Nov 2026 10:00:00 GMT"


@pytest.fixture
def server() -> Iterator[Origin]:
    with origin() as served:
        yield served


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "weights.pt.part")


def fetch(url: str, part: Part, *, most_bytes: int = 10**6) -> list[tuple[int, int | None]]:
    """Download `url` as `fetch_official` does, and return the progress that was reported."""
    seen: list[tuple[int, int | None]] = []
    with kept_if_continuable(part, url):
        download(
            url,
            part,
            timeout=60,
            progress=lambda done, total: seen.append((done, total)),
            most_bytes=most_bytes,
        )
    return seen


def interrupt(url: str, part: Part, file: RangedFile, at: int = 40_000) -> None:
    """Let a download break off after `at` bytes, for good."""
    file.cuts = [at, 0]
    with pytest.raises(WeightsUnavailable, match="broke off"):
        fetch(url, part)
    file.cuts = []
    file.requests.clear()


def test_a_lost_connection_is_continued_where_it_was(server: Origin, part: Part):
    file = RangedFile(DATA, cuts=[40_000, 30_001])

    seen = fetch(file.at(server), part)

    assert part.path.read_bytes() == DATA
    assert file.ranges == [(None, None), ("bytes=40000-", '"one"'), ("bytes=70001-", '"one"')]
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert {total for _, total in seen} == {len(DATA)}


def test_a_connection_that_brings_nothing_is_the_last(server: Origin, part: Part):
    file = RangedFile(DATA, cuts=[40_000, 0, 40_000])

    with pytest.raises(WeightsUnavailable, match="broke off"):
        fetch(file.at(server), part)

    assert len(file.requests) == 2
    assert part.path.read_bytes() == DATA[:40_000]


def test_a_download_makes_few_connections_and_the_next_one_continues(server: Origin, part: Part):
    file = RangedFile(DATA, cuts=[100] * (CONNECTIONS + 1))
    url = file.at(server)

    with pytest.raises(WeightsUnavailable, match="broke off"):
        fetch(url, part)
    assert (len(file.requests), part.size) == (CONNECTIONS, 100 * CONNECTIONS)
    seen = fetch(url, part)

    assert part.path.read_bytes() == DATA
    assert seen[0][0] > 100 * CONNECTIONS


def test_a_server_that_cannot_be_reached_again_leaves_what_has_arrived(part: Part):
    file = RangedFile(DATA, cuts=[40_000, 0])
    with origin() as server:
        url = file.at(server)
        with pytest.raises(WeightsUnavailable, match="broke off"):
            fetch(url, part)

    with pytest.raises(WeightsUnavailable, match="cannot be reached"):
        fetch(url, part)

    assert part.path.read_bytes() == DATA[:40_000]


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "503 Service Unavailable"])
def test_a_refusal_leaves_what_has_arrived(server: Origin, part: Part, status: str):
    file = RangedFile(DATA)
    url = file.at(server)
    interrupt(url, part, file)
    file.odd = [answer(status)]

    with pytest.raises(WeightsUnavailable, match=f"the server answered {status[:3]}"):
        fetch(url, part)
    fetch(url, part)

    assert file.ranges[1] == ("bytes=40000-", '"one"')
    assert part.path.read_bytes() == DATA


def test_another_version_is_fetched_from_its_start(server: Origin, part: Part):
    file = RangedFile(DATA)
    url = file.at(server)
    interrupt(url, part, file)
    file.data, file.etag = OTHER, '"two"'

    seen = fetch(url, part)

    assert part.path.read_bytes() == OTHER
    assert file.ranges == [("bytes=40000-", '"one"')]
    assert seen[-1] == (len(OTHER), len(OTHER))


@pytest.mark.parametrize(
    "odd",
    [
        RangedFile(OTHER, etag='"two"').response(40_000),
        RangedFile(OTHER).response(39_999),
        answer("206 Partial Content", OTHER[40_000:], ETag='"one"'),
        answer("416 Range Not Satisfiable"),
        answer("416 Range Not Satisfiable", Content_Range="bytes */1000"),
    ],
    ids=["another version", "another range", "no range named", "no length named", "part too long"],
)
def test_a_response_that_does_not_fit_the_part_is_not_appended(server: Origin, part: Part, odd: bytes):
    file = RangedFile(DATA)
    url = file.at(server)
    interrupt(url, part, file)
    file.odd = [odd]

    fetch(url, part)

    assert part.path.read_bytes() == DATA
    assert file.ranges == [("bytes=40000-", '"one"'), (None, None)]


def test_a_server_without_ranges_sends_the_whole_file(server: Origin, part: Part):
    file = RangedFile(DATA)
    url = file.at(server)
    interrupt(url, part, file)
    file.odd = [answer("200 OK", DATA, ETag='"one"')]

    fetch(url, part)

    assert part.path.read_bytes() == DATA
    assert len(file.requests) == 1


def test_a_server_may_send_less_than_the_rest_at_a_time(server: Origin, part: Part):
    file = RangedFile(DATA)
    url = file.at(server)
    interrupt(url, part, file)
    file.odd = [file.response(40_000, 50_000)]

    seen = fetch(url, part)

    assert part.path.read_bytes() == DATA
    assert file.ranges[1] == ("bytes=50000-", '"one"')
    assert {total for _, total in seen} == {len(DATA)}


def test_a_part_that_is_longer_than_the_file_is_dropped(server: Origin, part: Part):
    file = RangedFile(DATA)
    url = file.at(server)
    part.begin(Source(url=url, validator='"one"'))
    part.path.write_bytes(bytes(len(DATA) + 1))

    fetch(url, part)

    assert part.path.read_bytes() == DATA


def test_a_part_that_is_the_whole_file_is_not_fetched_again(server: Origin, part: Part):
    file = RangedFile(DATA)
    url = file.at(server)
    part.begin(Source(url=url, validator='"one"'))
    part.path.write_bytes(DATA)

    seen = fetch(url, part)

    assert seen == []
    assert part.path.read_bytes() == DATA
    assert file.ranges == [("bytes=100000-", '"one"')]


def test_a_part_of_another_address_is_not_continued(server: Origin, part: Part):
    file = RangedFile(DATA)
    interrupt(file.at(server, "/here"), part, file)

    fetch(file.at(server, "/there"), part)

    assert file.ranges == [(None, None)]
    assert part.path.read_bytes() == DATA


@pytest.mark.parametrize("note", ["", "[1]", '{"url": 3}', "{", None])
def test_a_part_of_an_unknown_source_is_not_continued(server: Origin, part: Part, note: str | None):
    file = RangedFile(DATA)
    url = file.at(server)
    interrupt(url, part, file)
    beside = part.path.with_name("weights.pt.part.json")
    if note is None:
        beside.unlink()
    else:
        beside.write_text(note)

    fetch(url, part)

    assert file.ranges == [(None, None)]
    assert part.path.read_bytes() == DATA


def test_without_a_strong_etag_the_time_of_the_last_change_counts(server: Origin, part: Part):
    file = RangedFile(DATA, etag='W/"one"', changed=CHANGED, cuts=[40_000])

    fetch(file.at(server), part)

    assert file.ranges == [(None, None), ("bytes=40000-", CHANGED)]
    assert part.path.read_bytes() == DATA


@pytest.mark.parametrize("etag", [None, 'W/"one"', '"é"'])
def test_what_cannot_be_continued_is_not_kept(server: Origin, part: Part, tmp_path: Path, etag: str | None):
    file = RangedFile(DATA, etag=etag, cuts=[40_000])

    with pytest.raises(WeightsUnavailable, match="broke off"):
        fetch(file.at(server), part)

    assert len(file.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_encoded_bytes_are_decoded_and_not_continued(server: Origin, part: Part, tmp_path: Path):
    packed = gzip.compress(bytes(50_000) + DATA)
    whole = answer("200 OK", packed, ETag='"one"', Content_Encoding="gzip")
    file = RangedFile(DATA, odd=[whole[:-1000], whole])
    url = file.at(server)

    with pytest.raises(WeightsUnavailable, match="broke off"):
        fetch(url, part)
    assert list(tmp_path.iterdir()) == []
    seen = fetch(url, part)

    assert part.path.read_bytes() == bytes(50_000) + DATA
    assert seen[-1] == (150_000, None)
    assert file.requests[0].headers["accept-encoding"] == "identity"


def test_too_long_a_file_is_refused_and_not_kept(server: Origin, part: Part, tmp_path: Path):
    file = RangedFile(DATA)

    with pytest.raises(ModelError, match="that is no checkpoint"):
        fetch(file.at(server), part, most_bytes=50_000)

    assert list(tmp_path.iterdir()) == []


def test_a_redirect_keeps_the_range(server: Origin, part: Part):
    file = RangedFile(DATA, cuts=[40_000])
    # As signed addresses do, the target differs every time.
    count = iter(range(9))

    def redirect(_: object) -> Iterator[bytes]:
        there = file.at(server, f"/signed-{next(count)}")
        yield answer("302 Found", Location=there, Connection="close")

    fetch(server.respond("/weights.pt", redirect), part)

    assert part.path.read_bytes() == DATA
    assert file.ranges == [(None, None), ("bytes=40000-", '"one"')]
