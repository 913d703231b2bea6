"""A bench for the bridge: a target with a temper, a line that sends bytes, and a record of everything that happened."""

from __future__ import annotations

import importlib.util
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Elaboratable, Module, Signal
from amaranth.sim import Simulator

from lutlab_bus import Operation, Result
from lutlab_bus.framer import Framer, Limits
from lutlab_gateware.bridge import Bridge
from lutlab_gateware.core import BridgeCore
from lutlab_gateware.soc import Soc

VECTORS = tomllib.loads((Path(__file__).parents[1] / "golden" / "bus_protocol_v1.toml").read_text())
ERR_WORD, DEAD_WORD = 0x1F0, 0x1F1
READ_PATTERN = 0x1000_0000
SILENCE = object()
"""In a script: wait for longer than the bridge's silence."""
PARAMETERS: dict[str, Any] = {
    "divider": 4,
    "build_id": 0xCAFE_F00D,
    "clk_hz": 50_000_000,
    "bus_timeout_cycles": 64,
    "queue_bytes": 256,
    "silence_cycles": 2048,
}
"""What the golden vectors assume."""
CYCLES_MAX = 200_000


def from_hex(text: str) -> bytes:
    return bytes.fromhex(text)


@dataclass(frozen=True)
class Break:
    """In a script for the serial line: hold it low."""

    bits: int


@dataclass
class Seen:
    """What a run produced: reply bytes, transfers that started, transfers that ended with ack, each once per cycle."""

    replies: bytearray = field(default_factory=bytearray)
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


def _watch(bus: Any, seen: Seen) -> Any:
    async def watch(ctx: Any) -> None:
        was_active = False
        samples = ctx.tick().sample(bus.cyc & bus.stb, bus.ack, bus.we, bus.adr, bus.dat_w)
        async for _, _, active, ack, we, adr, dat_w in samples:
            transfer = ("w", adr, dat_w) if we else ("r", adr, 0)
            if active and not was_active:
                seen.started.append(transfer)
            if active and ack:
                seen.acked.append(transfer)
            was_active = active

    return watch


async def _settle(ctx: Any, dut: Any, quiet_cycles: int) -> None:
    """Wait until nothing is executed for a while."""
    quiet = 0
    for _ in range(CYCLES_MAX):
        await ctx.tick()
        quiet = 0 if ctx.get(dut.executing) else quiet + 1
        if quiet > quiet_cycles:
            return
    raise AssertionError(f"the bridge is still busy after {CYCLES_MAX} cycles")


def _connect(m: Module, dut: Any, target: TemperedTarget) -> None:
    for name in ("cyc", "stb", "we", "adr", "dat_w"):
        m.d.comb += getattr(target, name).eq(getattr(dut, name))
    for name in ("dat_r", "ack", "err"):
        m.d.comb += getattr(dut, name).eq(getattr(target, name))


def run_core(script: list[bytes | object], *, delay: int = 1, byte_cycles: int = 8, **changes: Any) -> Seen:
    """Send bytes straight into the core, one every `byte_cycles`; much faster than bit by bit."""
    parameters = PARAMETERS | changes
    core, target, seen = BridgeCore(**parameters), TemperedTarget(delay), Seen()
    m = Module()
    m.submodules.core, m.submodules.target = core, target
    _connect(m, core, target)

    async def send(ctx: Any) -> None:
        ctx.set(core.tx_ready, 1)
        for item in script:
            if item is SILENCE:
                await _settle(ctx, core, 8)
                await ctx.tick().repeat(parameters["silence_cycles"] + 8)
                continue
            for byte in item:
                ctx.set(core.rx_data, byte)
                ctx.set(core.rx_stb, 1)
                await ctx.tick()
                ctx.set(core.rx_stb, 0)
                await ctx.tick().repeat(byte_cycles - 1)
        await _settle(ctx, core, 8)

    async def collect(ctx: Any) -> None:
        async for _, _, stb, data in ctx.tick().sample(core.tx_stb, core.tx_data):
            if stb:
                seen.replies.append(data)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(collect, background=True)
    simulator.add_testbench(_watch(core, seen), background=True)
    simulator.run()
    return seen


