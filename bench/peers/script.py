"""The script of today: MiDaS_small in PyTorch's eager mode, one photo after another.

`bench.baseline` is its loop; on several cores, PyTorch and OpenCV use threads.
"""

from __future__ import annotations

from bench.baseline import Baseline, Stages
from bench.peers.folder_program import read_arguments
from shared.settings import Settings
from worker.model.weights import resolve_weights


def main() -> None:
    args = read_arguments(__doc__)
    settings = Settings.from_environ()
    script = Baseline(resolve_weights(settings.weights, settings.cache_dir), threads=args.cores)
    for path in args.photos:
        encoded, _ = script.heatmap(path.read_bytes(), Stages())
        (args.out / path.name).write_bytes(encoded)


if __name__ == "__main__":
    main()
