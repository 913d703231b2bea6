"""Connections that hold an advisory lock, by which one process of many does something."""

from __future__ import annotations

KEEPALIVES = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
"""Server settings for such a connection: Postgres gives the lock to another process about 11 s after the holder's host
vanished, and not after two hours. A process that only died loses it at once."""
