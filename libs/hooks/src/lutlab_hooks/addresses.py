"""Which addresses a subscriber may be at: public ones, and networks the operator allows. Everything else is refused, so
that nobody makes the lab call its own insides."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

URL_CHARS_MAX = 2048
METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Clouds' own services at addresses that look public; the usual 169.254.169.254 is link-local and refused anyway."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")
UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is global; Python takes the rest for global too, where it knows no use of it: site-local addresses,
and those of a network's own translation to IPv4 (RFC 8215)."""


class UrlRefused(ValueError):
    """An URL or address that is not called; the message says why."""

    code = "url_refused"


def networks(text: str) -> tuple[Network, ...]:
    """Networks from `10.0.0.0/8, fd00::/8`. Raises: ValueError naming the wrong one."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def _inner(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that maps, translates or tunnels to it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def check_address(text: str, allowed: Iterable[Network] = ()) -> Address:
    """The address, if it may be called; its inner IPv4 address decides. Raises: UrlRefused."""
    try:
        outer = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise UrlRefused(f"{text!r} is not an IP address") from None
    address = _inner(outer)
    if any(address.version == network.version and address in network for network in allowed):
        return outer
    is_global = address.is_global and (address.version == 4 or address in UNICAST)
    if address in METADATA or address.is_multicast or not is_global:
        raise UrlRefused(
            f"{text} is not a public address (private, loopback, link-local, metadata or reserved); an operator can "
            "allow its network with LUTLAB_WEBHOOKS_ALLOW_NETWORKS"
        )
    return outer


def check_url(url: str, allowed: Iterable[Network] = ()) -> str:
    """The URL as it is called, if it may be; names are resolved and checked again at each delivery.

    Raises:
        UrlRefused: it is no http(s) URL, carries a user or a fragment, or names an address that is not called.
    """
    if len(url) > URL_CHARS_MAX or not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise UrlRefused(f"an URL has at most {URL_CHARS_MAX} visible ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlRefused(f"{url[:80]!r} is no URL: {error}") from None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise UrlRefused(f"{url[:80]!r} must be like https://your-server.com/events")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise UrlRefused("an URL must have no user, password or fragment; verify the signature instead")
    if host == "localhost" or host.endswith(".localhost"):
        check_address("127.0.0.1", allowed)
    elif _looks_numeric(host):
        check_address(host, allowed)
    return url


def _looks_numeric(host: str) -> bool:
    """Whether a host is an address, or one of the odd spellings (`0x7f.1`) that only resolvers take for one."""
    last = host.rpartition(".")[2]
    return ":" in host or last.isdigit() or last.startswith("0x")
