from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.middleware.errors import code_of, status_of
from shared.errors import FathomError, ImageError
from tests.unit.api.conftest import Api
from tests.unit.api.routes.test_submissions import problem


def test_an_unknown_address_is_a_problem(api: Api) -> None:
    body = problem(api.get("/nowhere"), 404, "not_found")

    assert body["instance"] == "/nowhere"
    assert body["title"] == "Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"), [("PUT", "/v1/jobs", "POST"), ("POST", "/livez", "GET")]
)
def test_an_unsupported_method_is_a_problem_that_names_the_supported_ones(
    api: Api, method: str, path: str, allowed: str
) -> None:
    response = api.client.open(path, method=method)

    problem(response, 405, "method_not_allowed")
    assert allowed in response.headers["Allow"]


def test_an_unexpected_error_is_logged_and_hidden_from_the_client(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(job_id: str) -> None:
        raise ZeroDivisionError("secret detail")

    api.jobs.before(api.jobs.get, explode)
    with caplog.at_level(logging.ERROR):
        response = api.get("/v1/jobs/x", headers={"X-Request-Id": "my-id"})

    assert "secret" not in response.text
    assert problem(response, 500, "internal_error")["request_id"] == "my-id"
    assert "secret detail" in caplog.text


def test_an_unavailable_part_gives_503_with_retry_after(api: Api) -> None:
    api.jobs.away = True
    response = api.get("/v1/jobs")

    problem(response, 503, "job_store_unavailable")
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize("given", ["abc-123", "A.b_c", "x" * 64])
def test_a_sane_request_id_is_echoed(api: Api, given: str) -> None:
    assert api.get("/livez", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a;b", "ü", "<script>"])
def test_any_other_request_id_is_replaced(api: Api, given: str) -> None:
    made = api.get("/livez", headers={"X-Request-Id": given}).headers["X-Request-Id"]

    assert made != given
    assert len(made) == 16


def test_every_answer_has_its_security_headers(api: Api) -> None:
    for path in ("/livez", "/nowhere", "/v1/jobs"):
        headers = api.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-origin", 415), ("none", 415)])
def test_pages_of_other_sites_change_nothing(api: Api, site: str, status: int) -> None:
    assert api.client.post("/v1/jobs", headers={"Sec-Fetch-Site": site}).status_code == status


def test_pages_of_other_sites_may_link_here(api: Api) -> None:
    assert api.get("/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


# --- what docs/api.md says of them ----------------------------------------------------

DOCUMENT = (Path(__file__).parents[4] / "docs" / "api.md").read_text()

#: Errors that are caught internally, and bases that are never raised.
INTERNAL = {"address_refused", "image_error", "object_not_found"}


def kinds_of(base: type[FathomError]) -> Iterator[type[FathomError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def codes_of_rows(*statuses: int) -> set[str]:
    """Return the codes of these statuses in the table of errors."""
    rows = re.findall(r"^\| ([\d, ]+) \| (.*) \|$", DOCUMENT, re.MULTILINE)
    matching = [codes for numbers, codes in rows if set(map(int, numbers.split(","))) & set(statuses)]
    return set(re.findall(r"`([a-z_]+)`", "\n".join(matching)))


def is_documented(kind: type[FathomError]) -> bool:
    status = status_of(kind)
    if issubclass(kind, ImageError) or status == 500:
        return f"`{kind.code}`" in DOCUMENT
    return kind.code in codes_of_rows(status)


def test_the_document_names_every_code_at_its_status():
    # Other tests may have imported further classes.
    kinds = {kind for kind in kinds_of(FathomError) if kind.__module__.startswith(("api.", "shared."))}

    assert len(kinds) > 50
    assert {kind.code for kind in kinds if not is_documented(kind)} == INTERNAL


@pytest.mark.parametrize("status", [400, 403, 404, 405, 408, 411, 413, 414, 415, 416, 429])
def test_the_document_names_the_codes_of_the_framework_too(status: int):
    assert code_of(status) in codes_of_rows(status)
