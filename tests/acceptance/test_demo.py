"""What `make demo` runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.acceptance.albums import BAD, REAL, nasty_album, tree
from tests.acceptance.stacks import ROOT


def test_the_demo_turns_any_album_into_heatmaps_and_leaves_nothing_running(
    environ: dict[str, str], tmp_path: Path
) -> None:
    album, out = nasty_album(tmp_path / "album"), tmp_path / "out"
    data = tmp_path / "data"
    data.mkdir()
    command = [sys.executable, "-m", "fathom.demo", "--album", str(album), "--out", str(out)]

    ended = subprocess.run(
        command,
        cwd=ROOT,
        # Where the demo keeps its data.
        env={**environ, "TMPDIR": str(data)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert ended.returncode == 3
    assert tree(out) == set(REAL)
    assert all(f"failed: {name} " in ended.stderr for name in BAD)
    # Exactly one warning.
    assert ended.stderr.count("NOT DEPTH MAPS") == 1
    assert "Traceback" not in ended.stderr
    # Only the export of the network may leave something: an empty folder of torch.
    assert {path.name.rpartition("_")[0] for path in data.iterdir()} <= {"torchinductor"}
    assert not _processes_that_mention(str(data))


def _processes_that_mention(text: str) -> list[str]:
    lines = []
    for entry in Path("/proc").iterdir():
        try:
            lines.append((entry / "cmdline").read_text() + str((entry / "cwd").readlink()))
        except OSError:
            continue
    return [line for line in lines if text in line]
