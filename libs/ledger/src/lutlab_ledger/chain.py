"""The hash chain over the event log: each row's hash covers the row and the hash before it, so that no row can be
changed, removed or slipped in without every later hash being wrong."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii as _quoted
from uuid import UUID

import msgspec

GENESIS = bytes(32)
"""The hash before the first event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


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
    """A row as it is hashed: a JSON array of its columns in table order, `at` in microseconds since 1970.

    There is no white space between them, and every character that is not printable ASCII is escaped.
    """
    return (
        f'[{row.position},"{row.event_id}",{_quoted(row.stream)},{row.version},{_quoted(row.type)},{_quoted(row.data)},'
        f'"{row.causation_id}","{row.correlation_id}",{_quoted(row.actor)},{_quoted(row.site)},'
        f"{(row.at - _EPOCH) // _MICROSECOND}]"
    ).encode()


def chain_hash(previous: bytes, row: LogRow) -> bytes:
    """SHA-256 over the previous row's hash and this row; 32 bytes."""
    return hashlib.sha256(previous + canonical(row)).digest()
