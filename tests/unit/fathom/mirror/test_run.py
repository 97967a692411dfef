from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from fathom.errors import ApiError, ClientError, ConnectionLost
from fathom.files import Album
from fathom.mirror.index import MirrorIndex, open_index
from fathom.mirror.plan import BATCH, MirrorRequest
from fathom.mirror.report import MirrorProgress, MirrorReport
from fathom.mirror.run import JobGone, MirrorRun
from fathom.models import UploadFile
from fathom.sync_client import Fathom
from fathom.transport import Patience
from tests.unit.fathom.conftest import lose, on, problem, times
from tests.unit.fathom.job_server import JobServer, during

Mirror = Callable[..., MirrorReport]


@pytest.fixture
def server() -> JobServer:
    return JobServer()


@pytest.fixture
def fathom(server: JobServer) -> Iterator[Fathom]:
    transport, patience = httpx.MockTransport(server), Patience(first=0.01, total=0.05)
    with Fathom("http://fathom.test", patience=patience, transport=transport, sleep=lambda _: None) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "album").mkdir()
    return tmp_path / "album"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def mirror(fathom: Fathom, folder: Path, out: Path) -> Mirror:
    """Run over the current files of the folder."""

    def run(
        *, progress: MirrorProgress | None = None, fresh: bool = False, ending: str = "png", **options: Any
    ) -> MirrorReport:
        files = [UploadFile(path=path, name=path.name) for path in sorted(folder.iterdir())]
        paths: list[Mapping[str, str]] = [{"heatmap": f"{file.path.stem}.{ending}"} for file in files]
        request = MirrorRequest(album=Album(files=files), paths=paths, options=options, out=out)
        with open_index(out, options, fresh=fresh) as index:
            return MirrorRun(fathom, index, request, progress=progress, poll=0.01).run()

    return run


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.jpg").write_bytes(f"photo {name}".encode())


def results(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}


def made_of(*names: str) -> dict[str, bytes]:
    return {f"{name}.png": f"heatmap of photo {name}".encode() for name in names}


def test_the_results_of_all_photos_are_mirrored(mirror: Mirror, folder: Path, out: Path) -> None:
    fill(folder, "a", "b", "c")

    report = mirror()

    assert results(out) == made_of("a", "b", "c")
    assert (report.state, report.fetched, report.kept, report.files) == ("succeeded", 3, 0, 3)


def test_a_second_run_asks_the_server_nothing(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a", "b")
    mirror()
    server.faults.append(lambda request: pytest.fail(f"asked for {request.url}"))

    report = mirror()

    assert (report.kept, report.fetched, report.files) == (2, 0, 2)


def test_only_a_new_photo_is_sent(mirror: Mirror, server: JobServer, folder: Path, out: Path) -> None:
    fill(folder, "a", "b")
    mirror()
    fill(folder, "new")

    report = mirror()

    assert sorted(server.puts) == [b"photo a", b"photo b", b"photo new"]
    assert (report.kept, report.fetched) == (2, 1)


def test_a_renamed_photo_is_not_sent(mirror: Mirror, server: JobServer, folder: Path, out: Path) -> None:
    fill(folder, "a", "b")
    mirror()
    (folder / "a.jpg").rename(folder / "z.jpg")

    report = mirror()

    assert len(server.puts) == 2
    assert results(out)["z.png"] == b"heatmap of photo a"
    assert report.kept == 2


def test_two_photos_that_swap_names_keep_their_own_results(mirror: Mirror, folder: Path, out: Path) -> None:
    fill(folder, "a", "b")
    mirror()
    (folder / "a.jpg").rename(folder / "x")
    (folder / "b.jpg").rename(folder / "a.jpg")
    (folder / "x").rename(folder / "b.jpg")

    mirror()

    assert results(out) == {"a.png": b"heatmap of photo b", "b.png": b"heatmap of photo a"}


def test_a_changed_photo_of_the_same_size_gets_a_new_result(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a", "b")
    mirror()
    (folder / "a.jpg").write_bytes(b"photo A")

    report = mirror()

    assert results(out)["a.png"] == b"heatmap of photo A"
    assert server.puts.count(b"photo b") == 1
    assert (report.kept, report.fetched) == (1, 1)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"cut")])
