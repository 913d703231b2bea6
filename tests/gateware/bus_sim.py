"""Serial lines bit by bit: a bridge with a tempered target, and whole SoCs driven by the host's protocol engine."""

from __future__ import annotations

import importlib.util
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Module
from amaranth.sim import Simulator
from device_sim import CYCLES_MAX, PARAMETERS, Seen, TemperedTarget, connect, settle, watch

from lutlab_bus import LinkCounters, Operation, Result, Status
from lutlab_bus.engine import Engine
from lutlab_bus.jobs import job_of
from lutlab_gateware.bridge import Bridge
from lutlab_gateware.soc import Soc


@dataclass(frozen=True)
class Break:
    """In a script for the serial line: hold it low."""

    bits: int


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


def run_bridge(script: list[bytes | Break], *, delay: int = 1, **changes: Any) -> list[Seen]:
    """Send bytes bit by bit through the UART; after each item of the script wait for quiet."""
    parameters = PARAMETERS | changes
    bridge, target, seen = Bridge(**parameters), TemperedTarget(delay), list[Seen]()
    bit_cycles = parameters["divider"]
    m = Module()
    m.submodules.bridge, m.submodules.target = bridge, target
    connect(m, bridge, target)
    received = bytearray()

    async def send(ctx: Any) -> None:
        for item in script:
            seen.append(Seen())
            if isinstance(item, Break):
                ctx.set(bridge.rx, 0)
                await ctx.tick().repeat(item.bits * bit_cycles)
                ctx.set(bridge.rx, 1)
                await ctx.tick().repeat(bit_cycles)
            else:
                await send_serial(ctx, bridge.rx, item, bit_cycles)
            await settle(ctx, bridge.executing, 20 * bit_cycles)
            seen[-1].reply += received
            received.clear()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(receive_serial(bridge.tx, bit_cycles, received), background=True)
    simulator.add_testbench(watch(bridge, seen), background=True)
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


class Caller:
    """Waits for jobs; see `lutlab_bus.jobs.Owner`."""

    open = True


def run_soc(target: Any, batches: list[list[Operation]], *, divider: int = 4) -> list[list[Result]]:
    """Run batches of operations on a whole SoC, pin to pin: host engine, serial line, bridge, target."""
    soc = Soc(target, divider=divider, build_id=1, clk_hz=50_000_000, bus_timeout_cycles=64)
    m = Module()
    m.domains.pin = ClockDomain()
    m.d.comb += soc.clk.eq(ClockSignal("pin"))
    m.submodules.soc = soc
    received, results = bytearray(), []
    counters = LinkCounters()
    engine = Engine(counters, random.Random(1).getrandbits)

    async def host(ctx: Any) -> None:
        await ctx.tick("pin").repeat(30)
        assert ctx.get(soc.leds[0]), "still in reset"
        for operations in batches:
            jobs = [job_of(Caller(), index, operation) for index, operation in enumerate(operations)]
            for job in jobs:
                engine.submit(job)
            left = len(jobs)
            while left:
                await send_serial(ctx, soc.rx, engine.poll(0.0), divider, domain="pin")
                for _ in range(CYCLES_MAX):
                    if received:
                        break
                    await ctx.tick("pin")
                assert received, "no reply"
                left -= len(engine.receive(bytes(received), 0.0))
                received.clear()
            results.append([Result(Status(job.status), job.words) for job in jobs])
        assert (counters.retries, counters.crc_failures, counters.naks) == (0, 0, 0)

    simulator = Simulator(m)
    simulator.add_clock(20e-9, domain="pin")
    simulator.add_testbench(host)
    simulator.add_testbench(receive_serial(soc.tx, divider, received, domain="pin"), background=True)
    simulator.run()
    return results
