"""Names as people give them: kept as they are, but for what cannot be written down."""

from __future__ import annotations

import re

#: NUL, which many programs take for the end, and halves of surrogate pairs, which UTF-8 cannot hold.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def clean_name(name: str) -> str:
    """Replace what cannot be written as UTF-8 text; a name is data, so all else stays."""
    return _UNWRITABLE.sub(_REPLACEMENT, name)
