"""Which lab, and with which key: arguments, then the environment, then a lab running on this machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from lutlab.errors import NotConfigured
from lutlab_stack.layout import Layout, default_data_dir


@dataclass(frozen=True)
class Endpoint:
    """A lab's base URL without a slash at its end, and a key for it, if any."""

    api_url: str
    api_key: str | None = None


def resolve(api_url: str | None = None, api_key: str | None = None, *, data_dir: Path | None = None) -> Endpoint:
    """The lab to talk to.

    A key from a running lab's ready file is only used with that lab's own URL.

    Args:
        api_url, api_key: as given by the caller; otherwise `$LUTLAB_API_URL` and `$LUTLAB_API_KEY` count, then the
            ready file of a lab that `lutlab up` runs.
        data_dir: of that lab; None for the default one.

    Raises:
        NotConfigured: no URL is known.
    """
    url = api_url or os.environ.get("LUTLAB_API_URL")
    key = api_key or os.environ.get("LUTLAB_API_KEY")
    running = running_lab(data_dir or default_data_dir())
    if url is None:
        if running is None:
            raise NotConfigured(
                "which lab? Start one with `lutlab up`, or give --api-url (or LUTLAB_API_URL), and --api-key "
                "(or LUTLAB_API_KEY)"
            )
        url = running.api_url
    url = url.rstrip("/")
    if key is None and running is not None and running.api_url == url:
        key = running.api_key
    return Endpoint(url, key)


def running_lab(data_dir: Path) -> Endpoint | None:
    """The lab running from this data directory, as its ready file says; None if there is none we may read."""
    try:
        content = json.loads(Layout(data_dir).ready.read_text(encoding="utf-8"))
        return Endpoint(str(content["api_url"]), str(content["api_key"]))
    except (OSError, ValueError, KeyError):
        return None
