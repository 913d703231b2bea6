"""Hosts by their names: which are this machine, and by which names a lab that asks for no keys may be asked."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

ANY = "*"
LOCALHOST = "localhost"


def is_this_machine(host: str) -> bool:
    """Whether nobody but this machine reaches what listens here."""
    if host == LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_be_asked_as(host: str, names: Collection[str]) -> bool:
    """Whether a `Host` header cannot be the doing of a page of another site.

    Such a page asks by its own site's name, which its owner lets lead here (DNS rebinding): its `Origin` fits then. An
    address, and what always is this machine, leads nowhere else.

    Args:
        host: the header, "" where there is none: browsers always send one.
        names: further names that are the lab's; `*`: all are.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if not host or ANY in names or name in names or name == LOCALHOST or name.endswith(f".{LOCALHOST}"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
