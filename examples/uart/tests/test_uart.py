"""The serial port against a line of our own, in both directions and with faults."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from line import CLKS_PER_BIT, read, send

FRAME_NS = 12 * CLKS_PER_BIT * 10


async def start(dut, *, loopback=0):
    """Clock and reset."""
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst.value = 1
    dut.loopback.value = loopback
    dut.tx_valid.value = 0
    dut.tx_data.value = 0
    dut.rxd.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)


async def transmit(dut, value):
    """Hand a byte to the transmitter when it is ready."""
    while not int(dut.tx_ready.value):
        await RisingEdge(dut.clk)
    dut.tx_data.value = value
    dut.tx_valid.value = 1
    await RisingEdge(dut.clk)
    dut.tx_valid.value = 0
    await RisingEdge(dut.clk)


async def received(dut, signal="rx_valid"):
    """The byte the receiver gives out with `signal`."""
    await with_timeout(RisingEdge(getattr(dut, signal)), 2 * FRAME_NS, "ns")
    return int(dut.rx_data.value)


@cocotb.test()
async def transmits_every_bit(dut):
    """Bytes with one bit set, and random ones, appear on the line."""
    await start(dut)
    for value in [0x00, 0xFF, *(1 << i for i in range(8)), *(random.randrange(256) for _ in range(4))]:
        reader = cocotb.start_soon(read(dut))
        await transmit(dut, value)
        assert await with_timeout(reader, 2 * FRAME_NS, "ns") == value


@cocotb.test()
async def leaves_a_stop_bit_between_bytes(dut):
    """Bytes that wait for the transmitter follow each other with a whole stop bit between them."""
    await start(dut)
    values = [0x00, 0x81, 0x00]
    dut.tx_valid.value = 1
    for value in values:
        dut.tx_data.value = value
        assert await with_timeout(read(dut), 2 * FRAME_NS, "ns") == value
    dut.tx_valid.value = 0


@cocotb.test()
async def receives_every_bit(dut):
    """Bytes from the line come out of the receiver."""
    await start(dut)
    for value in [0x00, 0xFF, *(1 << i for i in range(8)), *(random.randrange(256) for _ in range(4))]:
        sender = cocotb.start_soon(send(dut, value))
        assert await received(dut) == value
        await sender


@cocotb.test()
async def reports_wrong_parity(dut):
    """A byte with the wrong parity is an error and is not given out."""
    await start(dut)
    sender = cocotb.start_soon(send(dut, 0x5A, parity=1))
    assert await received(dut, "parity_error") == 0x5A
    assert not int(dut.rx_valid.value)
    await sender


@cocotb.test()
async def reports_missing_stop_bit(dut):
    """A low stop bit is a framing error."""
    await start(dut)
    sender = cocotb.start_soon(send(dut, 0xA5, stop=0))
    await received(dut, "framing_error")
    assert not int(dut.rx_valid.value)
    await sender


@cocotb.test()
async def ignores_short_pulses(dut):
    """Noise shorter than half a bit starts nothing."""
    await start(dut)
    dut.rxd.value = 0
    await ClockCycles(dut.clk, 3)
    dut.rxd.value = 1
    for _ in range(14 * CLKS_PER_BIT):
        await RisingEdge(dut.clk)
        assert not int(dut.rx_valid.value)
        assert not int(dut.framing_error.value)
        assert not int(dut.parity_error.value)


@cocotb.test()
async def loopback_returns_bytes(dut):
    """The self test sees what was sent."""
    await start(dut, loopback=1)
    for _ in range(4):
        value = random.randrange(256)
        receiver = cocotb.start_soon(received(dut))
        await transmit(dut, value)
        assert await receiver == value
