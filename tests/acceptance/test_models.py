"""Every official network, with random weights, through the whole system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.networks import NETWORKS
from tests.acceptance.albums import plain_album
from tests.acceptance.stacks import LaunchedStack

#: Seconds until all networks are exported and compiled for the first time.
_PREPARED_WITHIN = 1500.0


@pytest.mark.slow
@pytest.mark.timeout(2000)
def test_a_job_of_every_network_is_done_by_one_worker(environ: dict[str, str], tmp_path: Path) -> None:
    album = plain_album(tmp_path / "album", 2)
    stack = LaunchedStack(
        tmp_path / "data", {**environ, "FATHOM_MODELS": " ".join(NETWORKS)}, "--concurrency", "1"
    )
    with stack.running(within=_PREPARED_WITHIN):
        for name, network in NETWORKS.items():
            out = tmp_path / name
            ended = stack.run("submit", album, "--out", out, "--sidecars", "-o", f"model={name}")

            assert ended.code == 0, ended.err
            facts = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
            assert [(each["model"], each["options"]["model"]) for each in facts] == [
                (network.title, name)
            ] * 2
