from __future__ import annotations

import pytest

from shared.net.loopback import is_loopback


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "http://127.0.0.1:9000/bucket",
        "https://127.8.9.10:443",
        "http://localhost:9000",
        "http://LOCALHOST.:9000",
        "http://s3.localhost",
        "http://[::1]:9000/",
        "http://[::ffff:127.0.0.1]:9000/",
    ],
)
def test_all_names_of_this_machine_are_loopback(url: str):
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "http://[::1",
        "http://10.0.0.1:9000",
        "http://128.0.0.1",
        "http://localhost.example.org",
        "http://notlocalhost",
        "http://127.0.0.1.example.org",
        "http://[2001:db8::1]:9000",
        "https://s3.amazonaws.com",
    ],
)
def test_other_machines_are_not_loopback(url: str):
    assert not is_loopback(url)
