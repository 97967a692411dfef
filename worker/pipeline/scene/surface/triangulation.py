"""Triangulate a map with few triangles where it is flat and many where it bends, without cracks.

It is the network of Evans, Kirkpatrick and Townsend (Right-Triangulated Irregular Networks, 2001): squares of
`tile` cells are halved into right triangles, and a triangle is halved from its right angle to the middle of
its longest side, down to half a cell. Each middle has an error. If no middle's error is below those of the
middles that come after it, then all middles above any limit give a whole triangulation, in which no triangle
ends on another one's side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from worker.pipeline.photo import Floats

#: Indices of points in a map, row by row, as int32.
Indices = NDArray[np.int32]

#: Takes the values at both ends and in the middle of sides, and their length in cells; returns the errors.
ErrorOf = Callable[[Floats, Floats, Floats, float], Floats]


def errors_of(values: Floats, tile: int, error_of: ErrorOf) -> Floats:
    """Return the error of each point of a map, (h + 1) x (w + 1), where h and w are multiples of `tile`.

    No point has a smaller error than one that depends on it. The corners of tiles, which are always there,
    have the error 0.
    """
    errors = np.zeros_like(values)
    side = 2
    while side <= tile:
        _add_middles_of_sides(values, errors, side, error_of)
        _add_centres(values, errors, side, error_of)
        side *= 2
    return errors


def triangulate(errors: Floats, tile: int, limit: float) -> Indices:
    """Return triangles, n x 3, with a vertex at each point whose error exceeds the limit.

    `errors` is as `errors_of` returns it. The corners run counterclockwise in the picture.
    """
    flat = errors.ravel()
    done: list[Indices] = []
    left = _roots(errors.shape[0], errors.shape[1], tile)
    # Each square is halved twice before it is four squares.
    for _ in range(2 * (tile.bit_length() - 1)):
        middle = (left[1] + left[2]) >> 1
        halved = flat[middle] > limit
        done.append(left[:, ~halved])
        (apex, first, second), middle = left[:, halved], middle[halved]
        left = np.concatenate(
            [np.stack([middle, apex, first]), np.stack([middle, second, apex])], axis=1, dtype=np.int32
        )
    done.append(left)
    return np.ascontiguousarray(np.concatenate(done, axis=1).T)


def _add_middles_of_sides(values: Floats, errors: Floats, side: int, error_of: ErrorOf) -> None:
    """Give the middles of the sides of all squares their errors."""
    half = side // 2
    for v, e in ((values, errors), (values.T, errors.T)):
        ends = v[::side, ::side]
        middle = e[::side, half::side]
        middle[:] = error_of(ends[:, :-1], ends[:, 1:], v[::side, half::side], side)
        if half > 1:
            # The four squares around it that are half as large have their centres after it.
            quarter = half // 2
            centres = e[quarter::half, quarter::half]
            pairs = np.maximum(centres[:, ::2], centres[:, 1::2])
            np.maximum(middle[1:], pairs[1::2], out=middle[1:])
            np.maximum(middle[:-1], pairs[::2], out=middle[:-1])


def _add_centres(values: Floats, errors: Floats, side: int, error_of: ErrorOf) -> None:
    """Give the centres of all squares their errors."""
    half = side // 2
    length = side * 2**0.5
    for rows, columns, falls in _squares(side):
        middle = values[half::side, half::side][rows, columns]
        corners = values[::side, ::side]
        near, far = corners[:-1][rows], corners[1:][rows]
        one, other = (near, far) if falls else (far, near)
        own = error_of(one[:, :-1][:, columns], other[:, 1:][:, columns], middle, length)
        errors[half::side, half::side][rows, columns] = own
    centre = errors[half::side, half::side]
    across, along = errors[::side, half::side], errors[half::side, ::side]
    for sides in (across[:-1], across[1:], along[:, :-1], along[:, 1:]):
        np.maximum(centre, sides, out=centre)


def _squares(side: int) -> Iterator[tuple[slice, slice, bool]]:
    """Yield every second row and column of squares, and whether their longest side falls to the right."""
    for row in (0, 1):
        for column in (0, 1):
            yield slice(row, None, 2), slice(column, None, 2), row == column


def _roots(height: int, width: int, tile: int) -> Indices:
    """Return the two triangles of each tile, 3 x n: the right angle first, then counterclockwise."""
    points = np.arange(height * width, dtype=np.int32).reshape(height, width)[::tile, ::tile]
    parts = []
    for rows, columns, falls in _squares(tile):
        top, bottom = points[:-1][rows], points[1:][rows]
        a, b = top[:, :-1][:, columns].ravel(), top[:, 1:][:, columns].ravel()
        c, d = bottom[:, :-1][:, columns].ravel(), bottom[:, 1:][:, columns].ravel()
        parts += [[b, a, d], [c, d, a]] if falls else [[a, c, b], [d, b, c]]
    return np.concatenate([np.stack(part) for part in parts], axis=1)
