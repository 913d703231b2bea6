"""A lab file's ten boards on one agent: all programmed and used at once, cheap when idle, one of them over raw TCP."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e_support import BIN, ROOT, Stack, eventually, release_all, reserve, running, submit, wait_job
from sdk_support import run_in_sdk
from websockets.sync.client import connect

from lutlab_stack.ports import free_port

ECHO = ROOT / "examples/echo_memory/design.py"
BOARDS = 10
ROUNDS = 30
WORDS = 64
IDLE_S = 5.0
IDLE_CORE_MAX = 0.02
IDLE_MIB_MAX = 60.0
TICKS_PER_S = 100
_BOARD = """\
[[board]]
key = "desk-{index}"
kind = "virtual"
profile = "lfe5u-25f"
device = "LFE5U-25F"
clk_hz = 50_000_000
labels = ["desk"]
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A lab of ten virtual boards; the first one has a TCP bridge."""
    folder = tmp_path_factory.mktemp("ten")
    sections = [_BOARD.format(index=index) for index in range(BOARDS)]
    sections[0] += f"bridge_port = {free_port()}\n"
    (folder / "lab.toml").write_text("\n".join(sections))
    with running(folder / "data", "--lab", str(folder / "lab.toml")) as stack:
        yield stack


def traffic(stack: Stack, board: int) -> int:
    """Write random words of its own to a board's memory and read them back, round after round; bytes moved."""
    chance = random.Random(board)
    url = stack.ready["api_url"].replace("http", "ws", 1) + f"/fpga/{board}/stream"
    moved = 0
    with connect(url, additional_headers={"X-API-Key": stack.ready["api_key"]}, open_timeout=20) as ws:
        for _ in range(ROUNDS):
            words = chance.randbytes(4 * WORDS)
            ws.send((0x01000000 | WORDS).to_bytes(4) + bytes(4) + words)
            ws.send(0x02000001.to_bytes(4) + bytes(4) + WORDS.to_bytes(4))
            assert ws.recv(20) == bytes(4)
            assert ws.recv(20) == WORDS.to_bytes(4) + words
            moved += 2 * len(words)
    return moved


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def memory_mib(pid: int) -> float:
    """Proportional set size: pages that several boards share count once among them."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Pss:")) / 1024


def test_ten_boards_at_once_on_one_agent(lab: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    with lab.client() as api:
        assert {(b["profile"], b["online"]) for b in api.get("/fpga").json()} == {("lfe5u-25f", True)}
        jobs = [submit(api, ECHO) for _ in range(BOARDS)]
        done = [wait_job(api, job) for job in jobs]
        boards = [job["fpga_id"] for job in done]
        assert [job["status"] for job in done] == ["complete"] * BOARDS
        assert sorted(boards) == list(range(BOARDS))
        assert sum(name.startswith("board-agent") for name in lab.pids()) == 1
        with ThreadPoolExecutor(BOARDS) as pool:
            moved = list(pool.map(lambda board: traffic(lab, board), boards))
        assert moved == [ROUNDS * 8 * WORDS] * BOARDS

        pids = [pid for name, pid in lab.pids().items() if name.startswith("virtual-board-")]
        assert len(pids) == BOARDS
        time.sleep(2)  # boards run freely for a moment after their last byte
        before_s = sum(map(processor_s, pids))
        time.sleep(IDLE_S)
        used = (sum(map(processor_s, pids)) - before_s) / IDLE_S
        largest = max(map(memory_mib, pids))
        with capsys.disabled():
            print(f"\n{BOARDS} idle boards: {100 * used:.2f} % of a core, {largest:.0f} MiB each at most")
        assert used < IDLE_CORE_MAX
        assert largest < IDLE_MIB_MAX
        release_all(api)


def test_the_reference_client_over_raw_tcp(lab: Stack, sdk: Path, tmp_path: Path) -> None:
    """`client.py` as it comes, through `lutlab bridge`, which shows the token; without one nobody gets in."""
    with lab.client() as api:
        board = reserve(api, ECHO, route="/fpga/0/submit")
        way = api.post(f"/api/v1/boards/{board}/bridge").json()
        with socket.create_connection((way["host"], way["port"]), 10) as stranger:
            stranger.sendall(0x02000001.to_bytes(4) + bytes(4) + (1).to_bytes(4) + bytes(28))
            assert stranger.recv(4) == 0x01000000.to_bytes(4)
            assert stranger.recv(4) == b""
        port = free_port()
        command = [BIN / "lutlab", "bridge", str(board), "--port", str(port), "--data-dir", lab.data_dir]
        with (tmp_path / "bridge.out").open("wb") as said, subprocess.Popen(command, stderr=said) as bridge:
            try:
                eventually("the local port", lambda: f":{port}" in (tmp_path / "bridge.out").read_text())
                client = ["python", "examples/hello_wishbone/client.py", "--host", "127.0.0.1", "--port", str(port)]
                printed = run_in_sdk(sdk, client, lab)
            finally:
                bridge.terminate()
        assert "words written and read back intact" in printed
        release_all(api)
