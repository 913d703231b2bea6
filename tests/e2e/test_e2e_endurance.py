"""Kill anything, pull any plug: acknowledged work survives and no board is stuck."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path

import httpx
import psutil
import pytest
from e2e_support import ROOT, Stack, eventually, release_all, reserve, running, submit

ECHO = ROOT / "examples/echo_memory/design.py"


def variant(tmp_path: Path) -> Path:
    """The echo memory with a comment of its own: same design, but no build of it exists yet."""
    path = tmp_path / "design.py"
    path.write_text(ECHO.read_text() + f"\n# variant {secrets.token_hex(8)}\n")
    return path


def word(client: httpx.Client, board: int) -> int:
    run = client.post(f"/fpga/{board}/run", json={"op": 2, "address": 16, "data": []})
    assert run.status_code == 202, run.text
    result: dict[str, list[int]] = client.get(f"/jobs/{run.json()['job_id']}/result").raise_for_status().json()
    return result["data"][0]


@pytest.mark.parametrize("name", ["api", "scheduler", "builder", "board-agent", "nats", "postgres"])
def test_kill_during_a_build(stack: Stack, tmp_path: Path, name: str) -> None:
    with stack.client() as client:
        job_id = submit(client, variant(tmp_path))
        eventually("the build to start", lambda: client.get(f"/jobs/{job_id}").json().get("build_stage"), 30)
        stack.kill(name)

        def job() -> dict[str, str] | None:
            try:
                state: dict[str, str] = client.get(f"/jobs/{job_id}").json()
            except httpx.TransportError:
                return None
            return state if state.get("status") in {"complete", "failed"} else None

        ended = eventually(f"the job's end after killing {name}", job, 120, every_s=0.5)
        assert ended["status"] == "complete", ended
        release_all(client)


@pytest.mark.parametrize("name", ["api", "scheduler", "board-agent", "nats", "postgres"])
def test_kill_during_a_session(stack: Stack, name: str) -> None:
    with stack.client() as client:
        board = reserve(client, ECHO)
        client.post(f"/fpga/{board}/run", json={"op": 1, "address": 16, "data": [4711]}).raise_for_status()
        stack.kill(name)

        def reads() -> bool:
            try:
                return word(client, board) == 4711
            except (httpx.HTTPError, AssertionError):
                return False

        eventually(f"the session going on after killing {name}", reads, 60, every_s=0.5)
        release_all(client)


def test_power_loss_restores_the_session(stack: Stack) -> None:
    """A board that loses power comes back with its session's design, in its initial state."""
    with stack.client() as client:
        board = reserve(client, ECHO)
        client.post(f"/fpga/{board}/run", json={"op": 1, "address": 16, "data": [4711]}).raise_for_status()
        stack.kill(f"virtual-board-{board}")

        def reads() -> bool:
            try:
                return word(client, board) == 0
            except (httpx.HTTPError, AssertionError):
                return False

        eventually("the design running again", reads, 60, every_s=0.5)
        history = client.get(f"/api/v1/boards/{board}/events?limit=1000").json()["events"]
        assert "board.restored.v1" in {e["type"] for e in history}
        release_all(client)


def test_second_up_resumes_everything_and_nothing_is_left_behind(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, "--boards", "1") as stack, stack.client() as client:
        board = reserve(client, ECHO)
        client.post(f"/fpga/{board}/run", json={"op": 1, "address": 16, "data": [4711]}).raise_for_status()
        before = {job["job_id"]: job["status"] for job in client.get("/jobs").json()}
        history = client.get(f"/api/v1/boards/{board}/events?limit=1000").json()["events"]
        family = psutil.Process(stack.process.pid).children(recursive=True) if stack.process else []
        assert len(family) >= 6
        assert stack.stop(signal.SIGINT) == 0
        assert [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    with running(data, "--boards", "1") as stack, stack.client() as client:
        after = {job["job_id"]: job["status"] for job in client.get("/jobs").json()}
        assert after == before
        again = client.get(f"/api/v1/boards/{board}/events?limit=1000").json()["events"]
        assert again[: len(history)] == history
        session = client.get(f"/fpga/{board}/session")
        assert session.status_code == 200, session.text

        def reads() -> bool:
            try:
                return word(client, board) == 0
            except (httpx.HTTPError, AssertionError):
                return False

        eventually("the session's design running again", reads, 60, every_s=0.5)


def test_an_expired_session_resets_its_board(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--boards", "1", "--session-ttl", "4") as stack, stack.client() as client:
        board = reserve(client, ECHO)
        eventually("the board being free again", lambda: client.get(f"/fpga/{board}").json()["state"] == "idle", 30)
        answer = client.post(f"/fpga/{board}/run", json={"op": 2, "address": 0, "data": []})
        assert answer.status_code == 409
        types = [e["type"] for e in client.get(f"/api/v1/boards/{board}/events?limit=1000").json()["events"]]
        assert types[-3:] == ["board.session_ended.v1", "board.reset_started.v1", "board.reset.v1"]


def test_a_killed_supervisor_takes_its_children_with_it(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--boards", "1") as stack:
        assert stack.process is not None
        family = psutil.Process(stack.process.pid).children(recursive=True)
        os.kill(stack.process.pid, signal.SIGKILL)
        stack.process.wait()
        eventually(
            "the children's end",
            lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE],
            20,
        )
