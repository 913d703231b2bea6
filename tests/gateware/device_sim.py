"""A bench for the bus device: a target with a temper, a line that sends bytes, a record of everything that happened."""

from __future__ import annotations

import binascii
import tomllib
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.sim import Simulator

from lutlab_gateware.device import BusDevice

VECTORS = tomllib.loads((Path(__file__).parents[1] / "golden" / "bus_protocol_v3.toml").read_text())
ERR_WORD, DEAD_WORD = 0x1F0, 0x1F1
READ_PATTERN = 0x1000_0000
PARAMETERS: dict[str, Any] = {key: value for key, value in VECTORS["device"].items() if key != "window"}
"""What the golden vectors assume."""
CYCLES_MAX = 200_000
BYTE_CYCLES = 12
"""As fast as the device can take bytes."""


def stuff(frame: bytes) -> bytes:
    """A frame as it goes over the line: COBS, and the zero behind it."""
    line = bytearray()
    pieces = frame.split(b"\0")
    for index, piece in enumerate(pieces):
        blocks = [piece[at : at + 254] for at in range(0, len(piece), 254)] or [b""]
        if len(blocks[-1]) == 254 and index < len(pieces) - 1:
            blocks.append(b"")  # a full block stands for no zero
        for block in blocks:
            line += bytes([len(block) + 1]) + block
    return bytes(line) + b"\0"


def checked(body: bytes) -> bytes:
    """Head and operations with the check behind them that the head asks for, on the line."""
    if body[0] & 0x40:
        body = body[:1] + b"\0" + body[1:]
        return stuff(body + zlib.crc32(body).to_bytes(4, "little"))
    return stuff(body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big"))


def hello(sequence: int) -> bytes:
    """The request, on the line, that makes the next `sequence` the expected one."""
    return checked(bytes([0xC0 | (sequence - 1) % 64]) + b"test")


@dataclass
class Seen:
    """What came of one item of a script: reply bytes, transfers that started, transfers that ended with ack."""

    reply: bytearray = field(default_factory=bytearray)
    started: list[tuple[str, int, int]] = field(default_factory=list)
    acked: list[tuple[str, int, int]] = field(default_factory=list)


class TemperedTarget(Elaboratable):
    """Answers `delay` cycles after the request; 0 is a combinational ack. `ERR_WORD` and `DEAD_WORD` misbehave."""

    def __init__(self, delay: int) -> None:
        self.delay = delay
        self.cyc, self.stb, self.we, self.ack, self.err = (Signal(name=n) for n in ("cyc", "stb", "we", "ack", "err"))
        self.adr, self.dat_w, self.dat_r = Signal(9), Signal(32), Signal(32)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        request = self.cyc & self.stb
        answer = Signal()
        if self.delay == 0:
            m.d.comb += answer.eq(request)
        else:
            waited = Signal(range(self.delay + 1))
            m.d.sync += answer.eq(0)
            with m.If(~request | answer):
                m.d.sync += waited.eq(0)
            with m.Elif(waited == self.delay - 1):
                m.d.sync += answer.eq(1)
            with m.Else():
                m.d.sync += waited.eq(waited + 1)
        # A registered answer lags a cycle behind `stb`, as in most designs; not gated with `request` on purpose.
        m.d.comb += [
            self.err.eq(answer & (self.adr == ERR_WORD)),
            self.ack.eq(answer & (self.adr != ERR_WORD) & (self.adr != DEAD_WORD)),
            self.dat_r.eq(READ_PATTERN | self.adr),
        ]
        return m


def connect(m: Module, device: Any, target: Any) -> None:
    """Wire a device's Wishbone side to a target of the same names."""
    for name in ("cyc", "stb", "we", "adr", "dat_w"):
        m.d.comb += getattr(target, name).eq(getattr(device, name))
    for name in ("dat_r", "ack", "err"):
        m.d.comb += getattr(device, name).eq(getattr(target, name))


def watch(bus: Any, seen: list[Seen]) -> Any:
    """A background testbench that notes transfers in the latest `Seen`."""

    async def note(ctx: Any) -> None:
        was_active = False
        samples = ctx.tick().sample(bus.cyc & bus.stb, bus.ack, bus.we, bus.adr, bus.dat_w)
        async for _, _, active, ack, we, adr, dat_w in samples:
            transfer = ("w", adr, dat_w) if we else ("r", adr, 0)
            if active and not was_active:
                seen[-1].started.append(transfer)
            if active and ack:
                seen[-1].acked.append(transfer)
            was_active = active

    return note


def run_device(script: list[bytes], *, delay: int = 1, byte_cycles: int = BYTE_CYCLES, **changes: Any) -> list[Seen]:
    """Send bytes straight into the device, one every `byte_cycles`; after each item of the script wait for quiet."""
    device, target, seen = BusDevice(**PARAMETERS | changes), TemperedTarget(delay), list[Seen]()
    m = Module()
    m.submodules.device, m.submodules.target = device, target
    connect(m, device, target)

    async def send(ctx: Any) -> None:
        ctx.set(device.tx_ready, 1)
        for item in script:
            seen.append(Seen())
            for byte in item:
                ctx.set(device.rx_data, byte)
                ctx.set(device.rx_stb, 1)
                await ctx.tick()
                ctx.set(device.rx_stb, 0)
                await ctx.tick().repeat(byte_cycles - 1)
            await settle(ctx, device.executing | device.tx_stb)

    async def collect(ctx: Any) -> None:
        async for _, _, stb, data in ctx.tick().sample(device.tx_stb, device.tx_data):
            if stb:
                seen[-1].reply.append(data)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(collect, background=True)
    simulator.add_testbench(watch(device, seen), background=True)
    simulator.run()
    return seen


async def settle(ctx: Any, busy: Any, quiet_cycles: int = 16) -> None:
    """Wait until nothing was busy for a while."""
    quiet = 0
    for _ in range(CYCLES_MAX):
        await ctx.tick()
        quiet = 0 if ctx.get(busy) else quiet + 1
        if quiet > quiet_cycles:
            return
    raise AssertionError(f"still busy after {CYCLES_MAX} cycles")
