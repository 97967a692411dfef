from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from fathom.cli import main
from tests.unit.fathom.job_server import JobServer

Fathom = Callable[..., Result]


@pytest.fixture
def server() -> JobServer:
    return JobServer()


@pytest.fixture
def fathom(server: JobServer) -> Fathom:
    """Run a command in this process, against a fake server."""

    def run(*arguments: str | Path, **given: Any) -> Result:
        transport = httpx.MockTransport(server)
        return CliRunner().invoke(main, [*map(str, arguments)], obj=transport, **given)

    return run


def printed_json(result: Result) -> dict[str, Any]:
    """Return the JSON that a command printed."""
    return dict(json.loads(result.stdout))


def codes(answer: dict[str, Any]) -> dict[str, str]:
    """Return the codes of the reported failures, in the format of `run` or of the API."""
    return {
        failure["name"]: failure["code"] if "code" in failure else failure["error"]["code"]
        for failure in answer["failures"]
    }
