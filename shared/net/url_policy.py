"""Which addresses Fathom connects to on a user's behalf: the public internet, and no private network.

A user's URL is checked twice: as text, when it is submitted, and as the address its host resolves to,
when Fathom connects. Fathom then connects to that very address, so a name that resolves differently the
next time gains nothing.

The refused networks are those in IANA's special-purpose address registries (RFC 6890 and its updates),
and the clouds' metadata services outside of those.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias
from urllib.parse import SplitResult, quote, urlsplit

import idna

from shared.errors import AddressRefused

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

#: Resolves a host name and a port to addresses, as text.
Resolver: TypeAlias = Callable[[str, int], Sequence[str]]

#: Most characters of a URL; no server takes more.
MAX_URL = 4096
#: The only ports of hosts that are not explicitly allowed.
PORTS = frozenset({80, 443})

_DEFAULT_PORTS = {"http": 80, "https": 443}
#: Parsers disagree about these characters, so one could check another host than the next one calls.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"^`{|}\u2028\u2029\ufeff\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
#: One part of an IPv4 address as inet_aton reads it: decimal, octal or hexadecimal.
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_DOTTED = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}\Z")
#: Names of this machine and of private networks.
_LOCAL_NAMES = frozenset({"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp"})

_REFUSED_IPV4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            # Azure's metadata and wire server has a public address.
            "168.63.129.16/32",
        ),
    )
)
#: Global unicast; addresses outside of it are local, multicast, mapped or unassigned.
_GLOBAL_IPV6 = IPv6Network("2000::/3")
#: Protocol assignments (including Teredo), documentation (two ranges), and 6to4.
_REFUSED_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
#: Embedded IPv4 addresses, which a network may need to reach IPv4: the inner address counts.
_EMBEDDED_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


@dataclass(frozen=True, kw_only=True)
class AllowedHosts:
    """Hosts and networks that an operator allows although the policy refuses them, on any port."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, words: Iterable[str]) -> AllowedHosts:
        """Read host names, addresses and networks (`10.1.0.0/16`).

        Raises AddressRefused, naming a word that is none of these.
        """
        names, networks = set(), []
        for word in words:
            try:
                networks.append(ip_network(word.strip("[]")))
            except ValueError:
                names.add(name := _host_name(word))
                _literal(name)
        return cls(names=frozenset(names), networks=tuple(networks))

    def holds(self, host: str, address: Address | None) -> bool:
        """Return whether a host is allowed by its name or by this address."""
        if host in self.names:
            return True
        inside = _embedded(address) if isinstance(address, IPv6Address) else None
        return any(ip in network for ip in (address, inside) if ip is not None for network in self.networks)


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a URL leads, in canonical form."""

    scheme: str
    #: In lower case; a Unicode name in its ASCII form, an IPv6 address without brackets.
    host: str
    port: int
    #: Path and query, percent-encoded.
    path: str

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def parse_url(text: str, allowed: AllowedHosts) -> Target:
    """Read a user's URL without resolving its host.

    Raises AddressRefused, with a sentence for the user, unless the URL is plain http or https to a host
    that may be public.
    """
    parts = _split(text)
    host = _host(parts)
    address = _literal(host)
    port = _port(parts)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~-._?") if parts.query else ""
    target = Target(scheme=parts.scheme, host=str(address or host), port=port, path=path + query)
    if not allowed.holds(target.host, address):
        _check_public(target, address, allowed)
    return target


def resolve(host: str, port: int, allowed: AllowedHosts, resolver: Resolver) -> tuple[str, ...]:
    """Return the addresses of a host; Fathom may connect to each of them.

    Use these addresses, and do not resolve the name again. Raises AddressRefused if even one address is
    refused, since no honest name leads to a private network as well, and OSError if the name cannot be
    resolved.
    """
    addresses = [_address(text) for text in resolver(host, port)]
    if not addresses:
        raise OSError("The name has no address.")
    if port not in PORTS and not all(allowed.holds(host, address) for address in addresses):
        raise AddressRefused
    if not all(is_public(address) or allowed.holds(host, address) for address in addresses):
        raise AddressRefused
    return tuple(map(str, addresses))


def look_up(host: str, port: int) -> tuple[str, ...]:
    """Resolve a name as the system does. Raises OSError if that fails."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet, and to no private network."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_IPV4)
    if address.scope_id is not None:
        return False
    if (inside := _embedded(address)) is not None:
        return is_public(inside)
    return address in _GLOBAL_IPV6 and not any(address in network for network in _REFUSED_IPV6)


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if any(address in network for network in _EMBEDDED_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError as exc:
        raise AddressRefused from exc


def _split(text: str) -> SplitResult:
    if len(text) > MAX_URL:
        raise AddressRefused(f"A URL has at most {MAX_URL} characters.")
    if _FORBIDDEN.search(text):
        raise AddressRefused("A URL holds no spaces, control characters, backslashes, quotes or braces.")
    try:
        parts = urlsplit(text)
    except ValueError as exc:
        raise AddressRefused("This is not a URL.") from exc
    if parts.scheme not in _DEFAULT_PORTS or not parts.netloc:
        raise AddressRefused("A URL starts with http:// or https:// and a host.")
    if "@" in parts.netloc:
        raise AddressRefused("A URL with a user name or a password is not used.")
    return parts


def _host(parts: SplitResult) -> str:
    try:
        host = parts.hostname or ""
    except ValueError as exc:
        raise AddressRefused("This is not a URL.") from exc
    if "%" in host:
        raise AddressRefused("A host is written without percent signs and zones.")
    if "[" in parts.netloc or ":" in host:
        return _bracketed(parts.netloc, host)
    return _host_name(host)


def _bracketed(netloc: str, host: str) -> str:
    """Return the IPv6 address between brackets; IPvFuture and everything else is refused."""
    if not re.fullmatch(r"\[[0-9A-Fa-f:.]+\](:[0-9]*)?", netloc):
        raise AddressRefused("The host is no IPv6 address.")
    return host


def _host_name(text: str) -> str:
    """Return a host in lower case and ASCII (UTS 46), without the dot of the root."""
    try:
        name = text if text.isascii() else idna.encode(text, uts46=True).decode()
    except UnicodeError as exc:
        raise AddressRefused("The host is no name that can be written in ASCII.") from exc
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if _NUMBER.match(labels[-1]):
        # Some code may read this as an address, and only the plain notation means the same to all.
        if not _DOTTED.match(name):
            raise AddressRefused("An IPv4 address is written as four decimal numbers.")
    elif len(name) > 253 or not all(map(_LABEL.match, labels)):
        raise AddressRefused("The host is no name.")
    return name


def _literal(host: str) -> Address | None:
    if ":" not in host and not _DOTTED.match(host):
        return None
    try:
        return ip_address(host)
    except ValueError as exc:
        raise AddressRefused("The host is no address.") from exc


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError as exc:
        raise AddressRefused("The port is no number from 1 to 65535.") from exc
    if port is None:
        return _DEFAULT_PORTS[parts.scheme]
    if port == 0:
        raise AddressRefused("The port is no number from 1 to 65535.")
    return port


def _check_public(target: Target, address: Address | None, allowed: AllowedHosts) -> None:
    if address is not None and not is_public(address):
        raise AddressRefused
    labels = target.host.split(".")
    if address is None and (labels[-1] in _LOCAL_NAMES or len(labels) == 1):
        raise AddressRefused
    # Only resolving a name shows whether it lies in an allowed network.
    if target.port not in PORTS and (address is not None or not allowed.networks):
        raise AddressRefused("Only the ports 80 and 443 are connected to.")
