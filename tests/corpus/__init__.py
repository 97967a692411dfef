"""Bad uploads, made when needed: files that are wrong, truncated, endless or hostile."""

from __future__ import annotations

from functools import cache

from tests.corpus.damage import damaged, truncated
from tests.corpus.disguises import disguised
from tests.corpus.entry import FINE, CorpusFile
from tests.corpus.excess import bombs, hostile_tiffs, oversized
from tests.corpus.oddities import odd

__all__ = ["FINE", "CorpusFile", "bad_uploads"]


@cache
def bad_uploads() -> tuple[CorpusFile, ...]:
    """Return the whole corpus, made once in a process; all names are different."""
    uploads = (*oversized(), *bombs(), *hostile_tiffs(), *truncated(), *damaged(), *disguised(), *odd())
    if len({upload.name for upload in uploads}) != len(uploads):
        raise AssertionError("Two uploads of the corpus have the same name.")
    return uploads
