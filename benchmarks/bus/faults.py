"""A damaged line: nothing wrong is accepted, nothing runs twice, and every call ends in time.

`make bench-bus-faults` (long) or `python benchmarks/bus/faults.py --words 200000` (short, as the tests do). The fake
device flips, loses and inserts bytes in both directions. Each round writes blocks and reads them back, modifies
words, and reads the FIFO at word 100, which counts up whenever it is read: a read that ran twice leaves a hole in
what the host sees, and the device's total tells about the last one. It is read in frames of many operations, and
word by word: with brief frames, as long as the line seems clean. Exit status 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from device import FakeDevice, pin_host

from lutlab_bus import BusFault, Modify, Read, Write
from lutlab_bus.direct import DirectLink

T = TypeVar("T")
RATES = (1e-6, 1e-5, 1e-4, 1e-3)
FIFO_ADDRESS = 100
BLOCK_ADDRESSES = range(128, 40_000)
SINGLES = 16
"""Words of the FIFO read one by one in each round."""
CALL_TIMEOUT_S = 20.0
GRACE_S = 0.5
"""A tick of the tty's timer, and a busy machine."""
SHARES = {1e-6: 0.45, 1e-5: 0.4, 1e-4: 0.13, 1e-3: 0.02}
"""Of the words: noise costs time, not certainty, so most go over the lines that carry most."""


class Check:
    """One line under test; counts what went wrong."""

    def __init__(self, link: DirectLink, rng: Random, block_words: int) -> None:
        self._link = link
        self._rng = rng
        self._block_words = block_words
        self._fifo = 0
        self.words = self.wrong = self.calls = self.errors = self.late = self.fifo_holes = 0
        self.slowest_s = 0.0
        self.codes: dict[str, int] = {}

    def _call(self, operations: list[Any]) -> list[Any] | None:
        return self._timed(lambda: self._link.execute(operations, CALL_TIMEOUT_S))

    def _timed(self, call: Callable[[], T]) -> T | None:
        self.calls += 1
        started_s = time.monotonic()
        try:
            return call()
        except BusFault as fault:
            self.errors += 1
            self.codes[fault.code] = self.codes.get(fault.code, 0) + 1
            return None
        finally:
            took_s = time.monotonic() - started_s
            self.slowest_s = max(self.slowest_s, took_s)
            self.late += took_s > CALL_TIMEOUT_S + GRACE_S

    def round(self) -> None:
        count = self._block_words
        block = array("I", self._rng.randbytes(4 * count))
        start = self._rng.choice(BLOCK_ADDRESSES)
        results = self._call([Write(start, block), Read(start, count)])
        if results is not None:
            self.words += 2 * count
            if results[1].words != block:
                self.wrong += sum(a != b for a, b in zip(results[1].words, block, strict=True))
        self._small(start, block)
        self._drain()
        self._singly()

    def _small(self, start: int, block: array[int]) -> None:
        """Modify and read single words: the frames with a 16-bit check."""
        offsets = [self._rng.randrange(len(block)) for _ in range(4)]
        results = self._call([op for o in offsets for op in (Modify(start + o, 0xFF, 0), Read(start + o))])
        if results is None:
            return
        self.words += 2 * len(offsets)
        expected: dict[int, int] = {}
        for offset, modified, after in zip(offsets, results[::2], results[1::2], strict=True):
            self.wrong += modified.words[0] != expected.get(offset, block[offset])
            expected[offset] = block[offset] & 0xFFFFFF00
            self.wrong += after.words[0] != expected[offset]

    def _drain(self) -> None:
        results = self._call([Read(FIFO_ADDRESS), Read(FIFO_ADDRESS, 64, fixed=True)])
        if results is None:
            self._find_out()
            return
        self.words += 65
        seen = [*results[0].words, *results[1].words]
        self.fifo_holes += seen != list(range(self._fifo, self._fifo + 65))
        self._fifo = seen[-1] + 1

    def _singly(self) -> None:
        for _ in range(SINGLES):
            word = self._timed(lambda: self._link.read_word(FIFO_ADDRESS, CALL_TIMEOUT_S))
            if word is None:
                self._find_out()
                return
            self.words += 1
            self.fifo_holes += word != self._fifo
            self._fifo = word + 1

    def _find_out(self) -> None:
        """It is unknown how many were read."""
        results = self._call([Read(FIFO_ADDRESS)])
        if results is not None:
            self._fifo = results[0].words[0] + 1

    def surplus(self, device_total: int) -> int:
        """FIFO reads that the device counted beyond those that are accounted for."""
        return device_total - self._fifo


def run(rate: float, words: int, seed: int, time_limit_s: float) -> dict[str, Any]:
    """One rate; returns the totals."""
    device = FakeDevice("lutlab", error_rate=rate, seed=seed, fifo_address_words=FIFO_ADDRESS)
    started_s = time.monotonic()
    with DirectLink.open(device.path, timeout_s=60) as link:
        check = Check(link, Random(seed), 64 if rate >= 1e-3 else 1024 if rate >= 1e-4 else 4096)
        while check.words < words and time.monotonic() - started_s < time_limit_s:
            check.round()
        counters = link.counters.as_dict()
        total = device.close()
    return {
        "rate": rate, "seed": seed, "words": check.words, "wrong_words": check.wrong, "fifo_holes": check.fifo_holes,
        "executed_twice": max(0, check.surplus(total["fifo"])), "calls": check.calls, "failed_calls": check.errors,
        "failures": check.codes, "late_calls": check.late, "slowest_call_s": round(check.slowest_s, 3),
        "words_per_s": round(check.words / (time.monotonic() - started_s)), "link": counters, "device": total,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, default=110_000_000, help="words in all, over all rates")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--time-limit-s", type=float, default=1800.0, help="for each rate")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pin_host()
    rows = []
    print(f"{'rate':>6} {'words':>12} {'words/s':>11} {'errors made':>11} {'retries':>8} {'wrong':>6} {'twice':>6}"
          f" {'failed':>7} {'late':>5} {'slowest':>8}")  # fmt: skip
    for rate in RATES:
        row = run(rate, int(options.words * SHARES[rate]), options.seed, options.time_limit_s)
        rows.append(row)
        print(f"{rate:6.0e} {row['words']:12,} {row['words_per_s']:11,} {row['device']['errors']:11,}"
              f" {row['link']['retries']:8,} {row['wrong_words']:6} {row['executed_twice'] + row['fifo_holes']:6}"
              f" {row['failed_calls']:7} {row['late_calls']:5} {row['slowest_call_s']:8.2f}", flush=True)  # fmt: skip
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    bad = sum(r["wrong_words"] + r["fifo_holes"] + r["executed_twice"] + r["late_calls"] for r in rows)
    print(f"{sum(r['words'] for r in rows):,} words: " + ("nothing wrong" if not bad else f"{bad} THINGS WRONG"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
