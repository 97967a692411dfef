"""Peers that are programs: they work off one folder and end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.peers.peer import Peer, Setup, Started


@dataclass(frozen=True, kw_only=True)
class FolderProgram(Peer):
    """A program that works off one folder and ends: `python -m MODULE IN OUT` and the arguments below."""

    module: str
    precision: str = "f32"
    rival: str | None = "fathom-f32"

    @contextmanager
    def start(self, setup: Setup) -> Iterator[Started]:
        command = [sys.executable, "-m", self.module, "--model", str(setup.model)]
        command += ["--cores", str(len(setup.cores)), "--precision", self.precision]
        yield Started(command=lambda photos, out: [*command, str(photos), str(out)])


@dataclass(frozen=True, kw_only=True)
class FolderArguments:
    """The arguments of a `FolderProgram`."""

    model: Path
    cores: int
    precision: str
    photos: list[Path]
    out: Path


def read_arguments(description: str | None) -> FolderArguments:
    """Parse the command line of a `FolderProgram`, and make its folder for heatmaps."""
    parser = argparse.ArgumentParser(description=description)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--model", type=Path, required=True, help="the network, as ONNX")
    parser.add_argument("--cores", type=int, default=1, help="cores to use (1)")
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16"), help="for OpenVINO (f32)")
    parser.add_argument("photos", type=Path, help="a folder of upright JPEGs")
    parser.add_argument("out", type=Path, help="the folder for heatmaps")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    photos = sorted(args.photos.glob("*.jpg"))
    return FolderArguments(
        model=args.model, cores=args.cores, precision=args.precision, photos=photos, out=args.out
    )
