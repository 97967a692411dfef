from __future__ import annotations

import pytest

from api.auth.exposure import believe_proxies
from tests.unit.api.conftest import Api, ApiFactory

OURS = "https://app.example"


@pytest.fixture
def named(make_api: ApiFactory) -> Api:
    """An API that allows one other origin."""
    return make_api(cors_origins=(OURS,))


def preflight(api: Api, origin: str) -> dict[str, str]:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Sec-Fetch-Site": "cross-site"}
    response = api.client.options("/v1/jobs", headers=headers)
    assert response.status_code < 400
    return dict(response.headers)


def test_by_default_no_other_origin_may_read_responses(api: Api):
    answers = [preflight(api, OURS), dict(api.get("/v1/jobs", headers={"Origin": OURS}).headers)]

    assert not [name for answer in answers for name in answer if name.startswith("Access-Control-")]


def test_an_allowed_origin_may_use_every_method(named: Api):
    headers = preflight(named, OURS)

    assert headers["Access-Control-Allow-Origin"] == OURS
    assert {"GET", "POST", "PUT", "DELETE"} <= set(headers["Access-Control-Allow-Methods"].split(", "))
    assert {"Authorization", "Idempotency-Key"} <= set(headers["Access-Control-Allow-Headers"].split(", "))
    assert headers["Vary"] == "Origin"


def test_cookies_are_never_allowed_for_other_origins(named: Api):
    assert "Access-Control-Allow-Credentials" not in preflight(named, OURS)


def test_a_page_of_an_allowed_origin_reads_responses_and_errors(named: Api):
    for path in ("/v1/jobs", "/v1/jobs/unknown"):
        headers = named.get(path, headers={"Origin": OURS, "Sec-Fetch-Site": "cross-site"}).headers
        assert headers["Access-Control-Allow-Origin"] == OURS
        assert "RateLimit" in headers["Access-Control-Expose-Headers"]


def test_a_page_of_an_allowed_origin_creates_jobs(named: Api):
    headers = {"Origin": OURS, "Sec-Fetch-Site": "cross-site"}
    response = named.client.post(
        "/v1/jobs", json={"uploads": [{"name": "a.jpg", "size": 1}]}, headers=headers
    )

    assert response.status_code == 202


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.evil", "https://APP.example", "http://app.example", "https://app.example:444", "null",
     "https://evil.example", "https://app.example/", ""],
)  # fmt: skip
def test_an_origin_must_match_exactly(named: Api, origin: str):
    headers = preflight(named, origin)

    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
        {"Origin": OURS},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_pages_of_other_origins_change_nothing(api: Api, headers: dict[str, str], method: str):
    response = api.client.open("/v1/jobs/unknown", method=method, headers=headers)

    assert response.status_code == 403
    assert response.get_json()["code"] == "forbidden"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://what.the.proxy.shows.example"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
    ],
)
def test_the_page_itself_and_programs_are_allowed(api: Api, headers: dict[str, str]):
    assert (
        api.client.post(
            "/v1/jobs", json={"uploads": [{"name": "a.jpg", "size": 1}]}, headers=headers
        ).status_code
        == 202
    )


def test_forwarded_headers_of_a_trusted_proxy_are_used(make_api: ApiFactory):
    api = make_api(trusted_proxies=1, rate_limit="1/minute")
    believe_proxies(api.client.application, 1)
    first = {"X-Forwarded-For": "6.6.6.6, 192.0.2.1", "X-Forwarded-Proto": "https"}
    other = {"X-Forwarded-For": "6.6.6.6, 192.0.2.2"}
    made_up = {"X-Forwarded-For": "7.7.7.7, 192.0.2.1"}

    answers = [api.get("/v1/jobs", headers=headers).status_code for headers in (first, other, made_up)]
    assert answers == [200, 200, 429]
