"""A lab in memory behind the API's ports: views to set, commands to look at, a design that answers.

The fakes are in a file for each port; tests have them from here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from api_audit import FakeAudit
from api_bus import ERROR_FRAME, PINS, STATS, WAY, FakeBus
from api_commands import FakeCommands
from api_hooks import FakeHooks, FakeLogSource
from api_shared import FakeChanges, FakeMessaging, FakeShared, FakeStorage
from api_verification import FakeVerification
from api_views import ADA, BOB, ROOT, SESSION, T0, FakeLedger, board, job, reserved, session

from lutlab_api.adapters.checker import ConfigChecker
from lutlab_api.app.ports import IdentityProvider
from lutlab_api.settings import Settings
from lutlab_api.web.application import create_app
from lutlab_api.web.routes_live import tell
from lutlab_api.web.services import Ports, wire
from lutlab_events.values import Role

__all__ = [
    "ADA",
    "BOB",
    "ERROR_FRAME",
    "PINS",
    "ROOT",
    "SESSION",
    "STATS",
    "T0",
    "WAY",
    "FakeBus",
    "FakeChanges",
    "FakeClock",
    "FakeIds",
    "FakeShared",
    "Lab",
    "board",
    "error_of",
    "job",
    "reserved",
    "session",
]


@dataclass
class FakeClock:
    """A clock that stands still."""

    at: datetime = T0 + timedelta(minutes=1)
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.at

    def __call__(self) -> float:
        return self.seconds


@dataclass
class FakeIds:
    """Ids that count."""

    count: int = 0

    def new(self) -> UUID:
        self.count += 1
        return UUID(int=self.count << 64)

    def secret(self) -> str:
        self.count += 1
        return f"secret-{self.count}"


class Lab:
    """A lab in memory with the real application in front of it."""

    def __init__(self, identities: IdentityProvider | None = None, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.shared = FakeShared()
        self.changes = FakeChanges()
        self.hooks = FakeHooks()
        self.log_source = FakeLogSource()
        self.ledger = FakeLedger()
        self.verification = FakeVerification()
        self.commands = FakeCommands(self.ledger, self.verification)
        self.bus = FakeBus()
        self.messaging = FakeMessaging()
        self.audit = FakeAudit()
        self.storage = FakeStorage()
        self.clock = FakeClock()
        self.ids = FakeIds()
        self.ledger.add_key(ADA, "ada")
        self.ledger.add_key(BOB, "bob")
        self.ledger.add_key(ROOT, "root", Role.ADMIN)
        ports = Ports(
            ledger=self.ledger,
            blobs=self.ledger,
            commands=self.commands,
            bus=self.bus,
            messaging=self.messaging,
            clock=self.clock,
            ids=self.ids,
            monotonic=self.clock,
            audit_log=self.audit,
            post=self.audit,
            queues=self.audit,
            shared=self.shared,
            changes=self.changes,
            hooks=self.hooks,
            log_source=self.log_source,
            storage=self.storage,
            verification=self.verification,
            checker=ConfigChecker(),
            live=self.verification,
            identities=identities,
        )
        self.services = wire(self.settings, ports, tell)
        self.app = create_app(self.services, self.ids)

    @asynccontextmanager
    async def client(self, key: str | None = ADA, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        if key is not None:
            headers["X-API-Key"] = key
        async with httpx.AsyncClient(transport=transport, base_url="http://lab", headers=headers) as client:
            yield client

    def last(self, kind: type) -> Any:
        """The body of the newest command of this class."""
        return next(sent.body for sent in reversed(self.commands.sent) if isinstance(sent.body, kind))


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    """Status, code and message; checks the form of the body, which is another one under /api/v1."""
    body = response.json()
    if response.request.url.path.startswith("/api/v1/"):
        error = body["error"]
        assert set(body) == {"error"}
        assert set(error) == {"code", "message", "details"}
        assert error["message"]
        return response.status_code, error["code"], error["message"]
    detail = body["detail"]
    assert set(body) == {"detail"}
    assert set(detail) <= {"error", "message", "job_id"}
    assert detail["message"]
    return response.status_code, detail["error"], detail["message"]
