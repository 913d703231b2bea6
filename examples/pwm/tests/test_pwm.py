"""The widths of pulses, counted, while the registers are written at any time."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

TOP, DUTY = 0, (1, 2, 3, 4)
ROUNDS = 20


async def start(dut):
    """Clock and reset. Inputs change and outputs are read at falling edges, far from the edge that counts."""
    for port in (dut.wb_cyc, dut.wb_stb, dut.wb_we, dut.wb_adr, dut.wb_dat_w, dut.wb_sel):
        port.value = 0
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0


async def transfer(dut, address, word=None):
    """One transfer on the bus; a read without a word. Returns: what was read."""
    dut.wb_cyc.value = dut.wb_stb.value = 1
    dut.wb_we.value, dut.wb_sel.value, dut.wb_adr.value = int(word is not None), 0b1111, address
    dut.wb_dat_w.value = word or 0
    await FallingEdge(dut.clk)
    while dut.wb_ack.value != 1:
        await FallingEdge(dut.clk)
    dut.wb_cyc.value = dut.wb_stb.value = 0
    found = int(dut.wb_dat_r.value)
    await FallingEdge(dut.clk)
    return found


async def beginning(dut):
    """Wait for the first cycle of a period."""
    while True:
        await FallingEdge(dut.clk)
        if int(dut.count.value) == 0:
            return


async def widths(dut):
    """For how many cycles each LED is lit in the period that begins now."""
    lit = [0, 0, 0, 0]
    for _ in range(int(dut.top.value) + 1):
        leds = int(dut.io_leds.value)
        lit = [count + (leds >> led & 1) for led, count in enumerate(lit)]
        await FallingEdge(dut.clk)
    return lit


@cocotb.test()
async def words_are_kept(dut):
    await start(dut)
    for address in (TOP, *DUTY):
        word = random.randrange(1 << 16)
        await transfer(dut, address, word)
        assert await transfer(dut, address) == word


@cocotb.test()
async def pulses_are_as_wide_as_they_should_be(dut):
    await start(dut)
    for _ in range(ROUNDS):
        top = random.randrange(20, 60)
        duties = [random.choice((0, 1, top, top + 1, random.randrange(top))) for _ in DUTY]
        await transfer(dut, TOP, top)
        for address, duty in zip(DUTY, duties, strict=True):
            await transfer(dut, address, duty)
        await beginning(dut)
        assert await widths(dut) == duties
