"""News from the log by NATS, behind the port `Changes`: one subscription a process, whoever waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from lutlab_events import subjects

PENDING_MAX = 65_536
ALL = "*"
"""Stands for every stream among the watchers."""


class NatsChanges:
    """Wakes whoever watches a stream. While NATS is away nobody is woken; waiting callers look again by themselves."""

    def __init__(self, *, site: str) -> None:
        self.on_key: Callable[[], None] = lambda: None
        """Called when anything happened to an API key: issued, rotated or revoked, by whichever process."""
        self._prefix = f"evt.{subjects.token(site)}."
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    async def subscribe(self, client: Client) -> None:
        """Listen on a connection; it goes on after it was interrupted."""
        with contextlib.suppress(nats.errors.Error):
            await client.subscribe(f"{self._prefix}>", cb=self._on_event, pending_msgs_limit=PENDING_MAX)

    async def _on_event(self, message: Msg) -> None:
        aggregate, _, rest = message.subject.removeprefix(self._prefix).partition(".")
        if aggregate == "key":
            self.on_key()
        for watcher in self._watchers.get(ALL, ()):
            watcher.set()
        for watcher in self._watchers.get(f"{aggregate}-{rest.partition('.')[0]}", ()):
            watcher.set()

    def watch_all(self) -> AbstractContextManager[asyncio.Event]:
        """An event that is set whenever anything happened."""
        return self.watch(ALL)

    @contextmanager
    def watch(self, stream: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happened on a stream."""
        watcher = asyncio.Event()
        self._watchers[stream].add(watcher)
        try:
            yield watcher
        finally:
            self._watchers[stream].discard(watcher)
            if not self._watchers[stream]:
                del self._watchers[stream]
