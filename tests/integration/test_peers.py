"""Every peer of `bench.peers` makes the heatmaps that Fathom makes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import processes
from bench.peers.albums import Albums, photo_names
from bench.peers.judge import ALLOWED_MEAN, judge
from bench.peers.measure import run_album
from bench.peers.peer import Depth, Setup
from bench.peers.references import References
from bench.peers.rows import ROWS, missing_packages
from shared.settings import Settings
from worker.model.graph import export_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are pinned and read from /proc"),
]

#: The depth of random weights hangs on single grey levels of the photo, so that no two decoders agree.
WEIGHTS = "starter"


@pytest.fixture(scope="module")
def albums(tmp_path_factory: pytest.TempPathFactory) -> Albums:
    return Albums(tmp_path_factory.mktemp("peers"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    (path,) = export_model(
        WEIGHTS, cache_dir, "onnx", tmp_path_factory.mktemp("peers-model") / "network.onnx"
    )
    return path


@pytest.fixture(scope="module")
def references(albums: Albums, cache_dir: Path) -> References:
    environ = {"FATHOM_WEIGHTS": WEIGHTS, "FATHOM_ENGINE": "torch", "FATHOM_CACHE_DIR": str(cache_dir)}
    return References(albums, Settings.from_environ(environ))


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_a_peer_makes_the_heatmaps_that_fathom_makes(
    name: str,
    albums: Albums,
    model: Path,
    references: References,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = next(row for row in ROWS if row.name == name)
    if missing := missing_packages(row.packages):
        pytest.skip(f"not installed: {missing}")
    monkeypatch.setenv("FATHOM_WEIGHTS", WEIGHTS)
    monkeypatch.setenv("FATHOM_CACHE_DIR", str(cache_dir))
    every_core = os.sched_getaffinity(0)
    cores, out = (max(os.sched_getaffinity(0)),), tmp_path / "out"
    with row.start(Setup(cores=cores, model=model, scratch=tmp_path / "scratch")) as started:
        serving = processes.descendants(started.server) if started.server else []
        run = run_album(started, albums.make("vga", 2), out, cores)

        # What serves is pinned; this process, which takes the measures, is not.
        assert all(os.sched_getaffinity(pid) == set(cores) for pid in serving)
        assert os.sched_getaffinity(0) == every_core

    expected = references.expect("vga", row.depth)
    off = judge(out, dict(zip(photo_names(2), expected, strict=False)))
    assert (off is None) == (row.depth is Depth.OTHER)
    assert (off or 0.0) < ALLOWED_MEAN
    # Whatever runs this network takes that much.
    assert run.cpu > 0.1
    assert run.peak_mb > 10
