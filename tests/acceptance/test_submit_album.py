"""`fathom submit --out` and `fathom watch`: killed, interrupted, and run again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.faults import Mode
from bench.http_exchange import Exchange
from bench.proxy import Proxy
from tests.acceptance.albums import plain_album, tree
from tests.acceptance.conftest import WITHOUT_NETWORK, CommandStarter
from tests.acceptance.stacks import LaunchedStack, invoke_fathom
from tests.processes import descendants
from tests.waiting import eventually

COUNT = 30
#: Photos that arrive before a run is interrupted.
FIRST = 10
_HOST = "127.0.0.2"


@pytest.fixture(scope="module")
def serving(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedStack]:
    """A stack whose object store clients cannot reach, so all bytes go through the API."""
    with LaunchedStack(
        tmp_path_factory.mktemp("serving") / "data", environ | WITHOUT_NETWORK, "--host", _HOST
    ).running() as stack:
        yield stack


class HoldingProxy:
    """A proxy in front of the API that records requests, and can hold photos back after the first ones."""

    def __init__(self, stack: LaunchedStack) -> None:
        self.exchanges: list[Exchange] = []
        self.holds_after: int | None = None
        port = int(stack.api.rsplit(":", 1)[1])
        self.proxy = Proxy((_HOST, port), observe=self._see)

    def _see(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        if self.holds_after is not None and len(self.uploads()) >= self.holds_after:
            self.proxy.set(Mode.HANG, methods={"PUT"})
            self.holds_after = None

    def uploads(self) -> list[str]:
        """Return the paths of the photos that arrived, in order."""
        return [e.path for e in self.exchanges if e.method == "PUT" and (e.status or 500) < 300]


@pytest.fixture
def gate(serving: LaunchedStack) -> Iterator[HoldingProxy]:
    gate = HoldingProxy(serving)
    with gate.proxy:
        yield gate


@pytest.fixture
def album(tmp_path: Path) -> Path:
    return plain_album(tmp_path / "album", COUNT)


def submit(serving: LaunchedStack, gate: HoldingProxy, album: Path, out: Path) -> tuple[str, ...]:
    return ("submit", str(album), "--out", str(out), "--api", gate.proxy.url)


def test_a_run_killed_during_its_upload_continues_and_sends_nothing_twice(
    serving: LaunchedStack, start_command: CommandStarter, gate: HoldingProxy, album: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = submit(serving, gate, album, out)
    gate.holds_after = FIRST
    first = start_command(*command)
    eventually(lambda: len(gate.uploads()), lambda sent: sent >= FIRST)
    first.kill()
    first.communicate()
    before = len(gate.uploads())
    gate.proxy.set(Mode.PASS)

    ended = invoke_fathom(*command, "--json", environ=serving.environ)

    assert before < COUNT
    assert ended.code == 0
    assert tree(out) == {f"{number:04}.png" for number in range(COUNT)}
    # Photos in flight at the kill may have arrived or not; each sender has one.
    assert COUNT <= len(gate.uploads()) <= COUNT + 8
    assert len({path.split("/")[3] for path in gate.uploads()}) == 1

    sent = len(gate.uploads())
    check_later_runs(serving, gate, album, out, command)
    assert len(gate.uploads()) == sent + 1


def check_later_runs(
    serving: LaunchedStack, gate: HoldingProxy, album: Path, out: Path, command: tuple[str, ...]
) -> None:
    """Run again over a finished album, then with one photo renamed and one added."""
    asked = len(gate.exchanges)
    again = invoke_fathom(*command, "--json", environ=serving.environ).json
    assert (again["kept"], again["counts"]["succeeded"], again["jobs"]) == (COUNT, COUNT, [])
    assert len(gate.exchanges) == asked

    (album / "0000.jpg").rename(album / "renamed.jpg")
    plain_album(album.with_name("more"), 1, size=(72, 48)).joinpath("0000.jpg").rename(album / "new.jpg")
    changed = invoke_fathom(*command, "--json", environ=serving.environ).json
    assert (changed["kept"], changed["counts"]["total"]) == (COUNT, COUNT + 1)
    assert (out / "renamed.png").read_bytes() == (out / "0000.png").read_bytes()


def test_ctrl_c_during_an_upload_ends_at_once_with_one_sentence(
    serving: LaunchedStack, start_command: CommandStarter, gate: HoldingProxy, album: Path, tmp_path: Path
) -> None:
    command = submit(serving, gate, album, tmp_path / "out")
    # Requests in flight never get a response.
    gate.proxy.set(Mode.HANG, methods={"PUT"})
    process = start_command(*command)
    eventually(lambda: any(e.path.endswith("/uploads") for e in gate.exchanges))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Repeat the command to continue" in err
    assert "Traceback" not in err


def test_a_run_survives_a_kill_of_the_api(
    serving: LaunchedStack, start_command: CommandStarter, gate: HoldingProxy, album: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    gate.holds_after = FIRST
    process = start_command(*submit(serving, gate, album, out))
    eventually(lambda: len(gate.uploads()), lambda sent: sent >= FIRST)
    api = serving.info["pids"]["api"]
    for pid in (api, *descendants(api)):
        os.kill(pid, signal.SIGKILL)
    gate.proxy.set(Mode.PASS)
    _, err = process.communicate(timeout=100)

    assert process.returncode == 0, err
    assert tree(out) == {f"{number:04}.png" for number in range(COUNT)}


def test_a_second_run_into_the_same_folder_is_refused(
    serving: LaunchedStack, start_command: CommandStarter, gate: HoldingProxy, album: Path, tmp_path: Path
) -> None:
    command = submit(serving, gate, album, tmp_path / "out")
    gate.proxy.set(Mode.HANG, methods={"PUT"})
    first = start_command(*command)
    eventually(lambda: any(e.path.endswith("/uploads") for e in gate.exchanges))

    second = invoke_fathom(*command, environ=serving.environ)
    first.kill()
    first.communicate()

    assert second.code == 1
    assert second.err == f"fathom: Another `fathom` is writing into {tmp_path / 'out'}; wait until it ends.\n"


def test_a_watch_submits_new_photos_until_ctrl_c(
    serving: LaunchedStack, start_command: CommandStarter, album: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "camera", tmp_path / "camera" / "depth"
    folder.mkdir()
    shutil.copy(album / "0000.jpg", folder / "a.jpg")
    process = start_command("watch", folder, "--out", out, "--json", "--api", serving.api)
    assert process.stdout is not None
    rounds = [json.loads(process.stdout.readline())]
    shutil.copy(album / "0001.jpg", folder / "b.jpg")
    (folder / "a.jpg").unlink()
    rounds.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert [(each["new"], each["failures"]) for each in rounds] == [(1, []), (1, [])]
    assert tree(out) == {"a.png", "b.png"}


def test_a_watch_with_a_wrong_option_ends(serving: LaunchedStack, tmp_path: Path) -> None:
    ended = invoke_fathom(
        *("watch", tmp_path, "--out", tmp_path / "out", "-o", "colormap=pink", "--api", serving.api),
        environ=serving.environ,
    )

    assert ended.code == 2
    assert "colormap" in ended.err


def test_a_result_that_cannot_be_written_does_not_affect_the_others(
    serving: LaunchedStack, album: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    (out / "0001.png" / "in the way").mkdir(parents=True)
    (other / "0001.png" / "in the way").mkdir(parents=True)
    options = ("--json", "--api", serving.api)
    for path in sorted(album.iterdir())[3:]:
        path.unlink()
    for verb in (("submit",), ("watch", "--once")):
        ended = invoke_fathom(*verb, album, "--out", out, *options, environ=serving.environ)

        assert ended.code == 3
        assert [f["name"] for f in ended.json["failures"]] == ["0001.jpg"]
    (job,) = invoke_fathom("jobs", *options, environ=serving.environ).json["jobs"][:1]
    fetched = invoke_fathom("download", job["id"], "--out", other, *options, environ=serving.environ)

    assert (fetched.code, fetched.json["files"]) == (3, 2)
    assert fetched.json["failures"][0]["error"]["code"] == "cannot_write"
    assert tree(out) == tree(other) == {"0000.png", "0002.png"}
