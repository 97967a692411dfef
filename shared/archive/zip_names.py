"""The names of a ZIP archive's entries, as their author meant them.

APPNOTE.TXT 6.3.10 (appendix D) allows code page 437 and, with a flag, UTF-8. But Windows writes names in the
code page of its language, and macOS writes UTF-8 without the flag. An archive comes from one machine, so
its encoding is found from all its names together.
"""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import accumulate
from zipfile import ZipInfo

import chardet

_UTF8_NAME = 0x800
_UNICODE_PATH_FIELD = 0x7075

#: It has a character for every byte, so it is used if nothing else fits.
_DOS = "cp437"
#: The encodings of names, each with a weight for the detector's confidence in it. Our first users
#: read Chinese, so GB 18030 wins ties. Windows writes names in the code pages of DOS; few
#: programs write them in those of Windows itself.
_WEIGHTS = {
    "gb18030": 1.1,
    "big5hkscs": 1.0,
    "cp932": 1.0,
    "cp949": 1.0,
    "cp866": 1.5,
    _DOS: 1.1,
    "cp1251": 0.5,
    "cp1252": 0.3,
}
#: In the encodings of East Asia, characters in daily use begin with these bytes, and all others are rare.
#: In the other encodings, letters are common and box drawings are not.
_COMMON = {
    "gb18030": (range(0xA1, 0xA4), range(0xB0, 0xD8)),
    "big5hkscs": (range(0xA1, 0xC7),),
    "cp932": (range(0x81, 0x99),),
    "cp949": (range(0xA1, 0xA4), range(0xB0, 0xC9)),
}
#: The confidence in an encoding that the detector does not mention, and in a certain one.
_UNMENTIONED, _CERTAIN = 1e-6, 1.0
#: The detector looks at so many bytes of names.
_SAMPLE = 2**14

#: Character sets of East Asia, and of languages whose letters take two bytes in UTF-8.
_CHARACTER_SETS = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("gbk", "big5hkscs", "cp932", "cp949"),
)
_WORD = re.compile(r"[^\W\d_]+")
#: No word mixes these scripts.
_SCRIPTS = frozenset({"LATIN", "GREEK", "CYRILLIC", "CJK"})
#: Adjacent Japanese syllables, which never appear by chance in another encoding.
_KANA = re.compile(r"(?<![A-Za-z])[\u3041-\u30ff]{2,}(?![A-Za-z])")


def entry_names(entries: Sequence[ZipInfo]) -> list[str]:
    """Return the names of an archive's entries.

    A flagged name (bit 11) is UTF-8; an Info-ZIP Unicode Path field (4.6.9) gives a name too. All
    other names share one encoding: UTF-8 if it fits, else the likeliest that decodes them all.
    """
    told = [_told_name(entry) for entry in entries]
    untold = [_raw_name(entry) for entry, name in zip(entries, told, strict=True) if name is None]
    encoding = _tell_encoding(untold)
    decoded = (name.decode(encoding) for name in untold)
    return [next(decoded) if name is None else name for name in told]


def _told_name(entry: ZipInfo) -> str | None:
    """Return an entry's name if the entry says how it is encoded, else None."""
    if entry.flag_bits & _UTF8_NAME:
        return entry.orig_filename
    given = _unicode_path(entry)
    with suppress(UnicodeDecodeError):
        return None if given is None else given.decode()
    return None


def _raw_name(entry: ZipInfo) -> bytes:
    """Return the bytes of a name: without the flag, `zipfile` has decoded them as code page 437."""
    return entry.orig_filename.encode(_DOS)


def _unicode_path(entry: ZipInfo) -> bytes | None:
    """Return the name in the Unicode Path field, unless the field was made for another name."""
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == _UNICODE_PATH_FIELD and size > 5:
            version, checksum = struct.unpack("<BL", extra[4:9])
            is_valid = version == 1 and checksum == zlib.crc32(_raw_name(entry))
            return extra[9 : 4 + size] if is_valid else None
        extra = extra[4 + size :]
    return None


def _tell_encoding(names: Sequence[bytes]) -> str:
    """Return the likeliest encoding that decodes all these names."""
    beyond_ascii = [name for name in names if not name.isascii()]
    text = _decode(beyond_ascii, "utf-8")
    if text is not None and _is_written_anywhere(text):
        return "utf-8"
    scores = _scores(beyond_ascii)
    return max(scores, key=scores.__getitem__)


def _scores(names: Sequence[bytes]) -> dict[str, float]:
    """Return how likely each encoding is, among those that decode every name."""
    sample = _sample(names)
    confidences = {
        str(found["encoding"]): found["confidence"]
        for found in chardet.detect_all(
            b"\n".join(sample), ignore_threshold=True, include_encodings=_WEIGHTS, compat_names=False
        )
    }
    scores = {}
    for encoding, weight in _WEIGHTS.items():
        if _decode(names, encoding) is not None:
            text = _decode(sample, encoding) or ""
            is_certain = encoding == "cp932" and _KANA.search(text)
            confidence = _CERTAIN if is_certain else confidences.get(encoding, _UNMENTIONED)
            scores[encoding] = weight * confidence * _plausibility(text, encoding)
    return scores


def _sample(names: Iterable[bytes]) -> list[bytes]:
    """Return the parts of names that the detector gets to see; a folder of many files counts once."""
    parts = dict.fromkeys(part for name in names for part in name.split(b"/") if not part.isascii())
    sizes = accumulate(len(part) + 1 for part in parts)
    return [part for part, size in zip(parts, sizes, strict=True) if size <= _SAMPLE]


def _decode(names: Iterable[bytes], encoding: str) -> str | None:
    """Return the names decoded, one a line; None if one of them cannot be decoded."""
    try:
        return b"\n".join(names).decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_written_anywhere(text: str) -> bool:
    """Return whether this is real text, and not another encoding's bytes that happen to be valid UTF-8.

    The bytes of 图片 in GBK, for example, read \u037c\u01ac as UTF-8, but no language writes those letters
    together. A character of three bytes in UTF-8 is no accident.
    """
    text = unicodedata.normalize("NFC", text)
    if any("\u0800" <= char <= "\uffff" for char in text):
        return True
    words = dict.fromkeys(_WORD.findall(text))
    return all(any(_is_encodable(word, charset) for charset in _CHARACTER_SETS) for word in words)


def _is_encodable(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _plausibility(text: str, encoding: str) -> float:
    """Return from 0.0001 to 1 how much text looks like names: common letters, in words of one script."""
    beyond = [char for char in text if not char.isascii()]
    odd = sum(not _is_common(char, encoding) for char in beyond)
    odd += sum(not char.isascii() for word in _WORD.findall(text) if _is_odd(word) for char in word)
    return max(0.01, 1 - odd / max(len(beyond), 1)) ** 2


def _is_odd(word: str) -> bool:
    """Return whether a word mixes scripts, or is a single Cyrillic letter, which any byte may be."""
    scripts = _SCRIPTS.intersection(map(_script, word))
    return len(scripts) > 1 or (len(word) == 1 and "CYRILLIC" in scripts)


def _is_common(char: str, encoding: str) -> bool:
    first = char.encode(encoding)[0]
    return any(first in block for block in _COMMON[encoding]) if encoding in _COMMON else char.isalnum()


def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split(maxsplit=1)[0]
