from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.api.conftest import Api

STATIC = Path(__file__).parents[3] / "api" / "static"


def test_the_page_is_at_the_root(api: Api) -> None:
    response = api.get("/")

    assert response.content_type == "text/html; charset=utf-8"
    assert "<h1>" in response.text


@pytest.mark.parametrize(("name", "type_"), [("page.js", "text/javascript"), ("page.css", "text/css")])
def test_the_files_of_the_page_are_served(api: Api, name: str, type_: str) -> None:
    response = api.get(f"/static/{name}")

    assert response.status_code == 200
    assert response.content_type.startswith(type_)


def test_the_page_runs_nothing_but_its_own_script(api: Api) -> None:
    policy = api.get("/").headers["Content-Security-Policy"]

    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe" not in policy
    assert not re.search(
        r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style", (STATIC / "index.html").read_text()
    )


@pytest.mark.parametrize("name", ["index.html", "page.js", "page.css"])
def test_the_page_loads_nothing_from_elsewhere(name: str) -> None:
    assert not re.search(r"https?:|src=\"//|@import|innerHTML", (STATIC / name).read_text())


@pytest.mark.parametrize("name", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "none.js", ""])
def test_no_other_file_is_served(api: Api, name: str) -> None:
    assert api.get(f"/static/{name}").status_code == 404


def test_every_id_the_script_asks_for_is_on_the_page() -> None:
    wanted = set(re.findall(r'\$\("([\w-]+)"\)', (STATIC / "page.js").read_text()))

    assert wanted <= set(re.findall(r'id="([\w-]+)"', (STATIC / "index.html").read_text()))
    assert len(wanted) > 10
