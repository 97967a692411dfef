"""Models in a real object store."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fathom.cli import main
from shared.model_registry import content_path
from shared.objectstore.s3 import S3ObjectStore
from tests.contracts.shared_models import SharedModelsContract, add_file


class TestSeaweed(SharedModelsContract):
    @pytest.fixture
    def objects(self, object_store: S3ObjectStore) -> S3ObjectStore:
        return object_store


def test_the_commands_share_fetch_and_unshare_a_model(s3_environ: dict[str, str], tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    added = add_file(here)

    def fathom(cache: Path, *arguments: str) -> str:
        environ = {**s3_environ, "FATHOM_CACHE_DIR": str(cache)}
        done = CliRunner(env=environ).invoke(main, ["model", *arguments])
        return done.stdout + done.stderr

    assert fathom(here, "share", "mine") == "file:mine is in the object store.\n"
    assert fathom(there, "fetch", "file:mine") == "Fetched file:mine. Licence: CC0.\n"
    assert content_path(there, added).read_bytes() == content_path(here, added).read_bytes()
    assert fathom(here, "unshare", "file:mine") == "file:mine is no longer shared.\n"
    assert fathom(there, "fetch", "file:mine") == "fathom: The model file:mine is not shared.\n"
