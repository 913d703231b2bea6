"""The UART alone: baud mismatch, glitches, framing errors, gaps."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator
from bus_sim import receive_serial

from lutlab_gateware.uart import UartRx, UartTx

DATA = bytes([0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *random.Random(1).randbytes(26)])


def receive(levels, divider):
    """Feed one line level per cycle; returns bytes and the number of framing errors."""
    rx, data, errors = UartRx(divider), bytearray(), [0]

    async def drive(ctx):
        for level in levels:
            ctx.set(rx.rx, level)
            await ctx.tick()
            if ctx.get(rx.stb):
                data.append(ctx.get(rx.data))
            errors[0] += ctx.get(rx.err)

    simulator = Simulator(rx)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.run()
    return bytes(data), errors[0]


def line(data, bit_cycles, start=0.0, idle_bits=0):
    """Levels of a sender whose bit lasts `bit_cycles`, which need not be whole; it starts at a fraction of a cycle."""
    bits = [b for byte in data for b in [0, *((byte >> i) & 1 for i in range(8)), 1, *[1] * idle_bits]]
    total = int(start + len(bits) * bit_cycles)
    levels = [1] * 3
    for cycle in range(total):
        at = int((cycle - start) / bit_cycles) if cycle >= start else -1
        levels.append(bits[at] if at >= 0 else 1)
    return levels + [1] * int(12 * bit_cycles)


@pytest.mark.parametrize("divider", [4, 5, 8, 13, 434])
def test_receives_back_to_back(divider):
    assert receive(line(DATA[:8] if divider > 100 else DATA, divider), divider) == (
        DATA[:8] if divider > 100 else DATA,
        0,
    )


@pytest.mark.parametrize("sign", [-1, 1], ids=["fast", "slow"])
@pytest.mark.parametrize(("divider", "percent"), [(4, 0.1), (4, 1), (4, 2), (16, 3)])
def test_tolerates_a_baud_mismatch(divider, percent, sign):
    mismatch = sign * percent / 100
    for start in (0.0, 0.3, 0.7):
        assert receive(line(DATA, divider * (1 + mismatch), start), divider) == (DATA, 0)


def test_a_short_glitch_is_no_start_bit():
    levels = [1] * 8 + [0] * 3 + [1] * 200
    assert receive(levels, 16) == (b"", 0)


def test_a_low_stop_bit_is_a_framing_error_and_the_next_byte_is_fine():
    broken = line(b"\x55", 8)
    stop = 3 + 9 * 8
    broken[stop : stop + 8] = [0] * 8
    assert receive(broken + line(b"\x42", 8), 8) == (b"\x42", 1)


def test_a_long_break_is_one_framing_error():
    assert receive([1] * 4 + [0] * 1000 + [1] * 20 + line(b"\x42", 8), 8) == (b"\x42", 1)


@pytest.mark.parametrize("divider", [4, 7])
def test_sends_without_gaps(divider):
    tx, levels, received = UartTx(divider), [], bytearray()

    async def feed(ctx):
        for byte in DATA:
            ctx.set(tx.data, byte)
            ctx.set(tx.stb, 1)
            while not ctx.get(tx.ready):
                await ctx.tick()
            await ctx.tick()
        ctx.set(tx.stb, 0)
        while ctx.get(tx.busy):
            await ctx.tick()
        assert ctx.get(tx.tx) == 1

    async def watch(ctx):
        async for _, _, level, busy in ctx.tick().sample(tx.tx, tx.busy):
            if busy:
                levels.append(level)

    simulator = Simulator(tx)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(watch, background=True)
    simulator.add_testbench(receive_serial(tx.tx, divider, received), background=True)
    simulator.run()
    assert received == DATA
    assert len(levels) <= len(DATA) * 10 * divider + 4, "there are gaps between bytes"
