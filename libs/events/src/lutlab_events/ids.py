"""Deterministic ids: the same cause always gives the same id, so that a repeated effect is recognised."""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid5

NAMESPACE = UUID("6d6f2a1e-6d0c-5a55-9b3a-1c7a5f1b2e01")


def event_id(command_id: UUID, index: int) -> UUID:
    """The id of the `index`-th event (from 0) of a command."""
    return uuid5(command_id, str(index))


def derived(*parts: object) -> UUID:
    """An id from its causes, e.g. `derived("expire", session_id, expires_at.isoformat())`."""
    return uuid5(NAMESPACE, "\x1f".join(str(p) for p in parts))


OWN_VERSION = 8
"""Of a UUID that a command of the scheduler to itself has; RFC 9562 leaves these to whoever makes them."""


def own_command_id(ident: UUID) -> UUID:
    """The id of a command that the scheduler gives itself, from an id that its cause decides.

    What a cause decides can be foreseen. If anybody could send a command under such an id, the scheduler's own would be
    taken for its repetition and never be carried out.
    """
    return UUID(int=ident.int & ~(0xF << 76) | OWN_VERSION << 76)


def command_id_for_key(owner: str, idempotency_key: str) -> UUID:
    """The command id of a client's Idempotency-Key, private to the owner."""
    return derived("idempotency", owner, idempotency_key)


def digest(data: bytes | memoryview) -> str:
    """SHA-256 as 64 hexadecimal digits: the name of a blob."""
    return hashlib.sha256(data).hexdigest()


def board_stream(fpga_id: int) -> str:
    """The stream of a board."""
    return f"board-{fpga_id}"


def job_stream(job_id: UUID) -> str:
    """The stream of a job."""
    return f"job-{job_id}"


def agent_stream(agent_id: str) -> str:
    """The stream of an agent."""
    return f"agent-{agent_id}"


def key_stream(key_id: UUID) -> str:
    """The stream of an API key."""
    return f"key-{key_id}"


def profile_stream(profile: str) -> str:
    """The stream of a device profile."""
    return f"profile-{profile}"
