"""Which lab, and with which key: arguments, the environment, a lab running on this machine, then what was stored."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec

from lutlab.errors import NotConfigured
from lutlab_stack.files import write_atomically
from lutlab_stack.layout import Layout, default_data_dir, home

SCHEMES = ("http", "https")
LOCALHOST = "localhost"
HERE = "the lab that runs here"


@dataclass(frozen=True)
class Endpoint:
    """A lab's base URL without a slash at its end, and a key for it, if any; printing one does not show the key.

    Attributes:
        url_from, key_from: who named them, for a person.
    """

    api_url: str
    api_key: str | None = field(default=None, repr=False)
    url_from: str = field(default="", compare=False)
    key_from: str = field(default="", compare=False)

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"X-API-Key": self.api_key} if self.api_key else {}

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine: then no proxy is asked, which would look for it on its own."""
        return is_loopback(httpx.URL(self.api_url).host)

    def http(self, *, timeout_s: float, transport: httpx.BaseTransport | None = None) -> httpx.Client:
        """HTTP to it. Raises: NotConfigured: the proxy that the environment names cannot be used."""
        try:
            return httpx.Client(
                base_url=self.api_url,
                headers=self.headers,
                timeout=timeout_s,
                transport=transport,
                trust_env=not self.is_here,
            )
        except (ImportError, ValueError) as error:  # what httpx says of SOCKS without its package, and of other schemes
            raise NotConfigured(
                f"the proxy that the environment names for {self.api_url} cannot be used ({error}): "
                "name another one, or add the lab to NO_PROXY"
            ) from error


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What `lutlab config set` keeps: the lab to use where nothing else names one, and keys by the lab they are for."""

    api_url: str | None = None
    tokens: dict[str, str] = {}


def is_loopback(host: str) -> bool:
    """Whether this address or name can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == LOCALHOST


def resolve(api_url: str | None = None, api_key: str | None = None, *, data_dir: Path | None = None) -> Endpoint:
    """The lab to talk to.

    A key from a running lab's ready file, or a stored one, is only used with the URL it belongs to.

    Args:
        api_url, api_key: as given by the caller; otherwise `$LUTLAB_API_URL` and `$LUTLAB_API_KEY` count, then the
            ready file of a lab that `lutlab up` runs, then what `lutlab config set` stored.
        data_dir: of that lab; None for the default one.

    Raises:
        NotConfigured: no URL is known, or it is none, or the key has characters that no key has.
    """
    running = running_lab(data_dir or default_data_dir())
    kept = stored()
    url, url_from = _first(
        (api_url, "given"),
        (os.environ.get("LUTLAB_API_URL"), "LUTLAB_API_URL"),
        (None if running is None else running.api_url, HERE),
        (kept.api_url, str(stored_path())),
    )
    if url is None:
        was_here = Layout(data_dir or default_data_dir()).ready.exists()
        raise NotConfigured(
            f"{'the lab that ran here was killed.' if was_here else 'which lab?'} Start one with `lutlab up`, "
            "or give --api-url (or LUTLAB_API_URL), and --api-key (or LUTLAB_API_KEY)"
        )
    url = base_url(url)
    key, key_from = _first(
        (api_key, "given"),
        (os.environ.get("LUTLAB_API_KEY"), "LUTLAB_API_KEY"),
        (kept.tokens.get(url), str(stored_path())),
        (running.api_key if running is not None and running.api_url == url else None, HERE),
    )
    return Endpoint(url, None if key is None else _plain(key), url_from, key_from)


def _first(*found: tuple[str | None, str]) -> tuple[str | None, str]:
    """The first value that is one, and where it is from."""
    return next(((value, source) for value, source in found if value), (None, ""))


def base_url(text: str) -> str:
    """A lab's URL without a slash at its end. Raises: NotConfigured."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise NotConfigured(f"{text!r} is no lab's URL: {error}") from error
    if url.scheme not in SCHEMES or not url.host:
        raise NotConfigured(f"{text!r} is no lab's URL: write it with http:// or https:// in front")
    return f"{url.scheme}{text[len(url.scheme) :]}".rstrip("/")


def _plain(key: str) -> str:
    """A key as a header can carry it. Raises: NotConfigured, without showing it."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise NotConfigured("this API key has characters that no key has: copy it again (--api-key, LUTLAB_API_KEY)")
    return key


def ready(data_dir: Path) -> Mapping[str, Any] | None:
    """What the lab running from this data directory says of itself; None if there is none we may read.

    A lab that was killed, or lost its power, leaves its file behind; it is not believed.
    """
    layout = Layout(data_dir)
    try:
        content = json.loads(layout.ready.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and not _is_dead(layout.lock) else None


def _is_dead(lock: Path) -> bool:
    """Whether the process that wrote its number here has ended without taking it away."""
    try:
        os.kill(int(lock.read_text(encoding="ascii")), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, OverflowError):  # somebody else's process, or nothing to tell by
        return False
    return False


def running_lab(data_dir: Path) -> Endpoint | None:
    """The lab running from this data directory; None if there is none we may read."""
    content = ready(data_dir) or {}
    try:
        return Endpoint(str(content["api_url"]), str(content["api_key"]))
    except KeyError:
        return None


def stored_path() -> Path:
    """`lutlab/client.json` in the user's configuration folder."""
    given = os.environ.get("XDG_CONFIG_HOME")
    return (Path(given) if given else home() / ".config") / "lutlab" / "client.json"


def stored() -> Stored:
    """What was stored; nothing if there is no such file. Raises: NotConfigured: it cannot be read."""
    path = stored_path()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Stored)
    except OSError:
        return Stored()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotConfigured(f"{path} cannot be read ({error}): mend it, or delete it") from error


def store(content: Stored) -> Path:
    """Keep it, readable by its owner only. Returns: where."""
    path = stored_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n", mode=0o600)
    return path
