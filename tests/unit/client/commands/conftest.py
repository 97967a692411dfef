from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from client.cli import main
from tests.unit.client.album_server import AlbumServer

CR3 = b"\0\0\0\x18ftypcrx " + bytes(12)

Fathom = Callable[..., Result]


@pytest.fixture
def server() -> AlbumServer:
    return AlbumServer()


@pytest.fixture
def fathom(server: AlbumServer) -> Fathom:
    """Run a command in this process, against a server of dictionaries."""

    def run(*arguments: str | Path, **given: Any) -> Result:
        transport = httpx.MockTransport(server)
        return CliRunner().invoke(main, [*map(str, arguments)], obj=transport, **given)

    return run


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two photos, two that give no depth map, what is no photo, and what nobody is to hear of."""
    album = tmp_path / "album"
    for name in ("a.jpg", "x/b.jpg", "clip.MOV", "x/IMG_1.AAE", "notes.txt", "@eaDir/a.jpg", "._a.jpg"):
        (album / name).parent.mkdir(parents=True, exist_ok=True)
        (album / name).write_bytes(f"photo {name}".encode())
    (album / "IMG_1.CR3").write_bytes(CR3)
    (album / "gone.jpg").symlink_to("nowhere")
    os.mkfifo(album / "pipe")
    return album


#: What of `album` gives no depth map.
REFUSED = {"IMG_1.CR3": "unsupported_format", "gone.jpg": "unreadable"}
SKIPPED = "Skipped 4 files that are no photos: 1 video, 1 sidecar, 2 other files."


def told(result: Result) -> dict[str, Any]:
    """Return what a command printed for programs."""
    return dict(json.loads(result.stdout))


def codes(answer: dict[str, Any]) -> dict[str, str]:
    """Return the codes of the failures a command told of, in the shape of `run` or in that of the API."""
    return {
        failure["name"]: failure["code"] if "code" in failure else failure["error"]["code"]
        for failure in answer["failures"]
    }
