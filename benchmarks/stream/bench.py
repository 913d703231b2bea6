"""`make bench-stream`: words through the public stream endpoint of a whole lab with a virtual board, end to end.

The frames are the reference SDK's, encoded and decoded by its own unmodified codec (`benchmarks/reference_sdk.py`): API
key, WebSocket, API, NATS, agent, the bus of a real build on a virtual board, and back. Printed are single reads and
pipelined ones, both beside their targets, and, of a lab of its own, what each process spent on a word; the exit status
is 1 where a target is missed. `--url` measures a lab that runs already.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from types import ModuleType
from typing import Any

from websockets.sync.client import ClientConnection, connect

from lutlab import Client

sys.path.append(str(Path(__file__).parents[1]))
from reference_sdk import sdk_codec

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ECHO = ROOT / "examples/echo_memory/design.py"
WORDS = 512
READ_MS_TARGET = 2.0
WORDS_PER_S_TARGET = 5_000.0
WINDOW = 32
"""Requests without an answer; what a client keeps under way that does not wait for each."""
ROUNDS = 5
SINGLE_READS = 400
PIPELINED_READS = 4_000
UP_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Figure:
    """A measured figure and its target."""

    name: str
    value: float
    target: float
    unit: str
    is_least: bool

    @property
    def ratio(self) -> float:
        """How many times better than the target."""
        return self.value / self.target if self.is_least else self.target / self.value


@contextlib.contextmanager
def own_lab(folder: Path) -> Iterator[tuple[str, str, dict[str, int]]]:
    """Address, key and processes of a lab with one board, which ends with the bench."""
    ready = folder / "ready.json"
    command = [
        BIN / "lutlab",
        "up",
        "--port",
        "0",
        "--boards",
        "1",
        "--data-dir",
        folder / "data",
        "--ready-file",
        ready,
    ]
    with (folder / "up.out").open("wb") as said:
        process = subprocess.Popen(list(map(str, command)), stdout=said, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        end_s = time.monotonic() + UP_TIMEOUT_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end_s:
                sys.exit(f"the lab did not start:\n{(folder / 'up.out').read_text()[-2000:]}")
            time.sleep(0.1)
        content = json.loads(ready.read_text())
        yield content["api_url"], content["api_key"], content["pids"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


class Bench:
    """One open stream, spoken with the reference's codec."""

    def __init__(self, ws: ClientConnection, wire: Any) -> None:
        self._ws = ws
        self._wire = wire
        words = [(0x9E3779B9 * i) & 0xFFFFFFFF for i in range(WORDS)]
        self._expected = words
        ws.send(wire.WishboneRequest(op=wire.WishboneOp.WRITE, address=0, data=words).to_bytes())
        assert wire.WishboneResponse.from_bytes(ws.recv(20)).ok

    def _ask(self, index: int) -> None:
        address = 4 * (index % WORDS)
        self._ws.send(self._wire.WishboneRequest(op=self._wire.WishboneOp.READ, address=address).to_bytes())

    def _check(self, index: int) -> None:
        reply = self._wire.WishboneResponse.from_bytes(self._ws.recv(20))
        assert reply.ok and reply.data == [self._expected[index % WORDS]], (index, reply)

    def single(self, count: int) -> list[float]:
        """Milliseconds of reads that each wait for their answer."""
        times = []
        for index in range(count):
            began = time.perf_counter()
            self._ask(index)
            self._check(index)
            times.append((time.perf_counter() - began) * 1e3)
        return times

    def pipelined(self, count: int) -> float:
        """Words a second by reads of one word each, `WINDOW` of them under way."""
        began = time.perf_counter()
        for index in range(min(WINDOW, count)):
            self._ask(index)
        for index in range(count):
            self._check(index)
            if index + WINDOW < count:
                self._ask(index + WINDOW)
        return count / (time.perf_counter() - began)


def processor_s(pids: dict[str, int]) -> dict[str, float]:
    """What each process has spent so far, and this one."""
    found = {"this client": time.process_time()}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def measure(url: str, key: str, pids: dict[str, int], board: int | None, wire: ModuleType) -> list[Figure]:
    """Reserve a board, read, give it back."""
    with Client(url, key) as lab:
        job = lab.wait(lab.submit(ECHO, fpga_id=board).job_id)
        assert job.fpga_id is not None
        address = url.replace("http", "ws", 1) + f"/fpga/{job.fpga_id}/stream"
        with connect(address, additional_headers={"X-API-Key": key}, open_timeout=20) as ws:
            bench = Bench(ws, wire)
            bench.single(SINGLE_READS)  # warm
            singles = [bench.single(SINGLE_READS) for _ in range(ROUNDS)]
            before = processor_s(pids)
            rates = [bench.pipelined(PIPELINED_READS) for _ in range(ROUNDS)]
            spent = {name: after - before[name] for name, after in processor_s(pids).items()}
        lab.release(job.fpga_id)
    words = ROUNDS * PIPELINED_READS
    cost = ", ".join(f"{name} {1e6 * s / words:.0f}" for name, s in spent.items() if s * 1e6 > words)
    print(f"processor time of a pipelined word in microseconds: {cost}")
    every = [sample for times in singles for sample in times]
    spread = f"{min(map(median, singles)):.2f} to {max(map(median, singles)):.2f} ms over {ROUNDS} rounds"
    print(f"single reads: {len(every)}, medians {spread}, p99 {quantiles(every, n=100)[98]:.2f} ms")
    print(f"pipelined reads, {WINDOW} under way: {min(rates):.0f} to {max(rates):.0f} words/s over {ROUNDS} rounds")
    return [
        Figure("single read, median", median(every), READ_MS_TARGET, "ms", is_least=False),
        Figure("pipelined reads", median(rates), WORDS_PER_S_TARGET, "words/s", is_least=True),
    ]


def main() -> int:
    """Measure and print; 0 if every target is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a lab that runs already; its own otherwise")
    parser.add_argument("--key", default=os.environ.get("LUTLAB_API_KEY", ""), help="a key for it")
    parser.add_argument("--board", type=int, help="the board to use; any idle one otherwise")
    parser.add_argument("--json", type=Path, default=Path("bench-stream.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lutlab-bench-") as name, contextlib.ExitStack() as stack:
        wire = sdk_codec()
        lab = (options.url, options.key, {}) if options.url else stack.enter_context(own_lab(Path(name)))
        figures = measure(*lab, options.board, wire)
    for figure in figures:
        verdict = "met" if figure.ratio >= 1 else "MISSED"
        bound = "at least" if figure.is_least else "at most"
        print(
            f"{figure.name:22} {figure.value:10.2f} {figure.unit:8} target {bound} {figure.target:g}: "
            f"{figure.ratio:.2f}x, {verdict}"
        )
    rows = [{"name": f.name, "value": f.value, "unit": f.unit, "target": f.target, "ratio": f.ratio} for f in figures]
    options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(figure.ratio >= 1 for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
