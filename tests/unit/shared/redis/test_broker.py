from __future__ import annotations

from kombu.connection import Connection

from shared.redis.broker import SentinelTransport, describe_broker
from shared.settings import Settings
from shared.tickets import create_celery_app

SENTINELS = "rediss+sentinel://me:p%40ss@one,[::1]:7/albums/2?sentinel_password=word&ssl_ca_certs=/ca.pem"


def test_every_sentinel_is_a_url_of_its_own_with_the_login_of_the_servers():
    broker = describe_broker(SENTINELS)

    assert broker.url == "sentinel://me:p%40ss@one:26379/2;sentinel://me:p%40ss@[::1]:7/2"
    assert broker.tls == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}
    assert broker.transport_options["master_name"] == "albums"
    sentinels = broker.transport_options["sentinel_kwargs"]
    assert (sentinels["username"], sentinels["password"]) == (None, "word")
    assert (sentinels["ssl"], sentinels["ssl_ca_certs"]) == (True, "/ca.pem")


def test_kombu_reads_the_same_from_it():
    broker = describe_broker(SENTINELS)

    with Connection(broker.url, ssl=broker.tls) as connection:
        assert (connection.userid, connection.password, connection.virtual_host) == ("me", "p@ss", "2")
        assert (connection.hostname, connection.port) == ("one", 26379)
        assert connection.ssl == broker.tls
        assert connection.get_transport_cls() is SentinelTransport


def test_certificates_are_checked_unless_the_address_says_otherwise():
    assert describe_broker("rediss://one").tls == {"ssl_cert_reqs": "required"}
    assert describe_broker("rediss://one?ssl_cert_reqs=none").tls == {"ssl_cert_reqs": "none"}
    assert describe_broker("redis://one").tls is None


def test_a_socket_is_named_as_kombu_names_it():
    assert describe_broker("unix://:word@/run/redis.sock?db=3").url == (
        "redis+socket://:word@/run/redis.sock?virtual_host=3"
    )


def test_our_own_options_hold_for_sentinels_too():
    url = "redis+sentinel://one/albums"
    alone, behind = (
        create_celery_app(Settings.from_environ({"FATHOM_REDIS_URL": each})).conf.broker_transport_options
        for each in ("redis://one", url)
    )

    assert behind.items() >= alone.items()
    assert behind["master_name"] == "albums"


def test_another_broker_takes_the_tickets_alone():
    settings = Settings.from_environ(
        {"FATHOM_REDIS_URL": "redis://jobs/1", "FATHOM_BROKER_URL": "redis://tickets/2"}
    )

    assert create_celery_app(settings).conf.broker_url == "redis://tickets/2"
    assert settings.redis_url == "redis://jobs/1"
