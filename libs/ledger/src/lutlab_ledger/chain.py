"""The hash chain over the event log: each row's hash covers the row and the hash before it, so that no row can be
changed, removed or slipped in without every later hash being wrong."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

GENESIS = bytes(32)
"""The hash before the first event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `events` as it is hashed: every column but the hash. `data` is the stored JSON text, byte for byte."""

    position: int
    event_id: UUID
    stream: str
    version: int
    type: str
    data: str
    causation_id: UUID
    correlation_id: UUID
    actor: str
    site: str
    at: datetime


def canonical(row: LogRow) -> bytes:
    """A row as it is hashed: a JSON array of its columns in table order, `at` in microseconds since 1970."""
    columns = [
        row.position,
        str(row.event_id),
        row.stream,
        row.version,
        row.type,
        row.data,
        str(row.causation_id),
        str(row.correlation_id),
        row.actor,
        row.site,
        (row.at - _EPOCH) // timedelta(microseconds=1),
    ]
    return json.dumps(columns, ensure_ascii=True, separators=(",", ":")).encode()


def chain_hash(previous: bytes, row: LogRow) -> bytes:
    """SHA-256 over the previous row's hash and this row; 32 bytes."""
    return hashlib.sha256(previous + canonical(row)).digest()