async def send_serial(ctx: Any, line: Any, data: bytes, bit_cycles: int, domain: str = "sync") -> None:
    """Put bytes on a serial line, back to back."""
    for byte in data:
        for bit in (0, *((byte >> i) & 1 for i in range(8)), 1):
            ctx.set(line, bit)
            await ctx.tick(domain).repeat(bit_cycles)


def receive_serial(line: Any, bit_cycles: int, received: bytearray, domain: str = "sync") -> Any:
    """A background testbench that decodes a serial line, strictly: every stop bit must be high."""

    async def receive(ctx: Any) -> None:
        clock = -1  # cycles since the start bit began; -1 on an idle line
        byte = 0
        async for _, _, level in ctx.tick(domain).sample(line):
            if clock < 0 and level:
                continue
            clock += 1
            bit, phase = divmod(clock, bit_cycles)
            if phase != bit_cycles // 2:
                continue
            if bit == 9:
                assert level == 1, "a stop bit is low"
                received.append(byte)
                clock, byte = -1, 0
            elif bit > 0:
                byte |= level << bit - 1

    return receive


def run_bridge(script: list[bytes | object], *, delay: int = 1, **changes: Any) -> Seen:
    """Send bytes bit by bit through the UART."""
    parameters = PARAMETERS | changes
    bridge, target, seen = Bridge(**parameters), TemperedTarget(delay), Seen()
    m = Module()
    m.submodules.bridge, m.submodules.target = bridge, target
    _connect(m, bridge, target)

    async def send(ctx: Any) -> None:
        for item in script:
            if item is SILENCE:
                await _settle(ctx, bridge, parameters["silence_cycles"] + 8)
            elif isinstance(item, Break):
                ctx.set(bridge.rx, 0)
                await ctx.tick().repeat(item.bits * parameters["divider"])
                ctx.set(bridge.rx, 1)
                await ctx.tick().repeat(parameters["divider"])
            else:
                await send_serial(ctx, bridge.rx, item, parameters["divider"])
        await _settle(ctx, bridge, 20 * parameters["divider"])

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(receive_serial(bridge.tx, parameters["divider"], seen.replies), background=True)
    simulator.add_testbench(_watch(bridge, seen), background=True)
    simulator.run()
    return seen


def load_example(name: str) -> Any:
    """The module of examples/<name>/design.py."""
    path = Path(__file__).parents[2] / "examples" / name / "design.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_soc(target: Any, batches: list[list[Operation]], *, divider: int = 4) -> list[list[Result]]:
    """Run batches of operations on a whole SoC, pin to pin: host framer, serial line, bridge, target."""
    soc = Soc(target, divider=divider, build_id=1, clk_hz=50_000_000, queue_bytes=1024, bus_timeout_cycles=64)
    m = Module()
    m.domains.pin = ClockDomain()
    m.d.comb += soc.clk.eq(ClockSignal("pin"))
    m.submodules.soc = soc
    received, results = bytearray(), []

    async def host(ctx: Any) -> None:
        await ctx.tick("pin").repeat(30)
        assert ctx.get(soc.leds[0]), "still in reset"
        for operations in batches:
            framer = Framer(operations, Limits(queue_bytes=1024, write_words_max=128))
            while not framer.done:
                for byte in framer.data_to_send():
                    await send_serial(ctx, soc.rx, bytes([byte]), divider, domain="pin")
                for _ in range(CYCLES_MAX):
                    if received:
                        break
                    await ctx.tick("pin")
                assert received, "no reply"
                framer.receive(bytes(received))
                received.clear()
            results.append(framer.results())

    simulator = Simulator(m)
    simulator.add_clock(20e-9, domain="pin")
    simulator.add_testbench(host)
    simulator.add_testbench(receive_serial(soc.tx, divider, received, domain="pin"), background=True)
    simulator.run()
    return results
