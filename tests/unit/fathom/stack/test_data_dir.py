from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path

import pytest

from fathom.stack.data_dir import DataFolder, StackRunning, write_private
from shared.net.webhook_signing import is_secret


class GaveUp(Exception):
    """Raised by a pause instead of waiting."""


def give_up() -> None:
    raise GaveUp


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder(tmp_path / "data")
    made.make()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_and_readable_by_their_owner_only(folder: DataFolder) -> None:
    keys = folder.keys()

    assert folder.keys() == keys
    assert DataFolder(folder.path).keys() == keys
    assert mode(folder.path / "keys.json") == 0o600
    assert mode(folder.path) == 0o700
    assert len({keys.access_key, keys.secret_key, keys.redis_password}) == 3


def test_a_key_that_an_older_folder_lacks_is_added(folder: DataFolder) -> None:
    keys = folder.keys()
    old = {name: value for name, value in vars(keys).items() if name != "webhook_secret"}
    write_private(folder.path / "keys.json", old)

    completed = folder.keys()

    assert is_secret(completed.webhook_secret)
    assert {**vars(completed), "webhook_secret": keys.webhook_secret} == vars(keys)
    assert folder.keys() == completed
    assert mode(folder.path / "keys.json") == 0o600


def test_keys_do_not_show_in_messages(folder: DataFolder) -> None:
    keys = folder.keys()

    assert keys.secret_key not in repr(keys)
    assert keys.redis_password not in repr(keys)


def test_two_folders_have_different_keys(tmp_path: Path) -> None:
    folders = [DataFolder(tmp_path / name) for name in "ab"]
    for each in folders:
        each.make()

    assert folders[0].keys() != folders[1].keys()


def test_a_locked_folder_is_refused_with_the_id_of_its_owner(folder: DataFolder) -> None:
    lock = folder.lock(give_up)
    folder.stack_file.write_text("{}")

    with pytest.raises(StackRunning, match=rf"process {os.getpid()}\) is running on .*data"):
        folder.lock(give_up)

    assert folder.stack_file.exists()
    os.close(lock)


def test_a_lock_is_free_once_all_its_holders_are_gone(folder: DataFolder) -> None:
    os.close(folder.lock(give_up))

    os.close(folder.lock(give_up))


def test_a_start_waits_for_the_lock_of_a_dead_owner(folder: DataFolder) -> None:
    guard = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(guard, fcntl.LOCK_EX)
    # No process has this id, because it is larger than the kernel allows.
    os.pwrite(guard, b"4194305", 0)
    pauses = []

    def pause() -> None:
        pauses.append(1)
        if len(pauses) == 3:
            os.close(guard)

    os.close(folder.lock(pause))

    assert len(pauses) == 3


def test_the_stack_file_of_a_dead_stack_is_removed(folder: DataFolder) -> None:
    folder.stack_file.write_text("{}")

    os.close(folder.lock(give_up))

    assert not folder.stack_file.exists()


def test_releasing_a_lock_closes_its_file(folder: DataFolder) -> None:
    guard = os.open(folder.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(guard, fcntl.LOCK_EX)
    opened = len(os.listdir("/proc/self/fd"))

    with pytest.raises(GaveUp):
        folder.lock(give_up)

    assert len(os.listdir("/proc/self/fd")) == opened
    os.close(guard)


def test_a_private_file_replaces_an_old_one_atomically(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old and much longer than what comes")
    path.chmod(0o644)

    write_private(path, {"new": 1})

    assert json.loads(path.read_text()) == {"new": 1}
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]
