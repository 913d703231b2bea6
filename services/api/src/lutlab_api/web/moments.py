"""Moments as the ledger takes them: Postgres refuses offsets of 16 hours and more, which ISO 8601 allows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC. Raises: ValueError."""
    if moment.tzinfo is None:
        raise ValueError("it has no zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("it lies beyond the years 1 to 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""A field of a request; it must name its zone."""
