"""`lutlab-webhooks`: delivers what happened to subscribers. The only place that constructs adapters.

Several may run on one database: one delivers, the others stand by.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import structlog
import uvloop

from lutlab_hooks.addresses import networks
from lutlab_hooks.secrets import Vault
from lutlab_transport.clock import RandomIds, SystemClock
from lutlab_transport.ending import until_signal
from lutlab_transport.logging import setup_logging
from lutlab_transport.settings import explained, read
from lutlab_webhooks.adapters.http import HttpSender
from lutlab_webhooks.adapters.metrics import serve_attempts
from lutlab_webhooks.adapters.nats_link import NatsLink
from lutlab_webhooks.adapters.postgres import PostgresStore, leading
from lutlab_webhooks.app.delivery import Courier
from lutlab_webhooks.app.ports import StoreUnavailable
from lutlab_webhooks.settings import Settings

log = structlog.get_logger(__name__)

POLL_S = 0.5
RETRY_S = 1.0
FORGET_EVERY_S = 3600.0
GRACE_S = 3.0
"""How long attempts under way may take to end when the service is stopped."""


async def serve(settings: Settings) -> None:
    """Deliver until cancelled."""
    clock, ids = SystemClock(), RandomIds()
    token = settings.nats_token.get_secret_value() if settings.nats_token else None
    link = NatsLink(
        settings.nats_url, site=settings.site, clock=clock, ids=ids, seed_file=settings.nats_nkey_seed_file, token=token
    )
    attempted: Counter[str] = Counter()
    serve_attempts(attempted, settings.webhooks_metrics_port)
    while True:
        try:
            async with leading(settings.database_url) as store:
                courier = Courier(
                    store=store,
                    sender=HttpSender(networks(settings.webhooks_allow_networks)),
                    disabler=link,
                    vault=Vault(settings.webhooks_key.get_secret_value()),
                    clock=clock,
                    jitter=random.random,
                    disable_after=timedelta(hours=settings.webhooks_disable_after_h),
                    attempted=attempted,
                )
                await _deliver(courier, store, link, settings)
        except StoreUnavailable as error:
            log.warning("store_awaited", reason=str(error), retry_in_s=RETRY_S)
        await asyncio.sleep(RETRY_S)


async def _deliver(courier: Courier, store: PostgresStore, link: NatsLink, settings: Settings) -> None:
    log.info("delivering")
    waking = asyncio.create_task(link.run(courier.woken))
    loop, forgotten_at = asyncio.get_running_loop(), 0.0
    try:
        while True:
            if waking.done():
                waking.result()  # raises: it does not end by itself
            courier.woken.clear()
            await courier.tick()
            if loop.time() - forgotten_at > FORGET_EVERY_S or not forgotten_at:
                forgotten_at = loop.time()
                await store.forget(SystemClock().now() - timedelta(days=settings.webhooks_keep_days))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(courier.woken.wait(), POLL_S)
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(courier.idle(), GRACE_S)
        await courier.stop()
        waking.cancel()
        await asyncio.gather(waking, return_exceptions=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and deliver until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="lutlab-webhooks",
        description="Delivers what happened to the lab's subscribers. Several may run on one\n"
        "database: one delivers, the others stand by.",
        epilog=explained(Settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    settings = read(Settings, "lutlab-webhooks")
    try:
        networks(settings.webhooks_allow_networks)
    except ValueError as error:
        sys.exit(f"lutlab-webhooks: LUTLAB_WEBHOOKS_ALLOW_NETWORKS: {error}")
    setup_logging("webhooks", level=settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(until_signal(serve(settings)))


if __name__ == "__main__":
    main()
