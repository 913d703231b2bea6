"""What NATS says of how it syncs, as `/varz` of nats-server 2.12 answers it."""

from __future__ import annotations

import pytest

from lutlab_scheduler.adapters.nats_sync import unsafe

BASE = {"max_memory": 1, "store_dir": "/data", "strict": True}


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (BASE | {"sync_interval": 120_000_000_000, "sync_always": True}, None),
        (BASE | {"sync_interval": 120_000_000_000}, "up to 120 s"),
        (BASE | {"sync_interval": 500_000_000, "sync_always": False}, "up to 0.5 s"),
        ({}, "sync_interval: always"),
    ],
)
def test_only_always_is_safe(config: dict[str, object], says: str | None) -> None:
    problem = unsafe("http://nats:8222", {"jetstream": {"config": config}})
    assert (problem is None) == (says is None)
    assert says is None or (problem is not None and says in problem and "http://nats:8222" in problem)


def test_a_server_without_jetstream_is_not_safe() -> None:
    assert unsafe("http://nats:8222", {}) is not None
