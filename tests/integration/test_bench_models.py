"""`bench.models` runs what it claims: the authors' loop makes what Fathom makes, and both are measured."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.models.__main__ import main
from bench.models.official import OfficialLoop
from fathom.options import Options
from shared.networks import MIDAS_SMALL, WayBack
from shared.settings import Settings
from worker.model.torch_engine import TorchEngine
from worker.model.weights import resolve_weights
from worker.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are pinned and read from /proc")


def write_photo(path: Path, height: int, width: int) -> Path:
    """Write a smooth picture: a slope in each channel."""
    down, across = np.mgrid[0 : 255 : height * 1j, 0 : 255 : width * 1j]
    Image.fromarray(np.stack([down, across, (down + across) / 2], axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("way_back", WayBack)
def test_the_authors_loop_makes_the_map_that_fathom_makes(tmp_path: Path, way_back: WayBack):
    photo = write_photo(tmp_path / "a.png", 150, 200)
    network = replace(MIDAS_SMALL, preprocessing=replace(MIDAS_SMALL.preprocessing, way_back=way_back))
    weights = resolve_weights("random", tmp_path, network=network)
    pipeline = Pipeline.from_settings(TorchEngine(weights), Settings.from_environ({"FATHOM_DECODE": "exact"}))

    grey = OfficialLoop(weights).grey(photo)

    rendered = pipeline.render(photo.read_bytes(), Options.parse({"edges": "smooth"}))[0]
    with Image.open(io.BytesIO(rendered.data)) as heatmap:
        off = np.abs(np.asarray(heatmap).astype(int) - grey)
    # The authors' code truncates where Fathom rounds.
    assert off.max() <= 1
    assert len(np.unique(grey)) > 100


@pytest.mark.slow
def test_both_are_measured_in_one_run(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FATHOM_CACHE_DIR", str(cache_dir))
    write_photo(tmp_path / "a.jpg", 300, 400)
    arguments = ["--networks", "midas_small", "--precision", "f32", "--rounds", "1", "--json"]

    assert main([*arguments, "--album", str(tmp_path), "--out", str(tmp_path / "out")]) == 0

    report = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "out" / "models.json").read_text()) == report
    assert "| `midas_small` | " in (tmp_path / "out" / "models.md").read_text()
    assert (report["photos"], report["megapixels"], report["missing"]) == (1, 0.12, {})
    network = report["networks"]["midas_small"]
    official, fathom = network["ways"]["official"], network["ways"]["f32"]
    assert (official["precision"], official["plain_cpu_ms"]) == ("f32", None)
    assert min(official["cpu_ms"], official["wall_ms"], fathom["cpu_ms"], fathom["plain_cpu_ms"]) > 1
    assert min(official["peak_mb"], fathom["peak_mb"]) > 100
    assert network["times_faster"]["f32"] == pytest.approx(official["cpu_ms"] / fathom["cpu_ms"], rel=0.05)
    assert network["cost"] == {"f32": 1.0}
