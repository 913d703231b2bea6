"""Ours and the real peers over pseudo-terminals, interleaved in one run: a table, and JSON with ratios and spread.

`make bench-bus`. Each contender runs a short slice in every round, so that a busy machine hits all alike; a ratio is
taken within each round, and its spread is over the rounds. The ratios and verdicts compare each round's least disturbed
calls (the quickest 5 %), since on a shared machine the median tells more about the neighbours; the medians are in the
table and, as ratios, in the JSON. Modelled lines are compared by medians only, and so are calls for one word: each
waits until a processor has woken up, and the quickest calls tell only who had a few of the quick times.

The devices have a core of their own, as hardware has. Cores may idle between two words, as in anybody's machine; on a
virtual one waking up takes 5 us at one time and 60 at another, and is then much of what is measured. `--awake` asks the
kernel to keep them awake, which root may: the ratios then tell what the code itself costs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import struct
import sys
import time
import warnings
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import uvloop
from device import CPUS, FakeDevice, pin_host
from peers import LiteXRemote, LiteXUart, Manta, ReferenceCodec

from lutlab_board_agent.adapters.serial_port import TtyPorts
from lutlab_bus import BusLink
from lutlab_bus.direct import DirectLink

BLOCK_WORDS = 16_384
SCATTER_WORDS = 1024
TASKS = 64
BAUDS = (115_200, 1_000_000, 3_000_000, 12_000_000)
LINE_WORDS = 16_384
USB_LATENCY_US = 1000

BLOCK = array("I", [(i * 2654435761) & 0xFFFFFFFF for i in range(BLOCK_WORDS)])
SCATTER = array("I", [(i * 7919) & 0x3FFF for i in range(SCATTER_WORDS)])


@dataclass
class Contender:
    """One row: `call` moves `words` words. `of` names the contender of the same case that others are compared with."""

    case: str
    name: str
    words: int
    call: Callable[[], object]
    cpu: Callable[[], float] = lambda: 0.0
    rounds: list[float] = field(default_factory=list)  # words/s of each round's least disturbed calls
    medians: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    calls: int = 0
    cpu_rounds: list[float] = field(default_factory=list)  # ms/MB

    def run(self, slice_s: float) -> None:
        self.call()
        times = []
        cpu = time.process_time() + self.cpu()
        end = (last := time.perf_counter()) + slice_s
        while last < end:
            self.call()
            now = time.perf_counter()
            times.append(now - last)
            last = now
        cpu = time.process_time() + self.cpu() - cpu
        self.cpu_s += cpu
        self.calls += len(times)
        self.cpu_rounds.append(1e9 * cpu / (4 * self.words * len(times)))
        times.sort()
        self.medians.append(self.words / median(times))
        # A modelled line catches up after the machine kept its process waiting: only the median is true there.
        by_median = self.words == 1 or "baud" in self.case
        self.rounds.append(self.medians[-1] if by_median else self.words / times[len(times) // 20])


class Bench:
    """Everything that is compared; closes what it opened."""

    def __init__(self) -> None:
        self.contenders: list[Contender] = []
        self._stack = contextlib.ExitStack()

    def add(self, case: str, name: str, words: int, call: Callable[[], object], cpu: Any = None) -> None:
        self.contenders.append(Contender(case, name, words, call, cpu or (lambda: 0.0)))

    def device(self, protocol: str, **line: Any) -> FakeDevice:
        device = FakeDevice(protocol, **line)
        self._stack.callback(device.close)
        return device

    def ours(self, **line: Any) -> DirectLink:
        return self._stack.enter_context(DirectLink.open(self.device("lutlab", **line).path))

    def peer(self, kind: Any, **line: Any) -> Any:
        peer = kind(self.device(kind.protocol, **line))
        self._stack.callback(peer.close)
        return peer

    def keep_awake(self) -> None:
        """Ask the kernel that no core may sleep, as long as the bench runs. Raises: OSError: that is not allowed."""
        latency_fd = os.open("/dev/cpu_dma_latency", os.O_WRONLY)  # holds until it is closed
        self._stack.callback(os.close, latency_fd)
        os.write(latency_fd, struct.pack("i", 0))

    def close(self) -> None:
        self._stack.close()


def add_raw_blocks(bench: Bench, cases: tuple[str, str], **line: Any) -> None:
    """Blocks without a protocol: what a line itself, and this host at its end, can do."""
    write_fd, read_fd = (bench.device(protocol, **line).open_fd() for protocol in ("sink", "source"))
    block = struct.pack("<I", 4 * BLOCK_WORDS) + BLOCK.tobytes()
    buffer = memoryview(bytearray(65_536))

    def write() -> None:
        view = memoryview(block)
        while view:
            view = view[os.write(write_fd, view) :]
        os.read(write_fd, 1)

    def read() -> None:
        os.write(read_fd, block[:4])
        left = 4 * BLOCK_WORDS
        while left:
            left -= os.readv(read_fd, [buffer])

    for case, call in zip(cases, (write, read), strict=True):
        bench.add(case, "raw pty", BLOCK_WORDS, call)


def add_raw(bench: Bench) -> None:
    """What the pseudo-terminal itself can do."""
    add_raw_blocks(bench, ("write 16K words", "read 16K words"))
    echo_fd = bench.device("echo").open_fd()

    def echo() -> None:
        os.write(echo_fd, b"123456789")
        os.read(echo_fd, 64)

    bench.add("one synchronous read", "raw pty", 1, echo)


def add_links(bench: Bench) -> None:
    """Ours and the peers on an unlimited line."""
    link = bench.ours()
    link.write_words(0, BLOCK)
    assert link.read_words(0, BLOCK_WORDS) == BLOCK
    assert link.read_each(SCATTER).words == array("I", [BLOCK[a] for a in SCATTER])
    bench.add("write 16K words", "lutlab", BLOCK_WORDS, lambda: link.write_words(0, BLOCK))
    bench.add("read 16K words", "lutlab", BLOCK_WORDS, lambda: link.read_words(0, BLOCK_WORDS))
    bench.add("one synchronous read", "lutlab", 1, lambda: link.read_word(5))
    bench.add("1024 scattered reads", "lutlab", SCATTER_WORDS, lambda: link.read_each(SCATTER))
    words = list(BLOCK)
    for kind in (ReferenceCodec, LiteXUart, LiteXRemote, Manta):
        peer = bench.peer(kind)
        data = BLOCK if kind is ReferenceCodec else words
        peer.write_block(0, data[:SCATTER_WORDS])
        if list(peer.read_block(0, SCATTER_WORDS)) != words[:SCATTER_WORDS]:
            print(f"{kind.name} reads back other words than were written; left out")
            continue
        cpu = peer.cpu_s
        addresses = list(SCATTER)[: SCATTER_WORDS // 4] if kind is LiteXRemote else list(SCATTER)
        for case, count, call in (
            ("write 16K words", BLOCK_WORDS, lambda p=peer, d=data: p.write_block(0, d)),
            ("read 16K words", BLOCK_WORDS, lambda p=peer: p.read_block(0, BLOCK_WORDS)),
            ("one synchronous read", 1, lambda p=peer: p.read_one(5)),
            ("1024 scattered reads", len(addresses), lambda p=peer, a=addresses: p.scatter(a)),
        ):
            bench.add(case, kind.name, count, call, cpu)
        if kind is ReferenceCodec:
            bench.add("64 concurrent tasks", kind.name, 1024, lambda p=peer, a=list(SCATTER): p.scatter(a))


def add_tasks(bench: Bench, runner: asyncio.Runner) -> None:
    """Independent one-word calls of 64 tasks through the link and the serial adapter that the agent ships."""

    async def opened(path: str) -> BusLink:
        return await BusLink.open(await TtyPorts().open(path, 115_200, lambda: None))

    link = runner.run(opened(bench.device("lutlab").path))
    runner.run(link.write_each(SCATTER, [BLOCK[a] for a in SCATTER], 10))

    async def worker(first: int) -> None:
        for address in SCATTER[first : first + SCATTER_WORDS // TASKS]:
            if await link.read_word(address, 10) != BLOCK[address]:
                raise AssertionError("wrong word")

    async def together() -> None:
        await asyncio.gather(*(worker(n * (SCATTER_WORDS // TASKS)) for n in range(TASKS)))

    bench.add("64 concurrent tasks", "lutlab", SCATTER_WORDS, lambda: runner.run(together()))


def add_lines(bench: Bench) -> None:
    """Modelled serial lines."""
    for baud in BAUDS:
        case = f"one read at {baud} baud"
        link, peer = bench.ours(baud=baud), bench.peer(LiteXUart, baud=baud)
        bench.add(case, "lutlab", 1, lambda p=link: p.read_word(5))
        bench.add(case, peer.name, 1, lambda p=peer: p.read_one(5))
    usb: dict[str, Any] = {"baud": BAUDS[-1], "latency_us": USB_LATENCY_US}
    add_raw_blocks(bench, ("12 Mbaud write", "12 Mbaud read"), **usb)
    link = bench.ours(**usb)
    link.write_words(0, BLOCK)
    bench.add("12 Mbaud write", "lutlab", LINE_WORDS, lambda: link.write_words(0, BLOCK))
    bench.add("12 Mbaud read", "lutlab", LINE_WORDS, lambda: link.read_words(0, LINE_WORDS))


TARGETS = [
    # case, against, at least
    ("write 16K words", "raw pty", 0.85),
    ("read 16K words", "raw pty", 0.85),
    ("write 16K words", ReferenceCodec.name, 1.0),
    ("read 16K words", ReferenceCodec.name, 1.0),
    ("1024 scattered reads", LiteXUart.name, 500.0),
    ("1024 scattered reads", Manta.name, 20.0),
    ("64 concurrent tasks", ReferenceCodec.name, 15.0),
    ("one synchronous read", "raw pty", 0.90),
    ("one synchronous read", LiteXUart.name, 1.0),
    *((f"one read at {baud} baud", LiteXUart.name, 1.0) for baud in BAUDS),
]
LINE_TARGET = 0.92
CPU_TARGET_MS_PER_MB = 4.0
CPU_CASES = ("write 16K words", "read 16K words", "12 Mbaud write", "12 Mbaud read")
"""As fast as the pseudo-terminal goes, and on the modelled line, whose adapter wakes the host for each 510 bytes."""
TIE = 1.0 / 1.3
"""Smaller differences than 1.3 times are ties on a shared machine."""


def report(bench: Bench) -> dict[str, Any]:
    """Print the tables; returns them for JSON."""
    rows = []
    by_key = {(c.case, c.name): c for c in bench.contenders}
    print(f"{'case':26} {'contender':20} {'words/s':>14} {'median':>14} {'us/word CPU':>12} {'ms/MB CPU':>10}")
    for c in sorted(bench.contenders, key=lambda c: c.case):
        per_word_us = 1e6 * c.cpu_s / (c.calls * c.words)
        rows.append({
            "case": c.case, "contender": c.name, "words_per_s": median(c.rounds), "rounds_words_per_s": c.rounds,
            "median_words_per_s": median(c.medians),
            "cpu_us_per_word": per_word_us, "cpu_ms_per_mb": per_word_us * 250, "rounds_cpu_ms_per_mb": c.cpu_rounds,
        })  # fmt: skip
        speeds = f"{median(c.rounds):14,.0f} {median(c.medians):14,.0f}"
        print(f"{c.case:26} {c.name:20} {speeds} {per_word_us:12.4f} {per_word_us * 250:10.2f}")
    print(f"\n{'lutlab against':47} {'ratio':>9} {'spread':>19} {'target':>8}")
    ratios = []
    for case, name, target in TARGETS:
        if (case, name) not in by_key:
            continue
        ours, other = by_key[case, "lutlab"], by_key[case, name]
        each = [a / b for a, b in zip(ours.rounds, other.rounds, strict=True)]
        ratios.append(_ratio(case, name, each, target))
        ratios[-1]["ratio_of_medians"] = median(a / b for a, b in zip(ours.medians, other.medians, strict=True))
    for direction in ("write", "read"):
        ours = by_key[f"12 Mbaud {direction}", "lutlab"]
        line = BAUDS[-1] / 40
        ratios.append(_ratio(f"12 Mbaud {direction}", "line rate", [r / line for r in ours.rounds], LINE_TARGET))
    print(f"\n{'CPU of the host, ms/MB':26} {'raw pty':>20} {'lutlab':>9} {'spread':>19} {'target':>8}")
    for case in CPU_CASES:
        each = by_key[case, "lutlab"].cpu_rounds
        verdict = "met" if median(each) <= CPU_TARGET_MS_PER_MB else "MISSED"
        print(f"{case:26} {median(by_key[case, 'raw pty'].cpu_rounds):20.2f} {median(each):9.2f}"
              f" {f'{min(each):.2f} .. {max(each):.2f}':>19} {CPU_TARGET_MS_PER_MB:8g} {verdict}")  # fmt: skip
    return {"rows": rows, "ratios": ratios, "load": os.getloadavg(), "python": sys.version.split()[0]}


def _ratio(case: str, against: str, each: list[float], target: float) -> dict[str, Any]:
    value = median(each)
    verdict = "met" if value >= target else "tie" if target <= 1 and value >= target * TIE else "MISSED"
    spread = f"{min(each):.2f} .. {max(each):.2f}"
    print(f"{case:26} {against:20} {value:9.2f} {spread:>19} {target:8g} {verdict}")
    return {
        "case": case, "against": against, "ratio": value, "lowest": min(each), "highest": max(each), "target": target,
        "verdict": verdict,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice-s", type=float, default=0.25, help="how long each contender runs in each round")
    parser.add_argument("--json", type=Path, default=Path("bench-bus.json"))
    parser.add_argument("--awake", action="store_true", help="ask that no core may idle; needs root")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own
    pin_host()
    bench = Bench()
    if options.awake:
        bench.keep_awake()
    state = "kept awake" if options.awake else "may idle"
    print(f"host on core {CPUS[0]}, devices on {CPUS[1:] or CPUS}; cores {state}")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            add_raw(bench)
            add_links(bench)
            add_tasks(bench, runner)
            add_lines(bench)
            for _ in range(options.rounds):
                for contender in bench.contenders:
                    contender.run(options.slice_s)
            options.json.write_text(json.dumps({"cores_awake": options.awake} | report(bench), indent=1) + "\n")
            print(f"\nwritten to {options.json}")
        finally:
            bench.close()


if __name__ == "__main__":
    main()
