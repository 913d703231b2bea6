"""The engine face to face with a board in memory, in made-up time."""

from __future__ import annotations

import tomllib
from pathlib import Path
from random import Random

from lutlab_bus import LinkCounters, Modify, Poll, Read, Write
from lutlab_bus.engine import Engine, Greeting
from lutlab_bus.fake import BusErrorAt, BusSilentAt, FakeBridge
from lutlab_bus.jobs import job_of

VECTORS = tomllib.loads((Path(__file__).parents[2] / "golden" / "bus_protocol_v3.toml").read_text())


class GoldenTarget(dict):
    """The target that the golden vectors assume."""

    def get(self, address, default=None):
        self._temper(address)
        return 0x1000_0000 | address

    def __setitem__(self, address, word):
        self._temper(address)

    def _temper(self, address):
        if address == 0x1F0:
            raise BusErrorAt
        if address == 0x1F1:
            raise BusSilentAt


def golden_bridge():
    device = VECTORS["device"]
    return FakeBridge(
        GoldenTarget(),
        build_id=device["build_id"],
        bus_timeout_cycles=device["bus_timeout_cycles"],
        receive_ring_bytes=device["receive_ring_bytes"],
        reply_ring_bytes=device["reply_ring_bytes"],
    )


def golden_operation(table):
    """An operation of a golden vector, None if the engine would never say it like this."""
    if table.get("chain") or table.get("wide") or table.get("counted"):
        return None
    kind, address = table["kind"], table["address_words"]
    if kind == "read":
        return Read(address, table["count"], table.get("fixed", False))
    if kind == "write":
        return Write(address, table["words"], table.get("fixed", False))
    if kind == "modify":
        return Modify(address, table["mask"], table["value"])
    return Poll(address, table["mask"], table["value"], table["timeout_cycles"])


class Waiting:
    open = True


class Pair:
    """An engine and a board; `exchange` carries bytes once in both directions."""

    def __init__(self, bridge=None, seed=0, lossy=lambda data: data):
        self.bridge = bridge or FakeBridge()
        self.engine = Engine(LinkCounters(), Random(seed).getrandbits)
        self.now_s = 0.0
        self.lossy = lossy
        self.owner = Waiting()
        self.done = []

    def submit(self, *operations):
        jobs = [job_of(self.owner, i, operation) for i, operation in enumerate(operations)]
        for job in jobs:
            self.engine.submit(job)
        return jobs

    def exchange(self):
        data = self.engine.poll(self.now_s)
        reply = self.lossy(self.bridge.feed(self.lossy(data)))
        self.done += self.engine.receive(reply, self.now_s)
        return data

    def open(self):
        greeting = Greeting(self.owner)
        self.engine.submit(greeting)
        self.finish([greeting])
        self.done.clear()

    def finish(self, jobs, rounds_max=10_000):
        for _ in range(rounds_max):
            if all(job in self.done for job in jobs):
                return
            if not self.exchange() and self.engine.wake_s is not None:
                self.now_s = max(self.now_s, self.engine.wake_s)
        raise AssertionError(f"not done after {rounds_max} rounds: {self.engine.counters}")
