"""Programs with children, and the guard that outlives their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client import guard as guard_program
from client.processes import Guard, Program, log_tail

#: Starts a child, writes both ids to a file, and waits.
_PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("pids.part", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename("pids.part", "pids")
time.sleep(600)
"""
#: The same, deaf to SIGTERM.
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + _PARENT


def poll(check: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[Guard]:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    made = Guard(lock)
    yield made
    made.close()
    os.close(lock)


@pytest.fixture
def make_program(tmp_path: Path, guard: Guard) -> Iterator[Callable[[str], Program]]:
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
    poll((folder / "pids").exists)
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

    poll(lambda: not any(map(alive, pids)))
    assert not program.is_running()


def test_starting_a_killed_program_again_ends_the_children_it_left(
    make_program: Callable[[str], Program], tmp_path: Path
) -> None:
    program = make_program(_PARENT)
    program.start()
    parent, child = wait_for_pids(tmp_path)
    os.kill(parent, 9)
    poll(lambda: not program.is_running())
    assert alive(child)

    program.start()

    poll(lambda: not alive(child))
    assert program.is_running()
    assert wait_for_pids(tmp_path)[0] == program.pid != parent


def test_a_program_that_ended_tells_its_exit_code_and_its_last_words(
    make_program: Callable[[str], Program],
) -> None:
    program = make_program("import sys; print('why'); sys.exit(7)")
    program.start()

    poll(lambda: program.exit_code() is not None)

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


def start_group(code: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, start_new_session=True)


def start_guard() -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", guard_program.__file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True)


def tell(guard: subprocess.Popen[str], line: str) -> None:
    assert guard.stdin is not None
    guard.stdin.write(line)
    guard.stdin.flush()


@pytest.mark.parametrize("code", [_PARENT, _STUBBORN], ids=["willing", "stubborn"])
def test_a_guard_left_alone_ends_whole_groups(tmp_path: Path, code: str) -> None:
    group, guard = start_group(code, tmp_path), start_guard()
    pids = wait_for_pids(tmp_path)
    tell(guard, f"+{group.pid}\n")

    assert guard.stdin is not None
    guard.stdin.close()
    poll(lambda: group.poll() is not None)
    guard.wait(20)

    poll(lambda: not any(map(alive, pids)))


def test_a_guard_ends_the_children_of_a_leader_that_is_gone_already(tmp_path: Path) -> None:
    group, guard = start_group(_PARENT, tmp_path), start_guard()
    _, child = wait_for_pids(tmp_path)
    tell(guard, f"+{group.pid}\n")
    group.kill()
    group.wait()

    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(20)

    poll(lambda: not alive(child))


def test_a_guard_leaves_groups_alone_that_were_taken_off_its_list(tmp_path: Path) -> None:
    group, guard = start_group(_PARENT, tmp_path), start_guard()
    pids = wait_for_pids(tmp_path)
    tell(guard, f"+{group.pid}\n-{group.pid}\n")

    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(20)

    assert all(map(alive, pids))
    os.killpg(group.pid, 9)
    group.wait()
