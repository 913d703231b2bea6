"""The butterfly against the definition, on corners and random coefficients, and its latency."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

Q = 3329
LATENCY = 3
CORNERS = (0, 1, 2, Q // 2, Q // 2 + 1, Q - 2, Q - 1)
PAIRS = 2000


async def start(dut):
    """Clock and reset. Inputs change and outputs are read at falling edges, far from the edge that counts."""
    dut.rst.value = 1
    dut.valid_in.value = 0
    for port in (dut.a, dut.b, dut.zeta):
        port.value = 0
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0


async def check(dut, inputs):
    """Feed one input per cycle and compare what comes out, in order."""
    expected = []
    seen = 0
    for cycle in range(len(inputs) + LATENCY + 1):
        if cycle < len(inputs):
            a, b, zeta = inputs[cycle]
            dut.a.value, dut.b.value, dut.zeta.value, dut.valid_in.value = a, b, zeta, 1
            expected.append(((a + zeta * b) % Q, (a - zeta * b) % Q))
        else:
            dut.valid_in.value = 0
        await FallingEdge(dut.clk)
        if dut.valid_out.value == 1:
            assert (int(dut.sum.value), int(dut.difference.value)) == expected[seen]
            assert cycle == seen + LATENCY - 1
            seen += 1
    assert seen == len(inputs)


@cocotb.test()
async def corners(dut):
    await start(dut)
    await check(dut, [(a, b, zeta) for a in CORNERS for b in CORNERS for zeta in CORNERS])


@cocotb.test()
async def random_coefficients(dut):
    await start(dut)
    await check(dut, [tuple(random.randrange(Q) for _ in range(3)) for _ in range(PAIRS)])
