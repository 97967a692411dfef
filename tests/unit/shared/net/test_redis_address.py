from __future__ import annotations

import pytest

from shared.errors import AddressRefused
from shared.net.redis_address import Login, SentinelAddress, check_redis_url, redis_secrets, without_login

WHOLE = (
    "rediss+sentinel://fathom:p%40ss%2Fword@one:26380,two.internal,[fd00::1]:7/my%20master/3"
    "?sentinel_username=watch&sentinel_password=s%26c+ret&ssl_ca_certs=/ca.pem&ssl_check_hostname=false"
)


def test_every_part_of_an_address_is_read():
    address = SentinelAddress.parse(WHOLE)

    assert address.sentinels == (("one", 26380), ("two.internal", 26379), ("fd00::1", 7))
    assert (address.master, address.db, address.is_tls) == ("my master", 3, True)
    assert address.login == Login(username="fathom", password="p@ss/word")
    assert address.sentinel_login == Login(username="watch", password="s&c+ret")
    assert address.tls_options == {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}


@pytest.mark.parametrize("end", ["", "/", "/0"])
def test_one_host_and_a_master_are_enough(end: str):
    assert SentinelAddress.parse(f"redis+sentinel://one/albums{end}") == SentinelAddress(
        sentinels=(("one", 26379),), master="albums"
    )


def test_a_password_alone_belongs_to_the_default_user():
    address = SentinelAddress.parse("redis+sentinel://:secret@one/albums")

    assert address.login == Login(username=None, password="secret")


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one:26379",
        "redis+sentinel://one:26379/",
        "redis+sentinel:///albums",
        "redis+sentinel://:hunter2@/albums",
        "redis+sentinel://:hunter2@one,,two/albums",
        "redis+sentinel://:hunter2@one:0/albums",
        "redis+sentinel://:hunter2@one:65536/albums",
        "redis+sentinel://:hunter2@one:port/albums",
        "redis+sentinel://:hunter2@fd00::1/albums",
        "redis+sentinel://:hunter2@one/albums/zero",
        "redis+sentinel://:hunter2@one/albums/0/1",
        "redis+sentinel://:hunter2@one/albums#hunter2",
        # These need quoting: %2F, %23 and %3F.
        "redis+sentinel://:hunter2/a@one/albums",
        "redis+sentinel://:hunter2#a@one/albums",
        "redis+sentinel://:hunter2?a@one/albums",
        # A user without a password, and a password without a colon.
        "redis+sentinel://hunter2@one/albums",
        "redis+sentinel://fathom:@one/albums",
        "redis+sentinel://one/albums?password=hunter2",
        "redis+sentinel://one/albums?sentinel_password=hunter2&hunter2",
        "redis+sentinel://one/albums?sentinel_password=hunter2&sentinel_password=hunter2",
        "redis+sentinel://one/albums?sentinel_username=hunter2",
        # Options of TLS without TLS.
        "redis+sentinel://:hunter2@one/albums?ssl_ca_certs=/ca.pem",
        "redi+sentinel://:hunter2@one/albums",
        "redis+sentinels://:hunter2@one/albums",
        "redis://[hunter2",
        "http://:hunter2@one",
        "redis:",
    ],
)
def test_a_malformed_address_is_refused_without_its_password(url: str):
    with pytest.raises(AddressRefused) as refused:
        check_redis_url(url)

    assert "hunter2" not in refused.value.message
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize("url", ["redis://one", "rediss://:a@one:1/2", "unix:///run/redis.sock?db=1", WHOLE])
def test_good_addresses_pass(url: str):
    check_redis_url(url)


def test_passwords_appear_in_no_repr():
    text = repr(SentinelAddress.parse(WHOLE))

    assert "p@ss/word" not in text
    assert "s&c+ret" not in text


@pytest.mark.parametrize(
    ("url", "secrets", "shown"),
    [
        (
            WHOLE,
            ("p@ss/word", "s&c+ret"),
            "rediss+sentinel://one:26380,two.internal:26379,[fd00::1]:7/my master",
        ),
        ("redis://me:p%40ss@one:7/0", ("p@ss",), "redis://one:7"),
        ("redis://one/0", (), "redis://one"),
        ("unix:///run/redis.sock", (), "unix:///run/redis.sock"),
    ],
)
def test_an_address_can_be_shown_without_its_secrets(url: str, secrets: tuple[str, ...], shown: str):
    assert redis_secrets(url) == secrets
    assert without_login(url) == shown
