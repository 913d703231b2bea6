"""The only place that reads the wall clock and makes random ids."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from uuid import UUID, uuid4


class SystemClock:
    """The machine's clock, in UTC."""

    def now(self) -> datetime:
        """The current time, timezone-aware."""
        return datetime.now(UTC)


class RandomIds:
    """Random version-4 UUIDs and secrets."""

    def new(self) -> UUID:
        """A new id."""
        return uuid4()

    def secret(self) -> str:
        """A new secret of 256 bits, URL-safe."""
        return secrets.token_urlsafe(32)
