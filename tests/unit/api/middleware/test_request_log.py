from __future__ import annotations

import json
import logging

import pytest

from tests.unit.api.auth.test_authorize import Keyring, address, rules_of
from tests.unit.api.conftest import Api

ALWAYS = (
    "X-Request-Id",
    "X-Content-Type-Options",
    "Content-Security-Policy",
    "Referrer-Policy",
    "Cache-Control",
)


def test_every_response_has_the_security_headers(api: Api):
    app = api.client.application
    for keyed in (False, True):
        if keyed:
            Keyring(api).make()
        for rule, method in rules_of(app):
            response = api.client.open(address(app, rule, "a" * 26), method=method)
            assert {name for name in ALWAYS if name not in response.headers} == set(), (rule.rule, method)
            assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PATCH", "/v1/jobs", 405),
        ("POST", "/v1/jobs", 415),
        ("GET", "/v1/jobs?limit=0", 400),
    ],
)
def test_errors_have_the_security_headers_too(api: Api, method: str, path: str, status: int):
    response = api.client.open(path, method=method, headers={"X-Request-Id": "mine"})

    assert response.status_code == status
    assert {name for name in ALWAYS if name not in response.headers} == set()
    assert response.headers["X-Request-Id"] == response.get_json()["request_id"] == "mine"
    assert "sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("given", ["", "a" * 65, "a b", "a\tb", "<script>", "é"])
def test_a_strange_request_id_is_replaced(api: Api, given: str):
    response = api.get("/v1/jobs", headers={"X-Request-Id": given.encode().decode("latin-1")})

    assert len(response.headers["X-Request-Id"]) == 16


def test_the_log_names_the_request_and_never_its_query(api: Api, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        api.get(
            "/v1/jobs?limit=2&cursor=hush", headers={"X-Request-Id": "mine", "Authorization": "Bearer hush"}
        )

    lines = json.dumps([vars(record) for record in caplog.records], default=str)
    assert "/v1/jobs answered" in lines
    assert "hush" not in lines
