from __future__ import annotations

from pathlib import Path

from training.assets import fetch_packages, find_photographs, find_stamps


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_photographs_are_found_in_a_stable_order(tmp_path: Path) -> None:
    folder = tmp_path / "assets/usr/share/backgrounds"
    files = [touch(folder / name) for name in ("nature/b.jpg", "a.webp", "c.xml", "d.svg")]

    assert find_photographs(tmp_path) == sorted(files[:2])


def test_drawings_are_left_out_of_the_stamps(tmp_path: Path) -> None:
    folder = tmp_path / "assets/usr/share/tuxpaint/stamps"
    photo = touch(folder / "animals/birds/owl.png")
    touch(folder / "animals/birds/cartoon/owl.png")
    touch(folder / "symbols/letter.png")

    assert find_stamps(tmp_path) == [photo]


def test_a_package_that_does_not_exist_is_reported_not_raised(tmp_path: Path) -> None:
    assert fetch_packages(tmp_path, ("no-such-package-anywhere",)) == ["no-such-package-anywhere"]
