"""Say to Celery where Redis is, in its own terms, which differ for TLS, sockets and sentinels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from shared.net.redis_address import SentinelAddress, is_sentinel, join_host, tls_options
from shared.redis.sentinels import MasterConnection, MasterTlsConnection, sentinel_options

#: The scheme of kombu's URLs that name sentinels.
_SCHEME = "sentinel"

#: Seconds without an answer after which a connection to a master is given up. A machine that loses its power
#: closes no connection, and kombu by itself waits without limit.
SILENCE = 5


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A broker in Celery's terms."""

    #: One URL, or several joined by semicolons.
    url: str = field(repr=False)
    #: Options of TLS; None without TLS.
    tls: Mapping[str, str | bool] | None = None
    #: What the transport has to know besides.
    transport_options: Mapping[str, Any] = field(default_factory=dict, repr=False)


class SentinelChannel(kombu_redis.SentinelChannel):
    """Kombu's channel, which looks for the master as our own clients do."""

    connection_class = MasterConnection
    # Kombu has a class of its own for this, and means any connection over TLS.
    connection_class_ssl = MasterTlsConnection  # type: ignore[assignment]


class SentinelTransport(kombu_redis.SentinelTransport):
    """Kombu's transport with that channel."""

    Channel = SentinelChannel


def describe_broker(url: str) -> Broker:
    """Translate the URL of a Redis.

    Kombu does not check certificates unless it is told to; here it always is.
    """
    if is_sentinel(url):
        return _behind_sentinels(SentinelAddress.parse(url))
    parts = urlsplit(url)
    if parts.scheme == "rediss":
        options = tls_options(dict(parse_qsl(parts.query)))
        return Broker(url=url, tls={"ssl_cert_reqs": "required", **options})
    if parts.scheme == "unix":
        return _behind_socket(url)
    return Broker(url=url)


def _behind_sentinels(address: SentinelAddress) -> Broker:
    # Kombu takes the transport from the scheme, again and again as it changes from URL to URL.
    TRANSPORT_ALIASES[_SCHEME] = f"{__name__}:{SentinelTransport.__name__}"
    login = ""
    if address.login.password is not None:
        login = f"{quote(address.login.username or '', safe='')}:{quote(address.login.password, safe='')}@"
    # The login is the servers'. Each URL repeats it, since kombu changes from one to the next.
    urls = (f"{_SCHEME}://{login}{join_host(*each)}/{address.db}" for each in address.sentinels)
    return Broker(
        url=";".join(urls),
        tls={"ssl_cert_reqs": "required", **address.tls_options} if address.is_tls else None,
        transport_options={
            "master_name": address.master,
            "sentinel_kwargs": sentinel_options(address),
            "socket_timeout": SILENCE,
            # How often kombu looks whether the server still answers its consumers.
            "health_check_interval": SILENCE,
        },
    )


def _behind_socket(url: str) -> Broker:
    """Translate redis-py's `unix://[:password@]/path?db=0`."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    db = dict(parse_qsl(parts.query)).get("db", "0")
    return Broker(url=f"redis+socket://{login}{at}{parts.path}?virtual_host={quote(db, safe='')}")
