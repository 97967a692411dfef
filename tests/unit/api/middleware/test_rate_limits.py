from __future__ import annotations

import re
from typing import Any

import pytest

from api.middleware.rate_limits import _network
from tests.unit.api.auth.test_authorize import Keyring
from tests.unit.api.conftest import Api, ApiFactory


@pytest.fixture
def strict(make_api: ApiFactory) -> Api:
    """An API that allows every caller three requests per minute."""
    return make_api(rate_limit="3/minute")


def statuses(api: Api, times: int, **kwargs: Any) -> list[int]:
    return [api.get("/v1/jobs", **kwargs).status_code for _ in range(times)]


def test_more_than_the_limit_is_refused(strict: Api):
    assert statuses(strict, 5) == [200, 200, 200, 429, 429]


def test_a_429_is_a_problem_with_retry_after(strict: Api):
    statuses(strict, 3)
    response = strict.get("/v1/jobs")

    assert response.mimetype == "application/problem+json"
    assert response.get_json()["code"] == "rate_limited"
    assert 1 <= int(response.headers["Retry-After"]) <= 61
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_every_response_says_how_many_requests_are_left(strict: Api):
    left = []
    for _ in range(4):
        headers = strict.get("/v1/jobs").headers
        assert headers["RateLimit-Policy"] == '"requests";q=3;w=60'
        match = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', headers["RateLimit"])
        assert match
        assert 1 <= int(match[2]) <= 61
        left.append(int(match[1]))

    assert left == [2, 1, 0, 0]


def test_one_limit_covers_all_routes(strict: Api):
    paths = ["/v1/jobs", "/v1/session", "/v1/jobs?limit=2", "/v1/session"]

    assert [strict.get(path).status_code for path in paths] == [200, 200, 200, 429]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/v1"])
def test_probes_and_the_page_are_not_counted(strict: Api, path: str):
    answers = [strict.get(path) for _ in range(5)]

    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[0].headers


def test_every_address_has_its_own_count(strict: Api):
    one, other = {"REMOTE_ADDR": "192.0.2.1"}, {"REMOTE_ADDR": "192.0.2.2"}

    assert statuses(strict, 4, environ_base=one) == [200, 200, 200, 429]
    assert statuses(strict, 1, environ_base=other) == [200]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("nonsense", "nonsense"),
    ],
)
def test_an_ipv6_address_counts_as_its_network(address: str, expected: str):
    assert _network(address) == expected


def test_a_key_has_one_count_for_all_addresses(strict: Api):
    keys = Keyring(strict)
    (_, one), (_, other) = keys.make(), keys.make()

    assert statuses(strict, 4, headers=one) == [200, 200, 200, 429]
    assert statuses(strict, 1, headers=other) == [200]


def test_a_key_may_have_its_own_rate(strict: Api):
    keys = Keyring(strict)
    _, slow = keys.make(rate="1/hour")
    _, fast = keys.make(rate="100/second")

    assert statuses(strict, 2, headers=slow) == [200, 429]
    assert statuses(strict, 10, headers=fast) == [200] * 10


def test_requests_without_a_valid_key_are_counted_too(strict: Api):
    Keyring(strict).make()

    assert statuses(strict, 5, headers={"Authorization": "Bearer x"}) == [401, 401, 401, 429, 429]


def test_a_forwarded_address_is_ignored_without_a_trusted_proxy(strict: Api):
    answers = [
        strict.get("/v1/jobs", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code for n in range(4)
    ]

    assert answers[-1] == 429
