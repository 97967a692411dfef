"""Files that are something else, or two things at once."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator

from tests.corpus.entry import FINE, CorpusFile, upload
from tests.unit.worker.pipeline.pictures import save, scene

UNSUPPORTED, CORRUPT = "unsupported_format", "image_corrupt"

_OTHERS = {
    "html.jpg": b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>" * 10,
    "svg.jpg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)" width="99" height="99"/>' * 3,
    "script.png": b"#!/bin/sh\nrm -rf /\n" * 20,
    "program.jpg": b"\x7fELF\x02\x01\x01" + bytes(500),
    "windows program.png": b"MZ\x90\0" + bytes(500),
    "document.jpg": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n" * 5,
    "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n" * 10,
    "imagemagick.jpg": b"push graphic-context\nfill 'url(https://example.org/\"|ls \"-la)'\npop graphic-context\n"
    * 3,
    "photoshop.psd": b"8BPS\0\x01" + bytes(500),
    "jpeg 2000.jpg": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500),
    "jpeg xl.jpg": b"\xff\x0a" + bytes(500),
    "icon.jpg": b"\0\0\x01\0\x01\0" + bytes(500),
    "film.jpg": b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(500),
    "text.jpg": "Einkaufszettel: Käse, 写真\n".encode() * 20,
    "zeros.jpg": bytes(5000),
    "one byte.jpg": b"\xff",
    "signature alone.jpg": b"\xff\xd8",
}


def disguised() -> Iterator[CorpusFile]:
    """Files that are not pictures, whatever their names, and pictures that are also something else."""
    for name, data in _OTHERS.items():
        yield upload(name, data, UNSUPPORTED)
    yield upload("empty.jpg", b"", "image_empty")
    yield upload("jpeg head alone.jpg", b"\xff\xd8\xff", CORRUPT)
    yield upload("png signature alone.png", b"\x89PNG\r\n\x1a\n", CORRUPT)
    jpeg, png = save(scene(), "JPEG"), save(scene(), "PNG")
    yield upload("jpeg and zip.jpg", jpeg + _zip(), FINE)
    yield upload("png and html.png", png + b"<script>alert(1)</script>", FINE)
    yield upload(
        "jpeg with a script in a comment.jpg", _commented(jpeg, b"<?php system($_GET['c']); ?>"), FINE
    )
    yield upload("gif and script.gif", _gif_and_script(), FINE)
    yield upload("gif that is only a script.gif", b"GIF89a/*" + b"*/=1;alert(1);" * 20, CORRUPT)
    yield upload("bmp that is only a script.bmp", b"BM=1/*" + b"*/;alert(1);" * 20, UNSUPPORTED)
    yield upload("document and jpeg.jpg", b"%PDF-1.7\n" + jpeg, UNSUPPORTED)
    yield upload("jpeg called png.png", jpeg, FINE)
    yield upload("png called jpg.jpg", png, FINE)


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil.sh", "rm -rf /")
    return buffer.getvalue()


def _commented(jpeg: bytes, text: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + jpeg[2:]


def _gif_and_script() -> bytes:
    """Return a picture whose comment a browser could run as a script."""
    data = save(scene(), "GIF")
    return data[:-1] + b"!\xfe\x10*/=1;alert(1);//x\0;"
