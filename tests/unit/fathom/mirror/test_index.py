from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from fathom.mirror.index import (
    FILE_NAME,
    IndexBroken,
    IndexInUse,
    LocalPhoto,
    MirrorIndex,
    Unreadable,
    hash_file,
    open_index,
)
from fathom.models import UploadFile

OPTIONS = {"colormap": "gray"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def photo(folder: Path, name: str, data: bytes, index: MirrorIndex) -> LocalPhoto:
    path = folder / name
    path.write_bytes(data)
    return index.identify(UploadFile(path=path, name=name), name)


def test_the_index_persists_between_runs(tmp_path: Path, out: Path) -> None:
    with open_index(out, OPTIONS) as index:
        (out / "a.png").write_bytes(b"result")
        index.keep(photo(tmp_path, "a.jpg", b"1", index), files={"heatmap": "a.png"})

    with open_index(out, OPTIONS) as index:
        found = index.find(photo(tmp_path, "other.jpg", b"1", index), ["heatmap"])

    assert found is not None
    assert found.files == {"heatmap": "a.png"}


@pytest.mark.parametrize("outputs", [["heatmap", "npy"], ["npy"]])
def test_results_of_other_outputs_are_not_enough(tmp_path: Path, out: Path, outputs: list[str]) -> None:
    with open_index(out, OPTIONS) as index:
        (out / "a.png").write_bytes(b"result")
        kept = photo(tmp_path, "a.jpg", b"1", index)
        index.keep(kept, files={"heatmap": "a.png"})

        assert index.find(kept, outputs) is None


def test_a_file_belongs_to_the_last_result_written_to_it(tmp_path: Path, out: Path) -> None:
    with open_index(out, OPTIONS) as index:
        (out / "a.png").write_bytes(b"result")
        first, second = photo(tmp_path, "a.jpg", b"1", index), photo(tmp_path, "b.jpg", b"2", index)
        index.keep(first, files={"heatmap": "a.png"})
        index.keep(second, files={"heatmap": "a.png"})

        assert index.find(first, ["heatmap"]) is None
        assert index.find(second, ["heatmap"]) is not None


def test_a_released_file_belongs_to_no_result(tmp_path: Path, out: Path) -> None:
    with open_index(out, OPTIONS) as index:
        (out / "a.png").write_bytes(b"result")
        kept = photo(tmp_path, "a.jpg", b"1", index)
        index.keep(kept, files={"heatmap": "a.png"})
        index.release(["a.png"])

        assert index.find(kept, ["heatmap"]) is None


def test_a_hash_is_read_once_for_all_variants(tmp_path: Path, out: Path) -> None:
    with open_index(out, OPTIONS) as index:
        known = photo(tmp_path, "a.jpg", b"1", index)
        index.open_batch("http://api", [known])
    stat = (tmp_path / "a.jpg").stat()
    # Other bytes with the same size and time, which only reading the file again can detect.
    (tmp_path / "a.jpg").write_bytes(b"2")
    os.utime(tmp_path / "a.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns))

    with open_index(out, {"colormap": "magma"}) as index:
        again = index.identify(known.file, known.key)

    assert again.sha256 == known.sha256 != hash_file(tmp_path / "a.jpg")


def test_batches_are_separate_for_each_server_and_options(tmp_path: Path, out: Path) -> None:
    with open_index(out, OPTIONS) as index:
        photos = [photo(tmp_path, name, name.encode(), index) for name in ("b.jpg", "a.jpg")]
        batch = index.open_batch("http://api", photos)
        index.accept(batch, "job")

        assert [(b.keys, b.job) for b in index.batches("http://api")] == [(("b.jpg", "a.jpg"), "job")]
        assert index.batches("http://other") == ()
    with open_index(out, {}) as index:
        assert index.batches("http://api") == ()


def test_forgetting_affects_only_the_same_options(tmp_path: Path, out: Path) -> None:
    for options in (OPTIONS, {}):
        with open_index(out, options) as index:
            index.open_batch("http://api", [photo(tmp_path, "a.jpg", b"1", index)])
    with open_index(out, OPTIONS, fresh=True) as index:
        assert index.batches("http://api") == ()
    with open_index(out, {}) as index:
        assert len(index.batches("http://api")) == 1


def test_an_interrupted_change_leaves_nothing(tmp_path: Path, out: Path) -> None:
    with open_index(out, OPTIONS) as index:
        good = photo(tmp_path, "a.jpg", b"1", index)
        no_text: Any = object()
        bad = LocalPhoto(file=good.file, key=no_text, size=1, modified=1, sha256="")

        with pytest.raises((IndexBroken, TypeError)):
            index.open_batch("http://api", [good, bad])

        assert index.batches("http://api") == ()
        assert not index.is_unchanged(good)


def test_a_simultaneous_second_run_is_refused(out: Path) -> None:
    with (
        open_index(out, OPTIONS),
        pytest.raises(IndexInUse, match="Another `fathom` is writing into"),
        open_index(out, {}),
    ):
        pass


def test_a_file_that_is_not_an_index_is_named_and_not_changed(out: Path) -> None:
    out.mkdir()
    (out / FILE_NAME).write_bytes(b"Dear diary, " * 100)

    with pytest.raises(IndexBroken, match="is not an index of Fathom's; move it away"), open_index(out, {}):
        pass

    assert (out / FILE_NAME).read_bytes().startswith(b"Dear diary")


def test_an_index_of_another_version_is_not_changed(out: Path) -> None:
    out.mkdir()
    connection = sqlite3.connect(out / FILE_NAME)
    connection.execute("pragma user_version = 7")
    connection.close()

    with pytest.raises(IndexBroken, match="another version"), open_index(out, {}):
        pass


def test_a_damaged_index_is_reported_in_one_sentence(tmp_path: Path, out: Path) -> None:
    with open_index(out, OPTIONS) as index:
        for number in range(200):
            index.open_batch("http://api", [photo(tmp_path, f"{number}.jpg", b"1", index)])
    data = (out / FILE_NAME).read_bytes()
    (out / FILE_NAME).write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))

    with pytest.raises(IndexBroken, match="index"), open_index(out, OPTIONS) as index:
        index.batches("http://api")


def test_an_unusable_folder_of_results_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(IndexBroken, match=r"Cannot write into .*file"), open_index(tmp_path / "file", {}):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission_is_reported(out: Path) -> None:
    out.mkdir(mode=0o500)

    with pytest.raises(IndexBroken, match="Cannot write into"), open_index(out, {}):
        pass


def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path, out: Path) -> None:
    gone = UploadFile(path=tmp_path / "gone.jpg", name="gone.jpg")

    with open_index(out, OPTIONS) as index, pytest.raises(Unreadable, match=r"gone\.jpg: No such file"):
        index.identify(gone, gone.name)


def test_a_photo_with_another_label_picture_is_another(tmp_path: Path, out: Path) -> None:
    labels = tmp_path / "a.labels.png"
    path = tmp_path / "a.jpg"
    path.write_bytes(b"1")
    hashes = set()
    with open_index(out, OPTIONS) as index:
        for data in (None, b"labels", b"others"):
            if data is not None:
                labels.write_bytes(data)
            file = UploadFile(path=path, name="a.jpg", labels=labels if data else None)
            hashes.add(index.identify(file, "a.jpg").sha256)

    assert len(hashes) == 3
