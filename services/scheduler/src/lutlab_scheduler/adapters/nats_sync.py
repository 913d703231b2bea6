"""Whether NATS has a message on disk before it says so: read back from the server itself, not believed.

A JetStream server syncs its files every `sync_interval`, two minutes by default, and acknowledges before. A command
that was acknowledged and is lost when the power fails is only a command that is not answered, and is sent again; but a
report of an agent or a builder would be gone. So anything but `sync_interval: always` is refused unless told otherwise.
"""

from __future__ import annotations

from typing import Any

import httpx
import structlog

from lutlab_scheduler.app.ports import BusUnavailable, SchedulerError

log = structlog.get_logger(__name__)

TIMEOUT_S = 2.0
NANOS_PER_S = 1_000_000_000


class UnsafeSync(SchedulerError):
    """A NATS server acknowledges messages before they are on disk."""

    code = "unsafe_sync"


async def check_sync(monitor_urls: str, *, allow_unsafe: bool) -> None:
    """Ask every server's monitoring port (`/varz`) how it syncs.

    Args:
        monitor_urls: `http://host:port`, several separated by commas; empty if there is none to ask.
        allow_unsafe: only warn.

    Raises:
        UnsafeSync: a server does not sync before it acknowledges.
        BusUnavailable: a monitoring port does not answer (yet).
    """
    urls = [url.strip().rstrip("/") for url in monitor_urls.split(",") if url.strip()]
    if not urls:
        log.warning("nats_sync_unchecked", way_out="set LUTLAB_NATS_MONITOR_URL to NATS' monitoring port")
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
        for url in urls:
            problem = unsafe(url, await _variables(http, url))
            if problem is None:
                log.info("nats_sync_read_back", server=url, sync="always")
            elif allow_unsafe:
                log.warning("nats_sync_unsafe", server=url, problem=problem)
            else:
                raise UnsafeSync(problem)


async def _variables(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = (await http.get(f"{url}/varz")).raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        raise BusUnavailable(f"NATS' monitoring port {url} (LUTLAB_NATS_MONITOR_URL): {error!r}") from error
    return found


def unsafe(url: str, variables: dict[str, Any]) -> str | None:
    """Why a server's settings are unsafe, None if they are safe. `variables` is what `/varz` answers."""
    config = (variables.get("jetstream") or {}).get("config") or {}
    if config.get("sync_always") is True:
        return None
    interval_s = config.get("sync_interval", 0) / NANOS_PER_S
    return (
        f"NATS at {url} acknowledges messages up to {interval_s:g} s before they are on disk: set `sync_interval: "
        "always` in its jetstream block, or LUTLAB_ALLOW_UNSAFE_SYNC=true to go on all the same"
    )
