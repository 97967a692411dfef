"""The names of a ZIP archive's entries, as their maker meant them.

APPNOTE.TXT 6.3.10 (appendix D) knows code page 437 and, flagged, UTF-8. Windows writes names in the code
page of its language all the same, and macOS writes UTF-8 without the flag. An archive comes from one
machine, so its encoding is told from all its names together.
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

#: Gives every byte a character, and so remains when nothing else fits.
_DOS = "cp437"
#: The encodings that names come in, each with the weight of the detector's confidence in it. Our first
#: users read Chinese, so that GB 18030 wins ties. Windows writes names in the code pages of
#: DOS; few programs write them in those of Windows itself.
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
#: First bytes of the characters in daily use, as the encodings of East Asia are laid out; all their others
#: are rare. Of the other encodings, letters are common and drawings are not.
_COMMON = {
    "gb18030": (range(0xA1, 0xA4), range(0xB0, 0xD8)),
    "big5hkscs": (range(0xA1, 0xC7),),
    "cp932": (range(0x81, 0x99),),
    "cp949": (range(0xA1, 0xA4), range(0xB0, 0xC9)),
}
#: The confidence in an encoding that the detector does not mention, and in one that is certain.
_UNMENTIONED, _CERTAIN = 1e-6, 1.0
#: Bytes of names that the detector looks at.
_SAMPLE = 2**14

#: The character sets of the languages whose letters take two bytes in UTF-8, and of East Asia.
_CHARACTER_SETS = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"),
    *("gbk", "big5hkscs", "cp932", "cp949"),
)
_WORD = re.compile(r"[^\W\d_]+")
#: Scripts that no word mixes.
_SCRIPTS = frozenset({"LATIN", "GREEK", "CYRILLIC", "CJK"})
#: Japanese syllables side by side, which no other encoding's bytes happen to say.
_KANA = re.compile(r"(?<![A-Za-z])[\u3041-\u30ff]{2,}(?![A-Za-z])")


def entry_names(entries: Sequence[ZipInfo]) -> list[str]:
    """Return the names of an archive's entries.

    A name is UTF-8 if flagged (bit 11), and as an Info-ZIP Unicode Path field has it (4.6.9). All
    others are in one encoding: in UTF-8 if they can be, else in the likeliest that decodes them all.
    """
    told = [_told_name(entry) for entry in entries]
    untold = [_raw_name(entry) for entry, name in zip(entries, told, strict=True) if name is None]
    encoding = _tell_encoding(untold)
    decoded = (name.decode(encoding) for name in untold)
    return [next(decoded) if name is None else name for name in told]


def _told_name(entry: ZipInfo) -> str | None:
    """Return the name of an entry that says how it is encoded; None for all others."""
    if entry.flag_bits & _UTF8_NAME:
        return entry.orig_filename
    given = _unicode_path(entry)
    with suppress(UnicodeDecodeError):
        return None if given is None else given.decode()
    return None


def _raw_name(entry: ZipInfo) -> bytes:
    """Return a name as the archive has it: without the flag, `zipfile` reads code page 437."""
    return entry.orig_filename.encode(_DOS)


def _unicode_path(entry: ZipInfo) -> bytes | None:
    """Return the name in the Unicode Path field, unless that was made for another name."""
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
    """Return the likeliest encoding of names that all have the same; it decodes every one of them."""
    beyond_ascii = [name for name in names if not name.isascii()]
    text = _decode(beyond_ascii, "utf-8")
    if text is not None and _is_written_anywhere(text):
        return "utf-8"
    scores = _scores(beyond_ascii)
    return max(scores, key=scores.__getitem__)


def _scores(names: Sequence[bytes]) -> dict[str, float]:
    """Return how likely each encoding is that decodes every name."""
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
    """Return parts of names, as many as the detector is to see; a folder of many names counts once."""
    parts = dict.fromkeys(part for name in names for part in name.split(b"/") if not part.isascii())
    sizes = accumulate(len(part) + 1 for part in parts)
    return [part for part, size in zip(parts, sizes, strict=True) if size <= _SAMPLE]


def _decode(names: Iterable[bytes], encoding: str) -> str | None:
    """Return names in this encoding, one a line; None if one of them is not in it."""
    try:
        return b"\n".join(names).decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_written_anywhere(text: str) -> bool:
    """Tell text from what another encoding's bytes happen to say in UTF-8: in GBK, 图片 says \u037c\u01ac.

    No language writes the letters of the latter together. Three bytes of UTF-8 are no accident.
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
    """Return from 0.0001 to 1 whether text looks like names: common letters, in words of one script."""
    beyond = [char for char in text if not char.isascii()]
    odd = sum(not _is_common(char, encoding) for char in beyond)
    odd += sum(not char.isascii() for word in _WORD.findall(text) if _is_odd(word) for char in word)
    return max(0.01, 1 - odd / max(len(beyond), 1)) ** 2


def _is_odd(word: str) -> bool:
    """True for a word of several scripts, and for a single Cyrillic letter: any byte may be one."""
    scripts = _SCRIPTS.intersection(map(_script, word))
    return len(scripts) > 1 or (len(word) == 1 and "CYRILLIC" in scripts)


def _is_common(char: str, encoding: str) -> bool:
    first = char.encode(encoding)[0]
    return any(first in block for block in _COMMON[encoding]) if encoding in _COMMON else char.isalnum()


def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split(maxsplit=1)[0]
