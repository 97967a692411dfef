"""Label pictures: a PNG beside a photo, in which a program numbered the things that it found there.

`a/b.labels.png` is the label picture of `a/b.JPG`, and of every other photo whose name differs only by its
suffix. It is no photo. The page has the same rule in `api/static/uploads/kinds.js`.
"""

from __future__ import annotations

import posixpath

ENDING = ".labels.png"


def is_labels(name: str) -> bool:
    """Return whether a file is a label picture, by its name."""
    return name.lower().endswith(ENDING)


def label_key(name: str) -> str:
    """Return what a photo's name has in common with the name of its label picture."""
    name = name.replace("\\", "/")
    return name[: -len(ENDING)] if is_labels(name) else posixpath.splitext(name)[0]
