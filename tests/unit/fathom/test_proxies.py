from __future__ import annotations

import httpx
import pytest

from fathom.proxies import proxy_for

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.8.9.10", "localhost", "LOCALHOST.", "s3.localhost", "[::1]", "[::ffff:127.0.0.1]"],
)
def test_this_machine_is_reached_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, host: str
) -> None:
    monkeypatch.setenv(name, PROXY)

    assert proxy_for(httpx.URL(f"http://{host}:8080/livez")) is None
    assert proxy_for(httpx.URL("http://storage.test:8080/")) == PROXY


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "http://storage.test", None),
        ({"HTTP_PROXY": PROXY}, "https://storage.test", None),
        ({"HTTPS_PROXY": PROXY}, "https://storage.test", PROXY),
        ({"ALL_PROXY": PROXY}, "https://storage.test", PROXY),
        ({"HTTP_PROXY": "proxy.example:3128"}, "http://storage.test", PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "storage.test"}, "http://storage.test:9000", None),
        ({"HTTP_PROXY": PROXY, "no_proxy": "a.test, storage.test"}, "http://storage.test", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "storage.test:9000"}, "http://storage.test:9000", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "test"}, "http://storage.test", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": ".test"}, "http://s3.storage.test", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, "http://storage.test", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.1"}, "http://10.0.0.1:9000", None),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "age.test"}, "http://storage.test", PROXY),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "localhost,127.0.0.1"}, "http://storage.test", PROXY),
    ],
)
def test_other_servers_are_reached_through_the_proxies_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert proxy_for(httpx.URL(url)) == proxy
