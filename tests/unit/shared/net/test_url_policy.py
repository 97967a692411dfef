"""Which addresses Fathom may connect to, by their text and after resolving their names."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import AddressRefused
from shared.net.url_policy import AllowedHosts, is_public, parse_url, resolve

NOBODY = AllowedHosts()

#: URLs that must never be connected to, whatever any resolver says.
REFUSED = {
    # The machine itself, in every spelling of IPv4 that inet_aton knows.
    "loopback": "http://127.0.0.1/",
    "loopback elsewhere in its network": "http://127.8.9.10/",
    "loopback with a trailing dot": "http://127.0.0.1./",
    "one decimal number": "http://2130706433/",
    "one hexadecimal number": "http://0x7f000001/",
    "one octal number": "http://017700000001/",
    "hexadecimal parts": "http://0x7f.0x0.0x0.0x1/",
    "octal parts": "http://0177.0.0.1/",
    "two parts": "http://127.1/",
    "three parts": "http://127.0.1/",
    "mixed bases": "http://0x7f.1/",
    "leading zeros": "http://127.000.000.001/",
    "a hexadecimal last part": "http://127.0.0.0x1/",
    "a bare 0x": "http://0x/",
    "a number beyond 32 bits": "http://4294967296/",
    "a public address as one number": "http://134744072/",
    "five parts": "http://1.2.3.4.5/",
    "a part beyond 255": "http://8.8.8.256/",
    "zero": "http://0/",
    "this network": "http://0.0.0.0/",
    # Private and reserved IPv4.
    "private A": "http://10.0.0.1/",
    "private B": "http://172.31.255.254/",
    "private C": "http://192.168.1.1/",
    "carrier-grade NAT": "http://100.64.0.1/",
    "link-local": "http://169.254.1.1/",
    "metadata of most clouds": "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
    "metadata of Alibaba": "http://100.100.100.200/latest/meta-data/",
    "metadata of Oracle": "http://192.0.0.192/opc/v1/instance/",
    "metadata of Azure": "http://168.63.129.16/metadata",
    "metadata as a decimal number": "http://2852039166/",
    "documentation": "http://192.0.2.1/",
    "benchmarking": "http://198.18.0.1/",
    "multicast": "http://224.0.0.251/",
    "reserved": "http://240.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    # IPv6.
    "IPv6 loopback": "http://[::1]/",
    "IPv6 unspecified": "http://[::]/",
    "IPv6 written out": "http://[0:0:0:0:0:0:0:1]/",
    "mapped loopback": "http://[::ffff:127.0.0.1]/",
    "mapped loopback in hexadecimal": "http://[::ffff:7f00:1]/",
    "mapped metadata": "http://[::ffff:169.254.169.254]/",
    "compatible loopback": "http://[::127.0.0.1]/",
    "translated (SIIT)": "http://[::ffff:0:127.0.0.1]/",
    "NAT64 to loopback": "http://[64:ff9b::7f00:1]/",
    "NAT64 to metadata": "http://[64:ff9b::169.254.169.254]/",
    "local NAT64": "http://[64:ff9b:1::7f00:1]/",
    "6to4 to loopback": "http://[2002:7f00:1::]/",
    "6to4 to a private address": "http://[2002:c0a8:101::1]/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "unique local": "http://[fd00::1]/",
    "metadata of Amazon": "http://[fd00:ec2::254]/",
    "IPv6 link-local": "http://[fe80::1]/",
    "IPv6 site-local": "http://[fec0::1]/",
    "IPv6 multicast": "http://[ff02::1]/",
    "IPv6 documentation": "http://[2001:db8::1]/",
    "a zone": "http://[fe80::1%25eth0]/",
    "a zone on a public address": "http://[2606:4700::1111%25lo]/",
    "IPv6 without brackets": "http://::1/",
    "IPvFuture": "http://[v1.127.0.0.1]/",
    "text before the brackets": "http://127.0.0.1[::1]/",
    "text behind the brackets": "http://[2606:4700::1111]127.0.0.1/",
    # Names.
    "localhost": "http://localhost/",
    "localhost in capitals": "http://LOCALHOST/",
    "localhost with a trailing dot": "http://localhost./",
    "a name below localhost": "http://photos.localhost/",
    "a name of the inner network": "http://metadata.google.internal/computeMetadata/v1/",
    "a name of one label": "http://redis/",
    "two trailing dots": "http://example.org../",
    "an empty label": "http://example..org/",
    "a label that begins with a hyphen": "http://-example.org/",
    "no host": "http:///etc/passwd",
    "no host but a port": "http://:80/",
    "a percent-encoded host": "http://127%2e0%2e0%2e1/",
    "a percent-encoded localhost": "http://%6c%6f%63alhost/",
    # Unicode.
    "full-width digits": "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "circled digits": "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "an ideographic full stop": "http://127\u30020\u30020\u30021/",
    "circled letters": "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
    "full-width letters": "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54/",
    "a soft hyphen": "http://local\xadhost/",
    "a zero-width space": "http://local\u200bhost/",
    "an override of direction": "http://\u202egro.elpmaxe/",
    "a slash that is none": "http://example.org\uff0f@127.0.0.1/",
    # Users, and what parsers disagree about.
    "a user": "http://user@example.org/",
    "a user and a password": "http://user:password@example.org/",
    "an empty user": "http://@example.org/",
    "a host as the user": "http://example.org@127.0.0.1/",
    "a host and port as the user": "http://example.org:80@127.0.0.1/",
    "two at signs": "http://a@example.org@127.0.0.1/",
    "a backslash": "http://example.org\\@127.0.0.1/",
    "a backslash for a slash": "http:\\\\127.0.0.1\\",
    "a fragment before the host's end": "http://127.0.0.1#@example.org/",
    "a query before the host's end": "http://127.0.0.1?@example.org/",
    "a space in front": " http://example.org/",
    "a space in the host": "http://example.org .evil.example/",
    "a tab in the host": "http://exam\tple.org/",
    "a line break": "http://example.org/\r\nHost: 127.0.0.1\r\n\r\n",
    "a NUL": "http://example.org\x00.evil.example/",
    # Schemes.
    "a file": "file:///etc/passwd",
    "a file with a host": "file://example.org/etc/passwd",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "ftp": "ftp://example.org/a.jpg",
    "data": "data:image/png;base64,AAAA",
    "dict": "dict://127.0.0.1:11211/",
    "an object": "s3://bucket/key",
    "javascript": "javascript:alert(1)",
    "no scheme": "//example.org/a.jpg",
    "a path": "/etc/passwd",
    "nothing": "",
    "a scheme alone": "http://",
    "a scheme twice": "http://http://example.org/",
    # Ports.
    "a port of a database": "http://example.org:6379/",
    "a port of mail": "https://example.org:25/",
    "a port beyond all": "http://example.org:65536/",
    "port zero": "http://example.org:0/",
    "a negative port": "http://example.org:-80/",
    "a port that is no number": "http://example.org:http/",
    # Length.
    "a URL beyond all length": "http://example.org/" + "a" * 5000,
    "a label beyond all length": f"http://{'a' * 64}.org/",
    "a name beyond all length": f"http://{'abc.' * 70}org/",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED)
def test_internal_addresses_are_refused_by_their_text(url: str) -> None:
    with pytest.raises(AddressRefused):
        parse_url(url, NOBODY)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("http://example.org", "http://example.org/"),
        ("HTTPS://Example.ORG:443/A.jpg?b=C", "https://example.org/A.jpg?b=C"),
        ("http://example.org:80/", "http://example.org/"),
        ("https://example.org:80/", "https://example.org:80/"),
        ("http://example.org./a", "http://example.org/a"),
        ("http://8.8.8.8/a.jpg", "http://8.8.8.8/a.jpg"),
        ("http://[2606:4700:4700::1111]/a.jpg", "http://[2606:4700:4700::1111]/a.jpg"),
        ("http://[2606:4700:4700:0:0:0:0:1111]:443/", "http://[2606:4700:4700::1111]:443/"),
        ("http://[64:ff9b::8.8.8.8]/", "http://[64:ff9b::808:808]/"),
        ("http://bücher.example/ä b".replace(" ", "%20"), "http://xn--bcher-kva.example/%C3%A4%20b"),
        ("http://例え.テスト/写真.jpg", "http://xn--r8jz45g.xn--zckzah/%E5%86%99%E7%9C%9F.jpg"),
        ("http://example.org/a%2Fb?x=%20&y=é", "http://example.org/a%2Fb?x=%20&y=%C3%A9"),
        ("http://example.org/a#fragment", "http://example.org/a"),
        ("http://1.example.org/", "http://1.example.org/"),
        ("http://my_bucket.example.org/", "http://my_bucket.example.org/"),
    ],
)
def test_public_urls_are_normalised(url: str, canonical: str) -> None:
    assert parse_url(url, NOBODY).url == canonical
    assert parse_url(canonical, NOBODY).url == canonical


@given(st.text(max_size=60))
def test_no_text_raises_another_error(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/a.jpg", f"http://[{text}]/"):
        try:
            target = parse_url(url, NOBODY)
        except AddressRefused:
            continue
        assert target.url.isascii()
        assert parse_url(target.url, NOBODY) == target


@given(st.ip_addresses(v=4))
def test_every_allowed_ipv4_address_is_global(address: ipaddress.IPv4Address) -> None:
    if is_public(address):
        assert address.is_global or address in ipaddress.ip_network("192.0.0.0/8")
        assert not any((address.is_private, address.is_multicast, address.is_reserved, address.is_loopback))
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert is_public(mapped) == is_public(address)


@given(st.ip_addresses(v=6))
def test_every_allowed_ipv6_address_is_global(address: ipaddress.IPv6Address) -> None:
    if address.ipv4_mapped is not None or address in ipaddress.ip_network("64:ff9b::/96"):
        assert is_public(address) == is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    elif is_public(address):
        assert address.is_global
        assert not any((address.is_multicast, address.is_reserved, address.is_site_local))
        assert (address.sixtofour, address.teredo) == (None, None)


# --- resolving --------------------------------------------------------------------


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%eth0"],
        ["2606:4700::1111%2"],
        ["::ffff:10.0.0.1"],
        ["8.8.8.8", "10.0.0.1"],
        ["2606:4700::1111", "127.0.0.1"],
        ["0.0.0.0"],
        ["no address"],
    ],
    ids=" ".join,
)
def test_a_name_that_resolves_to_an_internal_address_is_refused(addresses: list[str]) -> None:
    with pytest.raises(AddressRefused):
        resolve("photos.example", 443, NOBODY, lambda host, port: addresses)


def test_a_name_is_resolved_once_and_only_those_addresses_are_connected() -> None:
    answers = [["8.8.8.8", "2606:4700::1111"], ["127.0.0.1"]]

    assert resolve("photos.example", 80, NOBODY, lambda host, port: answers.pop(0)) == (
        "8.8.8.8",
        "2606:4700::1111",
    )
    assert answers == [["127.0.0.1"]]


def test_a_name_without_an_address_is_a_network_error() -> None:
    with pytest.raises(OSError, match="no address"):
        resolve("photos.example", 80, NOBODY, lambda host, port: [])


# --- what an operator allows ------------------------------------------------------

ALLOWED = AllowedHosts.of(["127.0.0.1", "10.1.0.0/16", "photos.internal", "fd00:1::/32"])


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://127.0.0.1:9000/a", "127.0.0.1", 9000),
        ("http://10.1.200.3/", "10.1.200.3", 80),
        ("http://photos.internal:8080/", "photos.internal", 8080),
        ("http://PHOTOS.internal./", "photos.internal", 80),
        ("http://[fd00:1::5]:81/", "fd00:1::5", 81),
        ("http://[::ffff:10.1.0.1]/", "::ffff:a01:1", 80),
    ],
)
def test_an_allowed_host_is_allowed_on_any_port(url: str, host: str, port: int) -> None:
    target = parse_url(url, ALLOWED)

    assert (target.host, target.port) == (host, port)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.2/", "http://10.2.0.1/", "http://x.photos.internal/", "http://2130706433/"]
)
def test_similar_hosts_are_not_allowed(url: str) -> None:
    with pytest.raises(AddressRefused):
        parse_url(url, ALLOWED)


def test_an_allowed_name_may_resolve_anywhere_and_any_name_into_an_allowed_network() -> None:
    assert resolve("photos.internal", 9000, ALLOWED, lambda host, port: ["192.168.0.9"]) == ("192.168.0.9",)
    assert resolve("a.example", 9000, ALLOWED, lambda host, port: ["10.1.0.9"]) == ("10.1.0.9",)


def test_an_allowed_network_opens_no_ports_elsewhere() -> None:
    assert parse_url("http://a.example:6379/", ALLOWED).port == 6379
    with pytest.raises(AddressRefused):
        resolve("a.example", 6379, ALLOWED, lambda host, port: ["8.8.8.8"])


@pytest.mark.parametrize("word", ["10.0.0.1/8", "a b", "-", "http://a.example", "256.1.1.1", "127.1"])
def test_an_entry_that_is_neither_host_nor_network_is_refused(word: str) -> None:
    with pytest.raises(AddressRefused):
        AllowedHosts.of([word])
