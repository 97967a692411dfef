from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest

from shared.archive.zip_names import entry_names

#: Names of albums in each encoding; in the shortest names, every character counts.
ALBUMS = {
    "gbk": [
        ["照片1.jpg"],
        ["照片.jpg"],
        ["图片1.png", "图片2.png"],
        ["相册/照片一.jpg"],
        ["雪.jpg"],
        ["妈妈.jpg"],
        ["北京.jpg"],
        ["微信图片_20230412101112.jpg"],
        ["IMG_001 - 副本.jpg"],
        ["新建文件夹/001.jpg", "新建文件夹/002.jpg"],
        ["旅行/西湖.jpg", "旅行/长城.jpg", "旅行/故宫.jpg"],
        ["身份证正面.jpg", "身份证反面.jpg"],
        ["樱花·武汉大学《1》.jpg"],
    ],
    "big5": [
        ["照片1.jpg"],
        ["相簿/照片一.jpg"],
        ["臺北.jpg"],
        ["圖片1.png", "圖片2.png"],
        ["香港夜景.jpg"],
        ["畢業照.jpg"],
        ["旅行/日月潭.jpg", "旅行/阿里山.jpg"],
        ["陳大文.jpg", "林小明.jpg", "黃美玲.jpg"],
        ["新增資料夾/001.jpg"],
    ],
    "shift_jis": [
        ["写真1.jpg"],
        ["富士山.jpg"],
        ["スクリーンショット 2023-01-01.png"],
        ["アルバム/おばあちゃん.jpg", "アルバム/おじいちゃん.jpg"],
        ["IMG_001 - コピー.jpg"],
        ["旅行/京都.jpg", "旅行/奈良.jpg"],
        ["表示.jpg", "能登.jpg"],
        ["紅葉.jpg"],
    ],
    "euc_kr": [
        ["사진1.jpg"],
        ["가족사진.jpg"],
        ["여행/부산.jpg", "여행/제주도.jpg"],
        ["새 폴더/001.jpg"],
        ["IMG_001 - 복사본.jpg"],
        ["김철수.jpg", "이영희.jpg"],
        ["스크린샷 2023-01-01.png"],
    ],
    "cp866": [
        ["фото.jpg"],
        ["ФОТО.JPG"],
        ["Ёлка.jpg"],
        ["Москва.jpg"],
        ["отпуск/море.jpg", "отпуск/горы.jpg"],
        ["Новая папка/001.jpg"],
        ["мама и папа.jpg"],
    ],
    "cp1251": [["фото.jpg"], ["Москва.jpg"], ["отпуск/море.jpg", "отпуск/горы.jpg"]],
    "cp437": [
        ["été.jpg"],
        ["Müller.jpg"],
        ["é.jpg"],
        ["ü.jpg"],
        ["Straße.jpg", "Größe.jpg"],
        ["niño.jpg"],
        ["Noël 2019/sapin.jpg", "Noël 2019/dîner.jpg"],
        ["forêt/château.jpg"],
        ["Åre.jpg"],
        ["½ Liter.jpg"],
        ["é░ß.jpg"],
    ],
    "utf-8": [
        ["照片1.jpg"],
        ["写真/猫 🐈.jpg"],
        ["사진.jpg"],
        ["фото.jpg"],
        ["é.jpg"],
        ["e\u0301te\u0301.jpg"],
        ["Größe.jpg"],
        ["Αθήνα.jpg"],
        ["शादी.jpg"],
        ["صور.jpg", "תמונה.jpg", "фото.jpg", "照片.jpg"],
        ["🌊.jpg"],
    ],
}
CASES = [(encoding, names) for encoding, albums in ALBUMS.items() for names in albums]


def archive(*names: bytes, extra: bytes = b"", flags: int = 0) -> list[zipfile.ZipInfo]:
    """Return the entries of an archive with these raw names, as `zipfile` reads them."""
    entries = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, flags, *[0] * 6, len(name), len(extra), *[0] * 5) + name + extra
        for name in names
    )  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(names), len(names), len(entries), 0, 0)
    return zipfile.ZipFile(io.BytesIO(entries + end)).infolist()


@pytest.mark.parametrize(("encoding", "names"), CASES, ids=[f"{e} {n[0]}" for e, n in CASES])
def test_names_are_read_in_the_encoding_that_they_were_written_in(encoding: str, names: list[str]) -> None:
    assert entry_names(archive(*(name.encode(encoding) for name in names))) == names


@pytest.mark.parametrize("encoding", ["gbk", "big5", "shift_jis", "euc_kr", "cp866"])
def test_ambiguous_names_are_decoded_like_the_others_of_the_archive(encoding: str) -> None:
    """`è` in UTF-8 is 猫 in GBK, and most names in one of these encodings are valid in another."""
    names = [name for album in ALBUMS[encoding] for name in album]
    names += ["猫.jpg"] if encoding == "gbk" else []

    assert entry_names(archive(*(name.encode(encoding) for name in names))) == names


def test_one_name_that_is_not_gbk_excludes_gbk_for_all() -> None:
    names = ["Müller.jpg", "Größe.jpg", "Übung.jpg"]

    assert entry_names(archive(*(name.encode("cp437") for name in names))) == names


def test_names_are_decoded_whatever_their_bytes() -> None:
    raw = [bytes(range(128, 256)), b"\xff\xfe\x00.jpg", b"plain.jpg", b"\xff" * 3]
    names = entry_names(archive(*raw))

    assert len(names) == 4
    assert names[2] == "plain.jpg"


def test_a_name_flagged_as_utf8_does_not_affect_the_others() -> None:
    flagged = archive("фото.jpg".encode(), flags=0x800)
    flagged_name, other_name = entry_names(flagged + archive("照片1.jpg".encode("gbk")))

    assert (flagged_name, other_name) == ("фото.jpg", "照片1.jpg")


def unicode_path(of: bytes, name: bytes, version: int = 1) -> bytes:
    field = struct.pack("<BL", version, zlib.crc32(of)) + name
    return struct.pack("<HH", 0x9999, 3) + b"abc" + struct.pack("<HH", 0x7075, len(field)) + field


RAW = "照片.jpg".encode("gbk")


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        (unicode_path(RAW, "相册.jpg".encode()), "相册.jpg"),
        (unicode_path(b"other.jpg", "相册.jpg".encode()), "照片.jpg"),
        (unicode_path(RAW, "相册.jpg".encode(), version=2), "照片.jpg"),
    ],
    ids=["made for it", "made for another", "of another version"],
)
def test_a_unicode_path_field_counts_only_if_its_checksum_fits_the_name(extra: bytes, name: str) -> None:
    assert entry_names(archive(RAW, extra=extra)) == [name]
