"""Turn a netlist into C.

The program is one state structure `S` and a function `cycle` that computes what follows the state, prepares what the
clock edge will load, and then loads it. The serial line and the entry points are in `runtime.c`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib import resources

from lutlab_virtual_board.netlist import ONE, ZERO, ClockLevel, Netlist, PinInput
from lutlab_virtual_board.schedule import ALWAYS, Group, plan, reachable
from lutlab_virtual_board.state import State
from lutlab_virtual_board.values import Values
from lutlab_virtual_board.writer import Statement, Writer

QUEUE_BYTES = 65536
"""Bytes that wait on their way into, and out of, the design; a power of two."""

_INITIAL_BIT_CYCLES = 4
"""Clock cycles of a serial bit until the host has set its rate."""

_PRELUDE = """\
typedef unsigned u;
typedef unsigned long w;
#ifdef __TINYC__
#define NOINLINE
#else
#define NOINLINE __attribute__((noinline))
#endif
extern int memcmp(const void *, const void *, w);
extern void *memcpy(void *, const void *, w);
#define HOST_QUEUE QUEUE
#define BOARD_QUEUE QUEUE
#define ONE_CYCLE 65536UL
enum { IDLE, START, DATA, BREAK };
struct block { unsigned short m[2048]; w latch[2], next[2], out[2];
  struct { u address, write, reset, load; w data; } port[2]; };
struct mul { u a, b, next_a, next_b; w product, next_product, output, next_output, now; };
struct state {
  w now, bit, host_edge, board_sample, board_flush;
  int host_bit, board_state, board_bit;
  u line, host_frame, board_shift, host_head, host_tail, board_head, board_tail, changed, quiet, clk;
  unsigned char host_queue[HOST_QUEUE], board_queue[BOARD_QUEUE];
"""

_MACROS = """\
#define SET(place, value) do { w fresh = (value); S.changed |= (place) != fresh; (place) = fresh; } while (0)
#define LOAD1(i) do { S.changed |= S.q[i] ^ S.n[i]; S.q[i] = S.n[i]; } while (0)
#define LOAD(i, k) do { if (memcmp(S.q + i, S.n + i, k)) { S.changed = 1; memcpy(S.q + i, S.n + i, k); } } while (0)
#define WRITE_RAM(i, a) SET(S.ram[i], (S.ram[i] & ~(1u << (a))) | (w)S.data[i] << (a))
#define READ18(m, a) ((w)(m)[(a) >> 4 << 1] | (w)(m)[((a) >> 4 << 1) + 1] << 9)
#define READ36(m, a) (READ18(m, (a) >> 5 << 5) | READ18(m, ((a) >> 5 << 5) + 16) << 18)
static w multiply(w a, w b, u signed_a, u signed_b) {
  long x = signed_a && a >> 17 ? (long)a - 262144 : (long)a;
  long y = signed_b && b >> 17 ? (long)b - 262144 : (long)b;
  return (w)(x * y) & 0xfffffffffUL;
}
"""


@dataclass(frozen=True, slots=True)
class Program:
    """Generated C.

    Attributes:
        source: the translation unit.
        inputs: pins in the order of the design's inputs.
        outputs: pins in the order of its outputs.
    """

    source: str
    inputs: list[str]
    outputs: list[str]


@dataclass(frozen=True, slots=True)
class Line:
    """Where the design meets its board.

