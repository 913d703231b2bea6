"""The same work done by the `eventsourcing` library: durable appends by many clients, replay with decode and fold."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlsplit

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event


class Key(Aggregate):
    """About as much as one of our events carries."""

    def __init__(self, owner: str, label: str, digest: str) -> None:
        self.owner, self.label, self.digest = owner, label, digest
        self.changes = 0

    @event("Changed")
    def change(self, label: str, digest: str) -> None:
        """One event."""
        self.label, self.digest = label, digest
        self.changes += 1


class Peer:
    """An application of the library on a database of its own."""

    def __init__(self, url: str, clients: int) -> None:
        parts = urlsplit(url)
        self.app = Application[Any](
            env={
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                "POSTGRES_DBNAME": parts.path.lstrip("/"),
                "POSTGRES_HOST": parts.hostname or "127.0.0.1",
                "POSTGRES_PORT": str(parts.port or 5432),
                "POSTGRES_USER": unquote(parts.username or "postgres"),
                "POSTGRES_PASSWORD": unquote(parts.password or ""),
                "POSTGRES_POOL_SIZE": str(clients),
                "POSTGRES_MAX_OVERFLOW": "4",
            }
        )

    def append(self, clients: int, seconds: float) -> float:
        """Durable commands a second: each client saves one event after another of an aggregate of its own."""

        def client(number: int) -> int:
            key, count = Key(f"owner{number}", "label", "0" * 64), 0
            self.app.save(key)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                key.change(f"label{count}", f"{count:064x}")
                self.app.save(key)
                count += 1
            return count

        began = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            total = sum(pool.map(client, range(clients)))
        return total / (time.perf_counter() - began)

    def fill(self, count: int) -> int:
        """Write events, 15 an aggregate, for `replay`; how many."""
        keys, total = [], 0
        for number in range(count // 15 + 1):
            key = Key(f"owner{number}", "label", "0" * 64)
            for change in range(14):
                key.change(f"label{change}", f"{change:064x}")
            keys.append(key)
            total += 15
            if len(keys) == 200:
                self.app.save(*keys)
                keys.clear()
        self.app.save(*keys)
        return total

    def replay(self) -> tuple[float, float]:
        """Decoded and folded events a second: by the clock, and by this process's processor time."""
        began, cpu, count, start = time.perf_counter(), time.process_time(), 0, None
        states: dict[Any, Any] = {}
        mapper = self.app.mapper
        while True:
            notes = self.app.recorder.select_notifications(start, 5000, inclusive_of_start=False)
            if not notes:
                break
            for note in notes:
                happened = mapper.to_domain_event(note)
                states[note.originator_id] = happened.mutate(states.get(note.originator_id))
            count += len(notes)
            start = notes[-1].id
        return count / (time.perf_counter() - began), count / (time.process_time() - cpu)

    def close(self) -> None:
        """Give the connections back."""
        self.app.close()
