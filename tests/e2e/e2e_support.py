"""What end-to-end tests share: `lutlab up` as a person starts it, driven over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
UP_TIMEOUT_S = 240.0
"""The first `up` on a machine also warms the tool caches."""
STOP_TIMEOUT_S = 40.0
JOB_TIMEOUT_S = 150.0
SHORT_LIMITS = {"LUTLAB_BUILDER_ELABORATE_WALL_S": "8"}
"""A design that never ends should not hold up the tests for the two minutes it may take in earnest."""


T = TypeVar("T")


def eventually(what: str, probe: Callable[[], T | None], timeout_s: float = 30.0, every_s: float = 0.1) -> T:
    """The first truthy answer of `probe`; fails naming `what` if none comes in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(every_s)


@dataclass
class Stack:
    """A running `lutlab up`.

    Attributes:
        ready: the ready file's content when it came up.
    """

    data_dir: Path
    options: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    ready: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def ready_file(self) -> Path:
        return self.data_dir.with_suffix(".ready.json")

    def start(self) -> Stack:
        self.ready_file.unlink(missing_ok=True)
        output = self.data_dir.with_suffix(".out").open("ab")
        command = [BIN / "lutlab", "up", "--port", "0", "--data-dir", self.data_dir, "--ready-file", self.ready_file]
        self.process = subprocess.Popen(
            [*map(str, command), *self.options],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, **SHORT_LIMITS, **self.env},
        )
        output.close()
        self.ready = eventually("the stack being ready", self._read_ready, UP_TIMEOUT_S)
        return self

    def _read_ready(self) -> dict[str, Any] | None:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"`lutlab up` ended with {self.process.returncode}:\n{self.output()[-4000:]}")
        return json.loads(self.ready_file.read_text()) if self.ready_file.exists() else None

    def output(self) -> str:
        return self.data_dir.with_suffix(".out").read_text(errors="replace")

    def pids(self) -> dict[str, int]:
        """Process ids by name as of now; the file is rewritten when a child is restarted."""
        pids: dict[str, int] = json.loads(self.ready_file.read_text())["pids"]
        return pids

    def kill(self, name: str) -> None:
        """`kill -9` one process and wait until the supervisor has started it again."""
        old = self.pids()[name]
        os.kill(old, signal.SIGKILL)
        eventually(f"restart of {name}", lambda: self.pids().get(name, old) != old, 30)

    def stop(self, how: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"`lutlab up` did not stop within {STOP_TIMEOUT_S:g} s:\n{self.output()[-4000:]}")

    def client(self, key: str | None = "") -> httpx.Client:
        """An HTTP client; "" stands for the stack's own admin key, None for no key."""
        headers = {} if key is None else {"X-API-Key": key or self.ready["api_key"]}
        return httpx.Client(base_url=self.ready["api_url"], headers=headers, timeout=30)

    def member(self, owner: str) -> httpx.Client:
        """A client with a fresh key of an ordinary owner."""
        with self.client() as admin:
            answer = admin.post("/auth/keys", json={"owner": owner})
            assert answer.status_code in {200, 201}, answer.text
            return self.client(answer.json()["api_key"])


def up(data_dir: Path, *options: str) -> Stack:
    """Start a stack of its own."""
    return Stack(data_dir=data_dir, options=list(options)).start()


@contextlib.contextmanager
def running(data_dir: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Stack]:
    """A stack that is stopped at the end, whatever happens."""
    stack = Stack(data_dir=data_dir, options=list(options), env=env or {})
    try:
        yield stack.start()
    finally:
        if stack.process is not None and stack.process.poll() is None:
            stack.stop()


def release_all(client: httpx.Client) -> None:
    """Bring every board back to idle."""
    for job in client.get("/jobs").json():
        if job["status"] in {"queued", "running"}:
            client.delete(f"/jobs/{job['job_id']}")
    for board in client.get("/fpga").json():
        if board["state"] == "reserved":
            client.post(f"/fpga/{board['fpga_id']}/session/release")

    def all_idle() -> bool:
        boards = client.get("/fpga").json()
        for board in boards:
            if board["state"] == "error" and board["online"]:
                client.post(f"/fpga/{board['fpga_id']}/reset")
        return all(b["state"] == "idle" for b in boards)

    eventually("all boards being idle", all_idle, 60)


def submit(client: httpx.Client, path: Path | tuple[str, bytes], route: str = "/submit", **form: str) -> str:
    """Submit a design and return its job id."""
    name, data = path if isinstance(path, tuple) else (path.name, path.read_bytes())
    answer = client.post(route, files={"file": (name, data)}, data=form)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def wait_job(client: httpx.Client, job_id: str, timeout_s: float = JOB_TIMEOUT_S) -> dict[str, Any]:
    """The job once it has ended."""

    def ended() -> dict[str, Any] | None:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
        return job if job["status"] in {"complete", "failed", "cancelled"} else None

    return eventually(f"the end of job {job_id}", ended, timeout_s)


def reserve(client: httpx.Client, path: Path, **form: str) -> int:
    """Submit a design, wait until it runs, and return the board."""
    job = wait_job(client, submit(client, path, **form))
    assert job["status"] == "complete", (job, client.get(f"/jobs/{job['job_id']}/logs").text)
    return int(job["fpga_id"])
