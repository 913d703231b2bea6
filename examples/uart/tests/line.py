"""A serial line as the other end sees it: what it sends and what it reads."""

from cocotb.triggers import ClockCycles, FallingEdge

CLKS_PER_BIT = 16


async def send(dut, value, *, parity=None, stop=1):
    """Put a byte on `rxd`; `parity` None means the right one."""
    right = bin(value).count("1") % 2
    bits = [0, *((value >> i) & 1 for i in range(8)), right if parity is None else parity, stop]
    for bit in bits:
        dut.rxd.value = bit
        await ClockCycles(dut.clk, CLKS_PER_BIT)
    dut.rxd.value = 1
    await ClockCycles(dut.clk, CLKS_PER_BIT)


async def read(dut):
    """The next byte on `txd`, checked for its parity and stop bit."""
    await FallingEdge(dut.txd)
    await ClockCycles(dut.clk, CLKS_PER_BIT // 2)
    assert dut.txd.value == 0, "the start bit is too short"
    bits = []
    for _ in range(10):
        await ClockCycles(dut.clk, CLKS_PER_BIT)
        bits.append(int(dut.txd.value))
    value = sum(bit << i for i, bit in enumerate(bits[:8]))
    assert bits[8] == bin(value).count("1") % 2, f"wrong parity bit after {value:#04x}"
    assert bits[9] == 1, f"no stop bit after {value:#04x}"
    return value
