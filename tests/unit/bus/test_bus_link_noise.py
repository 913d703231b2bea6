"""Single words of many callers over a line that damages and loses bytes, while some callers give up."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from lutlab_bus import BusLink, LinkTimeout
from lutlab_bus.fake import FakeBridge, FakePort

CALLERS, CALLS, FIFO = 24, 60, 500


class Noise:
    """Changes one byte in `every`, or leaves it out."""

    def __init__(self, seed: int, every: int) -> None:
        self.rng = Random(seed)
        self.every = every
        self.faults = 0

    def __call__(self, data: bytes) -> bytes:
        spoilt = bytearray()
        for byte in data:
            if self.rng.randrange(self.every):
                spoilt.append(byte)
                continue
            self.faults += 1
            if self.rng.random() < 0.5:
                spoilt.append(byte ^ 1 << self.rng.randrange(8))
        return bytes(spoilt)


class Counting(dict[int, int]):
    """Word n holds 1000 + n; the FIFO's says how often it was read."""

    reads = 0

    def get(self, address: int, default: int | None = None) -> int:  # type: ignore[override]
        if address == FIFO:
            self.reads += 1
            return self.reads
        return 1000 + address


@pytest.mark.parametrize("seed", range(4))
async def test_every_word_is_the_right_one_or_late(seed: int) -> None:
    noise, rng = Noise(seed, every=500), Random(seed)
    bridge = FakeBridge()
    target = bridge.target = Counting()
    port = FakePort(bridge)
    link = await BusLink.open(port)
    port.on_request = port.on_reply = noise
    taken: list[int] = []
    late = 0

    async def caller() -> None:
        nonlocal late
        for _ in range(CALLS):
            address = FIFO if rng.random() < 0.1 else rng.randrange(400)
            limit_s = 0.01 if rng.random() < 0.02 else 20.0
            try:
                word = await link.read_word(address, limit_s)
            except LinkTimeout:
                assert limit_s < 1
                late += 1
                continue
            if address == FIFO:
                taken.append(word)
            else:
                assert word == 1000 + address

    tasks = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    while not taken:  # noqa: ASYNC110 - in the middle of it all
        await asyncio.sleep(0)
    given_up = tasks[: CALLERS // 4]
    for task in given_up:
        task.cancel()
    await asyncio.gather(*tasks[CALLERS // 4 :])
    await asyncio.wait(given_up)
    assert noise.faults > 5 and link.counters.crc_failures > 0
    assert len(set(taken)) == len(taken), "a FIFO was read once for two callers"
    # What nobody got was read for a caller who had gone.
    assert target.reads - len(taken) <= late + len(given_up)
