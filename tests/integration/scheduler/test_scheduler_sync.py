"""The scheduler reads back from a real NATS server how it syncs, and refuses what is unsafe."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from scheduler_lab import WAIT_S

from lutlab_stack.nats import NatsServer, prepare_nats
from lutlab_stack.running import running

PROGRAM = Path(sys.executable).parent / "lutlab-scheduler"


@contextmanager
def nats_that_syncs(folder: Path, sync: str) -> Iterator[NatsServer]:
    server = prepare_nats(folder / f"nats-{uuid4().hex[:8]}")
    config = server.base / "nats.conf"
    text = config.read_text()
    assert "sync_interval: always" in text
    config.write_text(text.replace("sync_interval: always", f"sync_interval: {sync}"))
    with running(server, folder / "nats-sync.log"):
        yield server


def env_of(server: NatsServer, postgres_url: str, **more: str) -> dict[str, str]:
    own = {
        "LUTLAB_DATABASE_URL": postgres_url,
        "LUTLAB_NATS_URL": server.url,
        "LUTLAB_NATS_MONITOR_URL": server.monitor_url,
        "HTTP_PROXY": "http://127.0.0.1:9",  # for others: the way to NATS leads over no proxy
        "NO_PROXY": "",
    }
    return {**os.environ, **own, **more}


def says(log: Path, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while what not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.02)


def test_an_unsafe_server_is_refused_unless_told_otherwise(
    server_folder: Path, postgres_url: str, tmp_path: Path
) -> None:
    with nats_that_syncs(server_folder, '"2m"') as server:
        varz = httpx.get(f"{server.monitor_url}/varz").json()
        assert "sync_always" not in varz["jetstream"]["config"]
        refused = subprocess.run(
            [PROGRAM], env=env_of(server, postgres_url), capture_output=True, text=True, timeout=30, check=False
        )
        assert refused.returncode == 1
        assert "up to 120 s before they are on disk" in refused.stderr
        log = tmp_path / "allowed.log"
        with log.open("wb") as output:
            env = env_of(server, postgres_url, LUTLAB_ALLOW_UNSAFE_SYNC="true")
            allowed = subprocess.Popen([PROGRAM], env=env, stdout=output, stderr=output)
        try:
            says(log, "nats_link_up")
            assert "nats_sync_unsafe" in log.read_text()
        finally:
            allowed.terminate()
            allowed.wait(10)


def test_a_server_that_cannot_be_asked_is_refused(server_folder: Path, postgres_url: str) -> None:
    with nats_that_syncs(server_folder, "always") as server:
        env = env_of(server, postgres_url, LUTLAB_NATS_MONITOR_URL="")
        refused = subprocess.run([PROGRAM], env=env, capture_output=True, text=True, timeout=30, check=False)
        assert refused.returncode == 1
        assert "set LUTLAB_NATS_MONITOR_URL" in refused.stderr


@pytest.mark.parametrize("others", ["", ",http://127.0.0.1:1"])
def test_the_embedded_server_is_safe(server_folder: Path, postgres_url: str, tmp_path: Path, others: str) -> None:
    with nats_that_syncs(server_folder, "always") as server:
        env = env_of(server, postgres_url, LUTLAB_NATS_MONITOR_URL=server.monitor_url + others)
        log = tmp_path / "scheduler.log"
        with log.open("wb") as output:
            process = subprocess.Popen([PROGRAM], env=env, stdout=output, stderr=output)
        try:
            says(log, "nats_link_up")
            assert "nats_sync_read_back" in log.read_text()
            assert ("nats_sync_unread" in log.read_text()) == bool(others)
        finally:
            process.terminate()
            process.wait(10)
