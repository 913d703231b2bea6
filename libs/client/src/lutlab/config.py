"""Which lab, and with which key: arguments, the environment, a lab running on this machine, then what was stored."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lutlab.errors import NotConfigured
from lutlab_stack.files import write_atomically
from lutlab_stack.layout import Layout, default_data_dir

SCHEMES = ("http://", "https://")


@dataclass(frozen=True)
class Endpoint:
    """A lab's base URL without a slash at its end, and a key for it, if any."""

    api_url: str
    api_key: str | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What `lutlab config set` keeps: the lab to use where nothing else names one, and keys by the lab they are for."""

    api_url: str | None = None
    tokens: dict[str, str] = {}


def resolve(api_url: str | None = None, api_key: str | None = None, *, data_dir: Path | None = None) -> Endpoint:
    """The lab to talk to.

    A key from a running lab's ready file, or a stored one, is only used with the URL it belongs to.

    Args:
        api_url, api_key: as given by the caller; otherwise `$LUTLAB_API_URL` and `$LUTLAB_API_KEY` count, then the
            ready file of a lab that `lutlab up` runs, then what `lutlab config set` stored.
        data_dir: of that lab; None for the default one.

    Raises:
        NotConfigured: no URL is known, or it is none.
    """
    url = api_url or os.environ.get("LUTLAB_API_URL")
    key = api_key or os.environ.get("LUTLAB_API_KEY")
    running = running_lab(data_dir or default_data_dir())
    kept = stored()
    if url is None:
        url = running.api_url if running is not None else kept.api_url
    if url is None:
        raise NotConfigured(
            "which lab? Start one with `lutlab up`, or give --api-url (or LUTLAB_API_URL), and --api-key "
            "(or LUTLAB_API_KEY)"
        )
    url = base_url(url)
    if key is None:
        key = kept.tokens.get(url)
    if key is None and running is not None and running.api_url == url:
        key = running.api_key
    return Endpoint(url, key)


def base_url(text: str) -> str:
    """A lab's URL without a slash at its end. Raises: NotConfigured."""
    if not text.lower().startswith(SCHEMES):
        raise NotConfigured(f"{text!r} is no lab's URL: write it with http:// or https:// in front")
    return text.rstrip("/")


def running_lab(data_dir: Path) -> Endpoint | None:
    """The lab running from this data directory, as its ready file says; None if there is none we may read."""
    try:
        content = json.loads(Layout(data_dir).ready.read_text(encoding="utf-8"))
        return Endpoint(str(content["api_url"]), str(content["api_key"]))
    except (OSError, ValueError, KeyError):
        return None


def stored_path() -> Path:
    """`lutlab/client.json` in the user's configuration folder."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "lutlab" / "client.json"


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