def test_a_missing_or_truncated_result_is_made_again(
    mirror: Mirror, folder: Path, out: Path, damage: Callable[[Path], object]
) -> None:
    fill(folder, "a", "b")
    mirror()
    damage(out / "b.png")

    report = mirror()

    assert results(out) == made_of("a", "b")
    assert (report.kept, report.fetched) == (1, 1)


def test_changing_the_options_or_changing_them_back_makes_new_results(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a")
    mirror(colormap="gray")
    # Of the same size, like a heatmap with other colours.
    (out / "a.png").write_bytes(b"HEATMAP OF PHOTO A")

    assert mirror(colormap="magma").fetched == 1
    assert results(out) == made_of("a")
    assert mirror(colormap="gray").fetched == 1
    assert len(server.puts) == 3


def test_results_of_options_with_other_file_names_are_kept_side_by_side(
    mirror: Mirror, folder: Path, out: Path
) -> None:
    fill(folder, "a")
    mirror(colormap="gray")
    mirror(ending="jpg", heatmap_format="jpeg")

    assert mirror(colormap="gray").kept == 1
    assert mirror(ending="jpg", heatmap_format="jpeg").kept == 1


def test_a_fresh_run_sends_everything_again(mirror: Mirror, server: JobServer, folder: Path) -> None:
    fill(folder, "a", "b")
    mirror()

    assert mirror(fresh=True).fetched == 2
    assert len(server.puts) == 4


def test_a_large_album_goes_as_several_jobs(mirror: Mirror, server: JobServer, folder: Path) -> None:
    fill(folder, *(f"{number:04}" for number in range(BATCH + 3)))

    report = mirror()

    assert [len(job.names) for job in server.jobs.values()] == [BATCH, 3]
    assert report.fetched == BATCH + 3


def test_an_album_normalised_together_goes_as_one_job(
    mirror: Mirror, server: JobServer, folder: Path
) -> None:
    fill(folder, *(f"{number:04}" for number in range(BATCH + 3)))

    mirror(normalize="job")

    assert [len(job.names) for job in server.jobs.values()] == [BATCH + 3]


def test_results_are_saved_while_the_job_still_runs(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    server.speed = 2
    fill(folder, "a", "b", "c", "d", "e")
    seen: list[int] = []

    class Counting(MirrorProgress):
        def settled(self, done: int, total: int) -> None:
            (job,) = server.jobs.values()
            assert job.done is not None
            seen.append(len(job.done))

    mirror(progress=Counting())

    assert len(seen) == 5
    assert seen[0] < seen[-1] == 5
    assert sorted(server.gets) == sorted(f"{name}.jpg" for name in "abcde")


def test_failures_are_reported_and_permanent_ones_are_not_sent_again(
    mirror: Mirror, server: JobServer, folder: Path
) -> None:
    fill(folder, "a", "cut", "slow")
    server.bad = {b"photo cut": "image_corrupt", b"photo slow": "timed_out"}

    first = mirror()
    server.bad.popitem()
    second = mirror()

    assert first.state == "partial"
    assert [(f.name, f.error_code, f.index) for f in first.new_failures] == [
        ("cut.jpg", "image_corrupt", 1),
        ("slow.jpg", "timed_out", 2),
    ]
    assert server.puts.count(b"photo cut") == 1
    assert [(f.name, f.index) for f in second.known_failures] == [("cut.jpg", -1)]
    assert (second.kept, second.fetched, second.new_failures) == (1, 1, [])


def test_a_photo_that_cannot_be_read_does_not_stop_the_others(
    mirror: Mirror, folder: Path, out: Path
) -> None:
    fill(folder, "a")
    (folder / "b.jpg").symlink_to(folder / "nowhere")

    report = mirror()

    assert report.state == "partial"
    assert [(f.name, f.error_code) for f in report.new_failures] == [("b.jpg", "unreadable")]
    assert results(out) == made_of("a")


# --- what cannot be written -----------------------------------------------------------


def test_a_result_that_cannot_be_written_fails_alone_until_it_can(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a", "b", "c")
    obstacle = out / "b.png" / "in the way"
    obstacle.mkdir(parents=True)

    first, second = mirror(), mirror()
    obstacle.rmdir()
    obstacle.parent.rmdir()
    third, fourth = mirror(), mirror()

    assert [(each.state, each.kept, each.fetched) for each in (first, second, third, fourth)] == [
        ("partial", 0, 2),
        ("partial", 2, 0),
        ("succeeded", 2, 1),
        ("succeeded", 3, 0),
    ]
    for report in (first, second):
        assert [(f.name, f.error_code) for f in report.failures] == [("b.jpg", "cannot_write")]
    assert results(out) == made_of("a", "b", "c")
    assert len(server.puts) == 3, "The server has its result; the photo is not sent again."


def test_an_earlier_result_that_cannot_be_moved_to_its_new_name_fails_alone(
    mirror: Mirror, folder: Path, out: Path
) -> None:
    fill(folder, "a", "b")
    mirror()
    (folder / "a.jpg").rename(folder / "z.jpg")
    (out / "z.png" / "in the way").mkdir(parents=True)

    report = mirror()

    assert (report.state, report.kept) == ("partial", 1)
    assert [(f.name, f.error_code) for f in report.failures] == [("z.jpg", "cannot_write")]


def leave_no_room(index: MirrorIndex) -> None:
    """Make the disk full for an index as soon as it must grow."""
    (pages,) = index._db.execute("pragma page_count").fetchone()
    index._db.execute(f"pragma max_page_count = {pages}")


def test_an_index_without_room_for_results_fails_only_those_photos(
    fathom: Fathom, server: JobServer, folder: Path, out: Path, mirror: Mirror
) -> None:
    names = [f"{number:03}" for number in range(150)]
    fill(folder, *names)
    files = [UploadFile(path=path, name=path.name) for path in sorted(folder.iterdir())]
    request = MirrorRequest(
        album=Album(files=files), paths=[{"heatmap": f"{name}.png"} for name in names], options={}, out=out
    )

    server.faults.append(during("POST", "/start", lambda: leave_no_room(index)))
    with open_index(out, {}) as index:
        report = MirrorRun(fathom, index, request, poll=0.01).run()
    again = mirror()

    assert report.state == "partial"
    assert {failure.error_code for failure in report.failures} == {"storage_full"}
    assert report.fetched + len(report.failures) == 150
    assert (again.state, again.kept + again.fetched) == ("succeeded", 150)
    assert len(server.puts) == 150


def test_an_index_without_room_for_new_photos_fails_only_those(
    fathom: Fathom, server: JobServer, folder: Path, out: Path, mirror: Mirror
) -> None:
    fill(folder, "old")
    mirror()
    names = ["old", *(f"{number:03}" for number in range(200))]
    fill(folder, *names)
    files = [UploadFile(path=folder / f"{name}.jpg", name=f"{name}.jpg") for name in names]
    request = MirrorRequest(
        album=Album(files=files), paths=[{"heatmap": f"{name}.png"} for name in names], options={}, out=out
    )

    with open_index(out, {}) as index:
        leave_no_room(index)
        report = MirrorRun(fathom, index, request, poll=0.01).run()

    assert (report.state, report.kept) == ("partial", 1)
    assert [failure.error_code for failure in report.failures] == ["storage_full"] * 200
    assert server.puts == [b"photo old"]
    assert mirror().fetched == 200


def test_a_folder_of_results_replaces_a_moved_result(
    fathom: Fathom, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "x", "y")

    def mirror_as(**paths: str) -> MirrorReport:
        files = [UploadFile(path=folder / f"{name}.jpg", name=f"{name}.jpg") for name in paths]
        request = MirrorRequest(
            album=Album(files=files),
            paths=[{"heatmap": path} for path in paths.values()],
            options={},
            out=out,
        )
        with open_index(out, {}) as index:
            return MirrorRun(fathom, index, request, poll=0.01).run()

    mirror_as(x="x.png")
    report = mirror_as(x="x.jpg.png", y="x.png/y.png")

    assert (report.state, report.failures) == ("succeeded", [])
    assert (out / "x.jpg.png").read_bytes() == b"heatmap of photo x"
    assert (out / "x.png" / "y.png").read_bytes() == b"heatmap of photo y"


class Killed(BaseException):
    """Ends a run abruptly, because nothing catches it."""


def kill_at(count: int, method: str, path: str) -> Callable[[httpx.Request], None]:
    """Raise at the n-th request of this kind and at all later ones, before the server gets them."""
    left, lock = [count], threading.Lock()

    def fault(request: httpx.Request) -> None:
        if request.method == method and path in str(request.url):
            with lock:
                left[0] -= 1
                if left[0] <= 0:
                    raise Killed

    return fault


@pytest.mark.parametrize(
    ("count", "method", "path"),
    [
        (1, "POST", "/v1/jobs"),
        (1, "GET", "/uploads"),
        (1, "PUT", "s3.test"),
        (5, "PUT", "s3.test"),
        (1, "POST", "/start"),
        (1, "GET", "/images?"),
        (1, "GET", "/heatmap"),
        (4, "GET", "/heatmap"),
        (1, "GET", "state=failed"),
    ],
)
def test_a_run_killed_anywhere_is_continued_and_nothing_is_sent_twice(
    mirror: Mirror, server: JobServer, folder: Path, out: Path, count: int, method: str, path: str
) -> None:
    names = [f"{number}" for number in range(9)]
    fill(folder, *names)
    server.faults.append(kill_at(count, method, path))
    with pytest.raises(Killed):
        mirror()
    server.faults.clear()

    report = mirror()

    assert results(out) == made_of(*names)
    assert report.succeeded == 9
    assert len(server.jobs) == 1
    assert sorted(server.puts) == sorted(f"photo {name}".encode() for name in names)


def test_a_job_whose_response_was_lost_is_found_by_the_next_run(
    mirror: Mirror, server: JobServer, folder: Path
) -> None:
    fill(folder, "a", "b")

    def create_and_die(request: httpx.Request) -> httpx.Response:
        server._route(request)
        raise Killed

    server.faults.append(times(1, on("POST", "/v1/jobs", create_and_die)))
    with pytest.raises(Killed):
        mirror()

    mirror()

    assert len(server.jobs) == 1
    assert len(server.puts) == 2


def interrupt_uploads(mirror: Mirror, server: JobServer, *, after: int) -> None:
    """Kill a run while it uploads."""
    server.faults.append(kill_at(after + 1, "PUT", "s3.test"))
    with pytest.raises(Killed):
        mirror()
    server.faults.clear()


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"photo X")])
def test_a_photo_removed_or_changed_between_runs_leaves_no_unfinished_upload(
    mirror: Mirror, server: JobServer, folder: Path, out: Path, change: Callable[[Path], object]
) -> None:
    fill(folder, "a", "b", "c")
    interrupt_uploads(mirror, server, after=1)
    change(folder / "b.jpg")

    report = mirror()

    assert report.state == "succeeded"
    assert len(results(out)) == len(list(folder.iterdir()))
    assert results(out).get("b.png") in (None, b"heatmap of photo X")
    assert [job.is_started for job in server.jobs.values()] == [True]


