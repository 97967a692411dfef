"""Show edges at 100 %: `python -m training.edge_sheet --out FOLDER`.

Each row is a part of a photograph, pixel by pixel, and of its maps: smooth, with crisp edges, and detailed
with crisp edges.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fathom.options import Edges, Quality
from training.assets import DEFAULT_ROOT
from training.contact_sheet import SHOWN, colour, load_photographs
from training.predict import predict_full
from worker.model.checkpoint import read_network
from worker.model.network import MidasSmall
from worker.model.weights import STARTER_PATH

Map = NDArray[np.float32]

#: Pixels along each side of a part.
PART = 240
#: White pixels between two of them.
_GAP = 4
#: Rows on a sheet.
_ROWS = 6
_QUALITY = 92

#: The maps of a row, from left to right.
COLUMNS = (
    (Edges.SMOOTH, Quality.STANDARD),
    (Edges.SNAP, Quality.STANDARD),
    (Edges.SNAP, Quality.DETAILED),
)


def make_row(network: MidasSmall, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the part of a picture where crisp edges change most, RGB, beside its maps."""
    maps = [predict_full(network, picture, edges=edges, quality=quality).copy() for edges, quality in COLUMNS]
    top, left = find_part(np.abs(maps[1] - maps[0]))
    shown = [picture, *map(colour, maps)]
    parts = [each[top : top + PART, left : left + PART] for each in shown]
    gap = np.full((parts[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.hstack([parts[0], *(piece for part in parts[1:] for piece in (gap, part))])


def find_part(change: Map) -> tuple[int, int]:
    """Return top and left of the square with the largest sum; at the border of a smaller map."""
    tall, broad = (min(PART, side) for side in change.shape)
    sums = cv2.integral(change)
    inside = sums[tall:, broad:] - sums[:-tall, broad:] - sums[tall:, :-broad] + sums[:-tall, :-broad]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)


def make_sheet(rows: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return rows of the same width below each other, RGB."""
    gap = np.full((_GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.vstack([rows[0], *(piece for row in rows[1:] for piece in (gap, row))])


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m training.edge_sheet", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder for edges-1.webp and so on")
    parser.add_argument("--weights", type=Path, default=STARTER_PATH)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where fetched photographs live")
    options = parser.parse_args(arguments)
    network = read_network(options.weights)
    pictures = load_photographs(options.root, SHOWN)
    for number, first in enumerate(range(0, len(pictures), _ROWS), 1):
        sheet = make_sheet([make_row(network, picture) for picture in pictures[first : first + _ROWS]])
        path = options.out / f"edges-{number}.webp"
        Image.fromarray(sheet).save(path, quality=_QUALITY, method=6)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
