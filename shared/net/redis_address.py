"""Addresses of Redis: of one server, or of the sentinels that know which of several is the master.

    redis+sentinel://[user:password@]host[:port][,host[:port]...]/MASTER_NAME[/DB][?option=value...]

With `rediss+sentinel`, connections to the servers and to the sentinels are encrypted. The user and the
password are those of the servers; sentinels have their own, `sentinel_username` and `sentinel_password`. This
is the grammar of the package `redis-sentinel-url` and of Prefect; redis-py itself reads no such URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit

from shared.errors import AddressRefused

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")

#: Where a sentinel listens if its address names no port.
SENTINEL_PORT = 26379
#: Options of TLS; they mean what redis-py means by them.
TLS_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)
_LOGIN_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})

_FORM = re.compile(
    r"(?P<scheme>rediss?)\+sentinel://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]+)"
    r"/(?P<master>[^/?#@]+)(?:/(?P<db>\d{1,6})?)?(?:\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(?:(?P<name>[\w.-]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, kw_only=True)
class Login:
    """A user and a password, both perhaps absent."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class SentinelAddress:
    """Where sentinels are, and which master to ask them for."""

    #: Host and port of each.
    sentinels: tuple[tuple[str, int], ...]
    master: str
    db: int = 0
    #: Of the servers.
    login: Login = Login()
    sentinel_login: Login = Login()
    is_tls: bool = False
    tls_options: Mapping[str, str | bool] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL of this module's grammar.

        Raises AddressRefused with a sentence that repeats nothing of the URL but the names of options.
        """
        match = _FORM.fullmatch(url)
        if match is None:
            raise AddressRefused(
                "Sentinels are named as redis+sentinel://HOST:PORT,HOST:PORT/MASTER_NAME/DB."
            )
        options = _options(match["query"] or "", is_tls=match["scheme"] == "rediss")
        return cls(
            sentinels=tuple(_host(text) for text in match["hosts"].split(",")),
            master=unquote(match["master"]),
            db=int(match["db"] or 0),
            login=_login(match["login"]),
            sentinel_login=Login(
                username=options.get("sentinel_username"), password=options.get("sentinel_password")
            ),
            is_tls=match["scheme"] == "rediss",
            tls_options=tls_options(options),
        )


def is_sentinel(url: str) -> bool:
    """Return whether a URL names sentinels."""
    return url.partition("://")[0] in ("redis+sentinel", "rediss+sentinel")


def check_redis_url(url: str) -> None:
    """Raise AddressRefused for a URL that leads to no Redis, with a sentence that repeats no password."""
    if is_sentinel(url):
        SentinelAddress.parse(url)
        return
    try:
        parts = urlsplit(url)
    except ValueError:
        raise AddressRefused("It is no URL.") from None
    if parts.scheme not in SCHEMES or not (parts.netloc or parts.path):
        raise AddressRefused(f"It must be a URL that starts with {' or '.join(SCHEMES)}.")


def redis_secrets(url: str) -> tuple[str, ...]:
    """Return the passwords that a valid URL holds."""
    if not is_sentinel(url):
        password = urlsplit(url).password
        return (unquote(password),) if password else ()
    address = SentinelAddress.parse(url)
    passwords = (address.login.password, address.sentinel_login.password)
    return tuple(password for password in passwords if password)


def without_login(url: str) -> str:
    """Return a valid URL without user, password, database and options."""
    if is_sentinel(url):
        address = SentinelAddress.parse(url)
        hosts = ",".join(join_host(*each) for each in address.sentinels)
        return f"redis{'s' if address.is_tls else ''}+sentinel://{hosts}/{address.master}"
    parts = urlsplit(url)
    host = parts.hostname or parts.path
    return f"{parts.scheme}://{host}:{parts.port}" if parts.port else f"{parts.scheme}://{host}"


def join_host(host: str, port: int) -> str:
    """Return host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_options(options: Mapping[str, str]) -> dict[str, str | bool]:
    """Return those options that are about TLS, as redis-py takes them."""
    return {
        name: text.lower() not in ("false", "no", "0") if name == "ssl_check_hostname" else text
        for name, text in options.items()
        if name in TLS_OPTIONS
    }


def _host(text: str) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    port = int(match["port"] or SENTINEL_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise AddressRefused("Each sentinel is HOST or HOST:PORT, an IPv6 address in brackets.")
    return match["name"] or match["v6"], port


def _login(text: str | None) -> Login:
    if text is None:
        return Login()
    username, colon, password = text.partition(":")
    if not colon or not password:
        raise AddressRefused("A login is USER:PASSWORD, or :PASSWORD for the default user.")
    return Login(username=unquote(username) or None, password=unquote(password))


def _options(query: str, *, is_tls: bool) -> dict[str, str]:
    """Return the options of a query. Raises AddressRefused for one that is unknown or stands twice."""
    allowed = _LOGIN_OPTIONS | TLS_OPTIONS if is_tls else _LOGIN_OPTIONS
    parts = [part.partition("=") for part in query.split("&")] if query else []
    # Passwords have plus signs, so these stay what they are.
    options = {name: unquote(value) for name, _, value in parts}
    if len(options) != len(parts) or not allowed.issuperset(options):
        # A wrong name may be part of a password that was not quoted, and is therefore not repeated.
        raise AddressRefused(f"Options are {', '.join(sorted(allowed))}, each once.")
    if "sentinel_username" in options and not options.get("sentinel_password"):
        raise AddressRefused("sentinel_username needs sentinel_password.")
    return options
