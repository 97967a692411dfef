from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.conftest import make_sample
from training.shards import ShardFolder, count_samples, write_shard


def test_samples_come_back_as_they_were_written(tmp_path: Path) -> None:
    samples = [make_sample(seed=seed) for seed in range(3)]
    write_shard(tmp_path / "a.safetensors", samples, {"seed": 1})
    folder = ShardFolder(tmp_path)

    assert len(folder) == 3
    for number, sample in enumerate(samples):
        read = folder.read(number)
        assert (read.image == sample.image).all()
        # Inverse depth is kept in half precision: eleven bits.
        assert read.inverse_depth == pytest.approx(sample.inverse_depth, rel=2**-11)
        assert read.inverse_depth.dtype == np.float32


def test_new_shards_show_up_after_a_refresh_and_keep_old_numbers(tmp_path: Path) -> None:
    write_shard(tmp_path / "b.safetensors", [make_sample(seed=1)], {})
    folder = ShardFolder(tmp_path)
    write_shard(tmp_path / "a.safetensors", [make_sample(seed=2), make_sample(seed=3)], {})
    before = folder.read(0).image
    folder.refresh()

    assert len(folder) == 3
    assert (folder.read(0).image == before).all()


def test_one_folder_holds_shards_of_different_shapes(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.safetensors", [make_sample(64, 96)], {})
    write_shard(tmp_path / "b.safetensors", [make_sample(96, 64)], {})
    folder = ShardFolder(tmp_path)

    assert [folder.read(i).image.shape for i in range(2)] == [(64, 96, 3), (96, 64, 3)]


def test_no_partial_file_stays_behind(tmp_path: Path) -> None:
    write_shard(tmp_path / "deep" / "a.safetensors", [make_sample()], {})

    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.safetensors"]
    assert count_samples(tmp_path / "deep" / "a.safetensors") == 1