    Attributes:
        rx_pin: where the host's serial line enters the chip.
        tx_pin: where it leaves; a design that does not drive it is silent.
        clock_hz: frequency of the design's clock.
        usercode: the bitstream's user code.
        pulls: level of open input pins; zero where not named.
    """

    rx_pin: str
    tx_pin: str
    clock_hz: float
    usercode: int = 0
    pulls: dict[str, int] = field(default_factory=dict)


def generate(netlist: Netlist, line: Line) -> Program:
    """The C program of a simplified netlist (see `simplify`)."""
    generator = _Generator(netlist, line)
    return Program(generator.source(), generator.inputs, generator.outputs)


class _Generator:
    def __init__(self, netlist: Netlist, line: Line) -> None:
        self.netlist = netlist
        self.line = line
        self.schedule = plan(netlist)
        drivers = [netlist.drivers[net] for net in reachable(netlist, self.schedule)]
        self.inputs = sorted({driver.pin for driver in drivers if isinstance(driver, PinInput)})
        self.outputs = list(netlist.outputs)
        self.rx = self.inputs.index(line.rx_pin) if line.rx_pin in self.inputs else -1
        self.both_edges = any(group.falling for group in self.schedule.groups) or any(
            isinstance(driver, ClockLevel) for driver in drivers
        )
        self.values = Values(netlist, self.schedule, self.inputs)
        self.state = State(netlist, self.schedule, self.values)
        self.writer = Writer()

    def source(self) -> str:
        """The translation unit."""
        self.writer.add(self.values.compute(ALWAYS))
        for number, group in enumerate(self.schedule.groups):
            self._add_group(number, group)
        self.state.finish()
        levels = [self.values.read(self.netlist.outputs[pin]) for pin in self.outputs]
        sample = self.writer.outline([Statement(f"S.out[{i}] = {level};") for i, level in enumerate(levels)])
        functions, calls = self.writer.finish()
        struct = self._struct()
        layout = hashlib.sha256("\n".join([_PRELUDE, *struct, *functions]).encode()).hexdigest()[:16]
        runtime = resources.files("lutlab_virtual_board").joinpath("runtime.c").read_text()
        parts = [
            *self._constants(layout),
            _PRELUDE,
            *struct,
            *self._initial(),
            _MACROS,
            *functions,
            *self._cycle(calls, sample),
            runtime,
        ]
        return "\n".join(parts)

    def _constants(self, layout: str) -> list[str]:
        return [
            f"#define QUEUE {QUEUE_BYTES}u",
            f"#define INPUTS {len(self.inputs)}",
            f"#define OUTPUTS {len(self.outputs)}",
            f"#define RX_INPUT {self.rx}",
            f"#define CLOCK_HZ {self.line.clock_hz!r}",
            f"#define USERCODE {self.line.usercode}u",
            f'#define LAYOUT "{layout}"',
        ]

    def _struct(self) -> list[str]:
        counts = [max(1, count) for count in (len(self.inputs), len(self.outputs), self.writer.field_count)]
        return [*self.state.structure(), "  unsigned char in[{}], out[{}], t[{}];".format(*counts), "};"]

    def _initial(self) -> list[str]:
        pulls = ",".join(str(self.line.pulls.get(pin, 0)) for pin in self.inputs) or "0"
        return [
            "static struct state S = {",
            f"  .bit = {_INITIAL_BIT_CYCLES << 16}, .host_bit = -1, .line = 1, .in = {{{pulls}}},",
            *self.state.initial(),
            "};",
        ]

    def _add_group(self, number: int, group: Group) -> None:
        """Preparation of one group, under the condition that makes it change."""
        fires = Statement(f"S.fires[{number}] = 1;")
        statements = [*self.values.compute(number), *self.state.prepare(number, group)]
        if group.enable == ONE and group.reset == ZERO:
            self.writer.add([*statements, *([] if group.kind == "registers" else [fires])])
            return
        enable = self.values.read(group.enable)
        if group.reset == ZERO:
            self.writer.add_guarded(enable, [*statements, fires])
            return
        reset = [*self.state.reset(group), fires]
        self.writer.add_choice(self.values.read(group.reset), reset, enable, [*statements, fires])

    def _cycle(self, calls: list[str], sample: str) -> list[str]:
        """The function that runs one clock cycle and gives the level of the serial output before its edge."""
        tx = self.line.tx_pin
        level = f"S.out[{self.outputs.index(tx)}]" if tx in self.outputs else "1"
        clear = [f"  {{ int i; for (i = 0; i < {len(self.schedule.groups)}; i++) S.fires[i] = 0; }}"]
        compute = [f"  {call}" for call in calls]
        lines = ["static u cycle(u line) {", "  u level;", "  S.changed = 0;"]
        if self.rx >= 0:
            lines.append(f"  S.in[{self.rx}] = line;")
        if self.both_edges:
            lines.append("  S.clk = 0;")
        lines += [*compute, f"  {sample}();", f"  level = {level};"]
        lines += [*(f"  {text}" for text in self.state.edges.rising), *clear]
        if self.both_edges:
            lines += ["  S.clk = 1;", *compute, *(f"  {text}" for text in self.state.edges.falling), *clear]
        return [*lines, "  return level;", "}"]
