"""Names as people give them, without the characters that cannot be stored."""

from __future__ import annotations

import re

#: NUL, which ends a text for many programs, and lone surrogates, which UTF-8 cannot encode.
_UNWRITABLE = re.compile(r"[\x00\ud800-\udfff]")
_REPLACEMENT = "\ufffd"


def clean_name(name: str) -> str:
    """Replace characters that cannot be stored as UTF-8 text. A name is data, so everything else stays."""
    return _UNWRITABLE.sub(_REPLACEMENT, name)