def test_a_photo_changed_after_its_upload_gets_the_result_of_its_new_content(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a", "b")
    server.faults.append(kill_at(1, "GET", "/heatmap"))
    with pytest.raises(Killed):
        mirror()
    server.faults.clear()
    (folder / "a.jpg").write_bytes(b"photo A")

    mirror()

    assert results(out) == {"a.png": b"heatmap of photo A", "b.png": b"heatmap of photo b"}
    assert server.puts.count(b"photo b") == 1


@pytest.mark.parametrize("forget_keys", [False, True])
@pytest.mark.parametrize("expire", [False, True])
def test_a_job_deleted_between_runs_is_sent_again(
    mirror: Mirror, server: JobServer, folder: Path, out: Path, forget_keys: bool, expire: bool
) -> None:
    fill(folder, "a", "b")
    interrupt_uploads(mirror, server, after=1)
    for job in list(server.jobs.values()):
        job.state = "expired"
        if not expire:
            del server.jobs[job.id]
    if forget_keys:
        server.tokens = {f"forgotten {token}": job for token, job in server.tokens.items()}

    mirror()

    assert results(out) == made_of("a", "b")


def test_a_job_deleted_before_its_response_arrived_is_announced_under_another_key(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a", "b")

    def create_and_die(request: httpx.Request) -> httpx.Response:
        server._route(request)
        server.jobs.clear()
        raise Killed

    server.faults.append(times(1, on("POST", "/v1/jobs", create_and_die)))
    with pytest.raises(Killed):
        mirror()

    mirror()

    assert results(out) == made_of("a", "b")
    assert len(server.tokens) == 2


def test_a_key_used_by_another_album_is_replaced(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a")
    reused = problem(422, "idempotency_key_reused", "The key was used for something else.")
    server.faults.append(times(1, on("POST", "/v1/jobs", lambda _: reused)))

    mirror()

    assert results(out) == made_of("a")


def test_a_job_deleted_during_the_run_is_reported_and_sent_by_the_next_run(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    server.speed = 1
    fill(folder, "a", "b", "c")
    server.faults.append(during("GET", "/heatmap", server.jobs.clear))
    with pytest.raises((JobGone, ApiError)):
        mirror()

    assert mirror().state == "succeeded"
    assert results(out) == made_of("a", "b", "c")


def test_a_job_that_expires_during_the_run_is_reported(
    mirror: Mirror, server: JobServer, folder: Path
) -> None:
    server.speed = 0
    fill(folder, "a")

    def expire() -> None:
        for job in server.jobs.values():
            job.state = "expired"

    server.faults.append(during("POST", "/start", expire))

    with pytest.raises(JobGone, match="run again to send its photos anew"):
        mirror()


def test_the_unfinished_images_of_a_canceled_job_are_counted(
    mirror: Mirror, server: JobServer, folder: Path
) -> None:
    fill(folder, "a", "b", "c")

    def cancel() -> None:
        (job,) = server.jobs.values()
        job.state, job.done = "canceled", {0}

    server.speed = 0
    server.faults.append(lambda _: cancel() if any(job.is_started for job in server.jobs.values()) else None)

    report = mirror()

    assert (report.state, report.fetched, report.canceled) == ("canceled", 1, 2)


def test_the_run_waits_for_a_server_longer_than_one_request_does(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a", "b")
    server.faults.append(times(30, on("PUT", "", lose)))
    lost: list[ClientError] = []

    class Listening(MirrorProgress):
        def lost(self, exc: ClientError) -> None:
            lost.append(exc)

    mirror(progress=Listening())

    assert results(out) == made_of("a", "b")
    assert lost
    assert isinstance(lost[0], ConnectionLost)


def test_the_run_waits_for_a_server_at_its_limits(
    mirror: Mirror, server: JobServer, folder: Path, out: Path
) -> None:
    fill(folder, "a")
    full = problem(429, "quota_exceeded", "Too much work waits already.")
    server.faults.append(times(12, on("POST", "/v1/jobs", lambda _: full)))

    mirror()

    assert results(out) == made_of("a")


def test_a_refusal_ends_the_run_with_its_reason(mirror: Mirror, server: JobServer, folder: Path) -> None:
    fill(folder, "a")
    server.faults.append(on("POST", "/v1/jobs", lambda _: problem(401, "unauthenticated", "No key.")))

    with pytest.raises(ApiError, match="No key"):
        mirror()


def test_sent_and_settled_photos_add_up(mirror: Mirror, server: JobServer, folder: Path) -> None:
    fill(folder, "a", "b", "c")
    reported: list[tuple[str, int, int]] = []

    class Writing(MirrorProgress):
        def planned(self, size: int, images: int) -> None:
            reported.append(("planned", size, images))

        def sent(self, done: int, total: int) -> None:
            reported.append(("sent", done, total))

        def settled(self, done: int, total: int) -> None:
            reported.append(("settled", done, total))

    server.faults.append(times(2, on("PUT", "", lose)))
    mirror(progress=Writing())

    assert reported[0] == ("planned", 21, 3)
    assert [line for line in reported if line[0] == "sent"][-1] == ("sent", 21, 21)
    assert max(done for name, done, _ in reported if name == "sent") == 21
    assert [line for line in reported if line[0] == "settled"] == [("settled", n, 3) for n in (1, 2, 3)]
