"""Programs with children, and the orphan guard that outlives their parent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fathom.stack import orphan_guard
from fathom.stack.processes import OrphanGuard, Program, log_tail
from tests.processes import end_group, is_alive
from tests.waiting import eventually

StartGroup = Callable[[str], subprocess.Popen[bytes]]

#: Starts a child, writes both ids to a file, and waits.
_PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("pids.part", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("pids.part", "pids")
time.sleep(600)
"""
#: The same, but it ignores SIGTERM.
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + _PARENT


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[OrphanGuard]:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    made = OrphanGuard(lock)
    yield made
    made.close()
    os.close(lock)


@pytest.fixture
def make_program(tmp_path: Path, guard: OrphanGuard) -> Iterator[Callable[[str], Program]]:
    made: list[Program] = []

    def make(code: str) -> Program:
        program = Program(
            "program",
            [sys.executable, "-c", code],
            environ=os.environ,
            folder=tmp_path,
            log_path=tmp_path / "program.log",
            guard=guard,
        )
        made.append(program)
        return program

    yield make
    for program in made:
        program.stop()


def wait_for_pids(folder: Path) -> list[int]:
    eventually((folder / "pids").exists)
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    (folder / "pids").unlink()
    return pids


@pytest.mark.parametrize("code", [_PARENT, _STUBBORN], ids=["willing", "stubborn"])
def test_stopping_a_program_ends_its_children_too(
    make_program: Callable[[str], Program], tmp_path: Path, code: str
) -> None:
    program = make_program(code)
    program.start()
    pids = wait_for_pids(tmp_path)

    program.stop()

    eventually(lambda: not any(map(is_alive, pids)))
    assert not program.is_running()


def test_starting_a_killed_program_again_ends_the_children_it_left(
    make_program: Callable[[str], Program], tmp_path: Path
) -> None:
    program = make_program(_PARENT)
    program.start()
    parent, child = wait_for_pids(tmp_path)
    os.kill(parent, 9)
    eventually(lambda: not program.is_running())
    assert is_alive(child)

    program.start()

    eventually(lambda: not is_alive(child))
    assert program.is_running()
    assert wait_for_pids(tmp_path)[0] == program.pid != parent


def test_an_ended_program_reports_its_exit_code_and_last_output(
    make_program: Callable[[str], Program],
) -> None:
    program = make_program("import sys; print('why'); sys.exit(7)")
    program.start()

    eventually(lambda: program.exit_code() is not None)

    assert program.exit_code() == 7
    assert not program.is_running()
    assert log_tail(program.log_path) == "why"


def test_a_program_may_be_stopped_twice_and_before_its_start(make_program: Callable[[str], Program]) -> None:
    program = make_program("import time; time.sleep(600)")

    program.stop()
    program.start()
    program.stop()
    program.stop()

    assert not program.is_running()


@pytest.fixture
def start_group(tmp_path: Path) -> Iterator[StartGroup]:
    """Start a program in its own process group; kill the rest of the group at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(code: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, start_new_session=True))
        return started[-1]

    yield start
    for leader in started:
        end_group(leader)


@pytest.fixture
def guard_process() -> Iterator[subprocess.Popen[str]]:
    """A guard without a stack."""
    command = [sys.executable, "-I", "-S", orphan_guard.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        yield process


def send_line(guard: subprocess.Popen[str], line: str) -> None:
    assert guard.stdin is not None
    guard.stdin.write(line)
    guard.stdin.flush()


def test_a_guard_without_its_parent_ends_whole_groups(
    start_group: StartGroup, guard_process: subprocess.Popen[str], tmp_path: Path
) -> None:
    pids = []
    for code in (_PARENT, _STUBBORN):
        group = start_group(code)
        pids += wait_for_pids(tmp_path)
        send_line(guard_process, f"+{group.pid}\n")

    assert guard_process.stdin is not None
    guard_process.stdin.close()
    guard_process.wait(60)

    eventually(lambda: not any(map(is_alive, pids)))


def test_a_guard_ends_the_children_of_a_leader_that_is_gone_already(
    start_group: StartGroup, guard_process: subprocess.Popen[str], tmp_path: Path
) -> None:
    group, guard = start_group(_PARENT), guard_process
    _, child = wait_for_pids(tmp_path)
    send_line(guard, f"+{group.pid}\n")
    group.kill()
    group.wait()

    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(60)

    eventually(lambda: not is_alive(child))


def test_a_guard_ignores_groups_that_were_removed(
    start_group: StartGroup, guard_process: subprocess.Popen[str], tmp_path: Path
) -> None:
    group, guard = start_group(_PARENT), guard_process
    pids = wait_for_pids(tmp_path)
    send_line(guard, f"+{group.pid}\n-{group.pid}\n")

    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(60)

    assert all(map(is_alive, pids))
