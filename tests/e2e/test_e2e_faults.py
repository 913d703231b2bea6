"""Faults of a board, chosen at its side door, and what the product makes of them: a typed error, and a way back."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from e2e_support import ROOT, Stack, eventually, reserve, submit, wait_job
from websockets.sync.client import connect

ECHO = ROOT / "examples/echo_memory/design.py"
ROUNDS = 60
WORDS = 256
SLOW_S = 2.0


def ask(stack: Stack, board: int, **request: Any) -> Any:
    """What a virtual board answers at its side door."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(20)
        # By way of the folder's descriptor: an address has room for 107 characters only.
        folder = os.open(stack.data_dir / "boards" / str(board), os.O_PATH | os.O_DIRECTORY)
        door.connect(f"/proc/self/fd/{folder}/control")
        os.close(folder)
        door.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(door.makefile().readline())
    assert "ok" in answer, answer
    return answer["ok"]


@pytest.fixture
def whole(stack: Stack, api: httpx.Client) -> Iterator[None]:
    """Afterwards the boards are whole again."""
    yield
    for board in (0, 1):
        ask(stack, board, ask="faults")


def failure_of(api: httpx.Client, job_id: str) -> dict[str, str]:
    assert wait_job(api, job_id)["status"] == "failed"
    error: dict[str, str] = api.get(f"/api/v1/jobs/{job_id}").json()["error"]
    return error


def idle(api: httpx.Client, board: int) -> None:
    eventually("the board being idle", lambda: api.get(f"/fpga/{board}").json()["state"] == "idle", 40)


@pytest.mark.usefixtures("whole")
def test_a_line_that_flips_and_loses_never_gives_a_wrong_word(stack: Stack, api: httpx.Client) -> None:
    board = reserve(api, ECHO)
    ask(stack, board, ask="faults", flip=5e-4, loss=2e-4, seed=7)
    chance = random.Random(7)
    url = stack.ready["api_url"].replace("http", "ws", 1) + f"/fpga/{board}/stream"
    with connect(url, additional_headers={"X-API-Key": stack.ready["api_key"]}) as ws:
        for _ in range(ROUNDS):
            words = chance.randbytes(4 * WORDS)
            ws.send(struct.pack(">II", 0x01 << 24 | WORDS, 0) + words)
            ws.send(struct.pack(">III", 0x02 << 24 | 1, 0, WORDS))
            assert ws.recv(20) == bytes(4)
            assert ws.recv(20) == struct.pack(">I", WORDS) + words
    counters = api.get(f"/api/v1/boards/{board}/link").json()["counters"]
    assert counters["crc_failures"] > 0
    assert counters["retries"] > 0


@pytest.mark.usefixtures("whole")
def test_what_a_programmer_meets_is_told_and_the_board_recovers(stack: Stack, api: httpx.Client) -> None:
    ask(stack, 0, ask="faults", jtag_stuck=1)
    stuck = failure_of(api, submit(api, ECHO, route="/fpga/0/submit"))
    assert stuck["code"] == "cable_unreachable", stuck
    ask(stack, 0, ask="faults")
    idle(api, 0)

    ask(stack, 0, ask="power_loss", after_bytes=20_000)
    cut = failure_of(api, submit(api, ECHO, route="/fpga/0/submit"))
    assert cut["code"] == "cable_unreachable", cut
    idle(api, 0)

    ask(stack, 0, ask="faults", slow_s=SLOW_S)
    began = time.monotonic()
    job = wait_job(api, submit(api, ECHO, route="/fpga/0/submit"))
    assert job["status"] == "complete"
    assert time.monotonic() - began > SLOW_S


@pytest.mark.usefixtures("whole")
def test_a_design_that_is_struck_or_gone_ends_in_an_error_and_a_way_back(stack: Stack, api: httpx.Client) -> None:
    def run(board: int) -> httpx.Response:
        return api.post(f"/fpga/{board}/run", json={"op": 2, "address": 0, "count": 1})

    def struck(board: int) -> None:
        """The design starts again with the bit flipped: the link to it is lost, and found again."""
        ask(stack, board, ask="upset", frame=3, bit=5)
        assert run(board).json()["detail"]["error"] == "board_link_failed"
        assert run(board).status_code == 202

    def dark(board: int) -> None:
        ask(stack, board, ask="power_loss")
        refused = api.get(f"/fpga/{board}/pins")
        assert refused.status_code == 409
        assert "no design runs" in refused.text
        lost = run(board)
        assert lost.status_code == 502
        assert lost.json()["detail"]["error"] == "board_link_failed"
        assert api.post(f"/fpga/{board}/reset").status_code == 202
        idle(api, board)

    boards = [reserve(api, ECHO), reserve(api, ECHO)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(struck, boards[0]), pool.submit(dark, boards[1])]:
            done.result()
