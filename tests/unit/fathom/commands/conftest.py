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
    """Run a command in this process, against a server of dictionaries."""

    def run(*arguments: str | Path, **given: Any) -> Result:
        transport = httpx.MockTransport(server)
        return CliRunner().invoke(main, [*map(str, arguments)], obj=transport, **given)

    return run


def told(result: Result) -> dict[str, Any]:
    """Return what a command printed for programs."""
    return dict(json.loads(result.stdout))


def codes(answer: dict[str, Any]) -> dict[str, str]:
    """Return the codes of the failures a command told of, in the shape of `run` or in that of the API."""
    return {
        failure["name"]: failure["code"] if "code" in failure else failure["error"]["code"]
        for failure in answer["failures"]
    }
