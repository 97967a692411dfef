from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.pairs import BadPairs, Pair, find_pairs, load_pair, read_depth, read_pfm


def write_pfm(path: Path, values: np.ndarray, kind: bytes = b"Pf") -> Path:
    header = kind + b"\n%d %d\n-1.0\n" % (values.shape[1], values.shape[0])
    path.write_bytes(header + values[::-1].astype("<f4").tobytes())
    return path


def write_photo(path: Path, height: int = 20, width: int = 30) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


def test_depth_is_found_beside_the_photo_and_in_the_depth_folder(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.png", "d.jpg"):
        write_photo(tmp_path / name)
    (tmp_path / "depth").mkdir()
    write_pfm(tmp_path / "a.pfm", np.ones((2, 2)))
    cv2.imwrite(str(tmp_path / "b.depth.png"), np.ones((2, 2), np.uint16))
    cv2.imwrite(str(tmp_path / "depth" / "c.png"), np.ones((2, 2), np.uint16))

    found = {pair.photo.name: pair.depth.name for pair in find_pairs(tmp_path)}
    assert found == {"a.jpg": "a.pfm", "b.jpg": "b.depth.png", "c.png": "c.png"}


def test_a_folder_without_pairs_is_refused_with_advice(tmp_path: Path) -> None:
    write_photo(tmp_path / "a.jpg")

    with pytest.raises(BadPairs, match=r"NAME\.depth\.png"):
        find_pairs(tmp_path)


def test_a_float_map_is_read_from_the_bottom_row_up(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert (read_pfm(write_pfm(tmp_path / "a.pfm", values)) == values).all()


@pytest.mark.parametrize(
    "data", [b"", b"Pf\n2 2\n-1.0\nabc", b"Pf\nx y\n-1\n", b"PF\n1 1\n-1.0\n" + b"\0" * 4, b"Pf\n"]
)
def test_a_damaged_float_map_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.pfm"
    path.write_bytes(data)

    with pytest.raises(BadPairs, match=r"a\.pfm"):
        read_pfm(path)


def test_an_eight_bit_png_is_no_depth(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.ones((2, 2), np.uint8))

    with pytest.raises(BadPairs, match="16-bit"):
        read_depth(tmp_path / "a.png")


def test_distances_become_inverse_depth_and_unknown_ones_take_the_nearest(tmp_path: Path) -> None:
    distance = np.full((20, 30), 2.0, np.float32)
    distance[:, 20:] = 4.0
    distance[0, 0], distance[0, 29], distance[5, 29] = 0, np.nan, np.inf
    pair = Pair(photo=write_photo(tmp_path / "a.jpg"), depth=write_pfm(tmp_path / "a.pfm", distance))
    inverse = load_pair(pair, "depth").inverse_depth

    assert inverse[0, 0] == pytest.approx(0.5)
    assert inverse[0, 29] == inverse[5, 29] == pytest.approx(0.25)


def test_zero_is_a_value_of_inverse_depth(tmp_path: Path) -> None:
    inverse = np.tile(np.linspace(0, 1, 30, dtype=np.float32), (20, 1))
    pair = Pair(photo=write_photo(tmp_path / "a.jpg"), depth=write_pfm(tmp_path / "a.pfm", inverse))

    assert load_pair(pair, "inverse_depth").inverse_depth == pytest.approx(inverse)


def test_large_photos_are_shrunk_and_depth_follows_their_shape(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.jpg", 600, 1200)
    depth = write_pfm(tmp_path / "a.pfm", np.random.default_rng(0).random((30, 60)))
    sample = load_pair(Pair(photo=photo, depth=depth), "inverse_depth")

    assert sample.image.shape == (224, 448, 3)
    assert sample.inverse_depth.shape == (224, 448)


def test_depth_that_is_unknown_everywhere_is_refused(tmp_path: Path) -> None:
    depth = write_pfm(tmp_path / "a.pfm", np.full((4, 4), np.nan))

    with pytest.raises(BadPairs, match="no known depth"):
        load_pair(Pair(photo=write_photo(tmp_path / "a.jpg"), depth=depth), "depth")
