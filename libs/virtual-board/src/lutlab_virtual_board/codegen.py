"""Turn a netlist into C.

The program is one state structure `S` and a function `cycle` that computes what follows the state, prepares what the
clock edge will load, and then loads it. The serial line and the entry points are in `runtime.c`.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import resources

from lutlab_virtual_board.derived import detector
from lutlab_virtual_board.errors import UnsupportedCell, UnsupportedConfiguration
from lutlab_virtual_board.netlist import ONE, ZERO, ClockLevel, Netlist, OpenCarry, PinInput
from lutlab_virtual_board.schedule import ALWAYS, WITHOUT_CLOCK, Group, clock_of, is_plain, plan, reachable
from lutlab_virtual_board.state import State
from lutlab_virtual_board.values import Values
from lutlab_virtual_board.writer import Statement, Writer

QUEUE_BYTES = 65536
"""Bytes that wait on their way into, and out of, the design; a power of two."""

EDGES_MAX = 64
"""Clock edges of one design: bits of a word."""

TIME_BITS = 62
"""Of the time at which a clock's next edge comes; it and a period more fit into a word."""

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
  w rings;
  u line, host_frame, board_shift, host_head, host_tail, board_head, board_tail, changed, still, quiet, level;
  w edges;
  unsigned char host_queue[HOST_QUEUE], board_queue[BOARD_QUEUE];
"""

_MACROS = """\
#define SET(place, value) do { w fresh = (value); S.changed |= (place) != fresh; (place) = fresh; } while (0)
#define SETM(place, value, mark) \\
  do { w fresh = (value); if ((place) != fresh) { S.changed = 1; (place) = fresh; mark; } } while (0)
#define KEEP(place, value, mark) do { w fresh = (value); if ((place) != fresh) { (place) = fresh; mark; } } while (0)
#define LOAD1(i, mark) do { if (S.q[i] != S.n[i]) { S.changed = 1; S.q[i] = S.n[i]; mark; } } while (0)
#define NEXT(i, value) do { u fresh = (value); d |= fresh ^ S.q[i]; S.n[i] = fresh; } while (0)
#define TAKE1(i, mark) do { S.changed = 1; S.q[i] = S.n[i]; mark; } while (0)
#define TAKE(i, k, mark) do { S.changed = 1; memcpy(S.q + i, S.n + i, k); mark; } while (0)
#define LOAD(i, k, mark) \\
  do { if (memcmp(S.q + i, S.n + i, k)) { S.changed = 1; memcpy(S.q + i, S.n + i, k); mark; } } while (0)
#define WRITE_RAM(i, a, mark) SETM(S.ram[i], (S.ram[i] & ~(1u << (a))) | (w)S.data[i] << (a), mark)
#define CLEAR(b, i, mark) do { SETM((b).latch[i], 0, mark); SETM((b).out[i], 0, mark); (b).next[i] = 0; } while (0)
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
        for driver in drivers:
            if isinstance(driver, OpenCarry):
                raise UnsupportedCell("CCU2C", driver.place, "its carry in is open, and something depends on it")
        self.inputs = sorted({driver.pin for driver in drivers if isinstance(driver, PinInput)})
        self.outputs = list(netlist.outputs)
        self.rx = self.inputs.index(line.rx_pin) if line.rx_pin in self.inputs else -1
        self.edges, self.free = self.schedule.edges, self.schedule.free_edges()
        if len(self.edges) > EDGES_MAX:
            raise UnsupportedConfiguration(f"the design has {len(self.edges)} clock edges, more than {EDGES_MAX}")
        self.levels = sorted({driver.clock for driver in drivers if isinstance(driver, ClockLevel)})
        self.values = Values(netlist, self.schedule, self.inputs)
        self.state = State(netlist, self.schedule, self.values)
        self.writer = Writer(self.values.sources, len(self.edges) > 1, self.values.register_group)

    def source(self) -> str:
        """The translation unit."""
        self.writer.add_blocks(self.values.compute(ALWAYS))
        levels = [self.values.read(self.netlist.outputs[pin]) for pin in self.outputs]
        shown = [Statement(f"S.out[{i}] = {level};") for i, level in enumerate(levels)]
        if len(self.edges) == 1:
            for unit in self._units():
                self._add_unit(unit)
            self.writer.add_block(shown)
            sample = ""
        else:
            for number, group in enumerate(self.schedule.groups):
                if is_plain(self.netlist, group):
                    # Where their edge comes, they are a block as on a single edge.
                    self._add_unit([number])
                else:
                    self._add_group(number, group)
            self.state.finish()
            sample = f"{self.writer.outline(shown)}();"
        pieces = self.state.pieces() | {f"in_{index}" for index in range(len(self.inputs))}
        pieces |= {f"clk_{index}" for index in range(len(self.netlist.clocks) + 1)}
        functions, calls = self.writer.finish(pieces)
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
            f"#define STILL_CYCLES {self._still_cycles()}",
            f'#define LAYOUT "{layout}"',
            f"#define SIGNALS {json.dumps(self._signals())}",
            f"#define CLOCKS {json.dumps(json.dumps(self._clock_names(), separators=(',', ':')))}",
        ]

    def _signals(self) -> str:
        """What can be looked at, as JSON: pins that are read, pins that are driven, and registers by their place."""
        places = self.values.register_place
        order = sorted(places, key=lambda index: places[index])
        registers = [self.netlist.registers[index].place for index in order]
        return json.dumps([self.inputs, self.outputs, registers], separators=(",", ":"))

    def _clock_names(self) -> list[str]:
        """For each edge the clock that it is of, if that has no period; nothing where there are none."""
        names = ["" if edge in self.free else self.netlist.clocks[edge[0]].name for edge in self.edges]
        return names if any(names) else []

    def _struct(self) -> list[str]:
        counts = [max(1, count) for count in (len(self.inputs), len(self.outputs), self.writer.field_count)]
        fields = "  unsigned char in[{}], out[{}], t[{}];".format(*counts)
        clock_count = max(1, len(self.netlist.clocks))
        clocks = f"  w run[{self.writer.word_count}], at[{len(self.free)}];"
        clocks += f" unsigned char clk[{clock_count}], now_clk[{clock_count}];"
        if self.schedule.derived:
            clocks += f" u primed; unsigned char before[{clock_count}][2], chosen[{clock_count}][2];"
        return [*self.state.structure(), fields, clocks, "};"]

    def _initial(self) -> list[str]:
        pulls = ",".join(str(self.line.pulls.get(pin, 0)) for pin in self.inputs) or "0"
        return [
            "static struct state S = {",
            f"  .bit = {_INITIAL_BIT_CYCLES << 16}, .host_bit = -1, .line = 1, .in = {{{pulls}}},",
            f"  .run = {{{', '.join(['~0UL'] * self.writer.word_count)}}},",
            f"  .at = {{{','.join(str(first) for first, _ in self._times())}}},",
            *self.state.initial(),
            "};",
        ]

    def _add_group(self, number: int, group: Group) -> None:
        """Preparation of one group, where its edge comes and under the condition that makes it change."""
        fires = Statement(f"S.fires[{number}] = S.any_fires = 1;")
        if group.kind == "registers":
            fires = Statement(f"S.fired[S.fired_count++] = {number};")
        statements = [*self.values.compute(number), *self.state.prepare(number, group), fires]
        edge = "" if group.kind in WITHOUT_CLOCK else f"S.edges & {1 << self.edges.index(group.edge)}UL"
        if group.enable == ONE and group.reset == ZERO:
            if edge:
                self.writer.add_guarded(edge, statements)
            else:
                self.writer.add(statements)
            return
        enable = _both(edge, self.values.read(group.enable))
        if group.reset == ZERO:
            self.writer.add_guarded(enable, statements)
            return
        reset = [*self.state.reset(group), fires]
        self.writer.add_choice(_both(edge, self.values.read(group.reset)), reset, enable, statements)

    def _units(self) -> list[list[int]]:
        """Numbers of the groups that act on the same state, whose changes depend on each other."""
        units: dict[tuple[str, int], list[int]] = {}
        for number, group in enumerate(self.schedule.groups):
            kind = {"port": "block", "output": "block"}.get(group.kind, group.kind)
            index = number if group.kind in ("registers", "ram") else group.index[0]
            units.setdefault((kind, index), []).append(number)
        return list(units.values())

    def _add_unit(self, unit: list[int]) -> None:
        """State on one edge: a block, because loading again what was loaded changes nothing.

        What a piece of state loads only changes with what it and its controls read, and with the state itself.
        """
        groups = [(number, self.schedule.groups[number]) for number in unit]
        first, kind = groups[0][0], groups[0][1].kind
        statements: list[Statement] = []
        for number, group in groups:
            fires = [] if kind == "registers" else [Statement(f"S.fires[{number}] = d = 1;")]
            load = [*self.values.compute(number), *self.state.prepare(number, group), *fires]
            reset = [*self.state.reset(group), *fires] if group.reset != ZERO else []
            statements += self._under_controls(group, load, reset)
        watched: set[str] = set()
        if kind != "registers":
            watched = self.state.add_case(unit)
        begin, end = Statement("u d = 0;"), Statement(f"if (d) S.fired[S.fired_count++] = {first};")
        edge = self.edges.index(groups[0][1].edge) if len(self.edges) > 1 else None
        self.writer.add_block([begin, *statements, end], watched, edge)

    def _under_controls(self, group: Group, load: list[Statement], reset: list[Statement]) -> list[Statement]:
        """`load` where a group is enabled, but `reset` where it is reset."""
        end = Statement("}")
        statements = load
        if group.enable != ONE:
            statements = [Statement(f"if ({self.values.read(group.enable)}) {{"), *load, end]
        if group.reset == ZERO:
            return statements
        begin = Statement(f"if ({self.values.read(group.reset)}) {{")
        return [begin, *reset, Statement("} else {"), *statements, end]

    def _cycle(self, calls: list[str], sample: str) -> list[str]:
        """The function that runs one clock cycle and gives the level of the serial output before its edge."""
        tx = self.line.tx_pin
        level = f"S.out[{self.outputs.index(tx)}]" if tx in self.outputs else "1"
        rx = self.rx
        receive = [f"  if (S.in[{rx}] != line) {{ S.in[{rx}] = line; MARK_in_{rx}; }}"] if rx >= 0 else []
        compute = [f"  {call}" for call in calls]
        loads = self._loads()
        if len(self.edges) == 1:
            head = ["static u cycle(u line) {", "  u level;", "  S.changed = 0;", *receive]
            return [
                *head,
                *compute,
                f"  level = {level};",
                *loads,
                "  return level;",
                "}",
            ]
        return [*self._step(compute, sample, level, loads), *self._event_loop(receive)]

    def _loads(self) -> list[str]:
        """What an edge loads: the groups of registers that fired, and then the other state, which seldom does."""
        lines = [
            "  {",
            "    u i;",
            "    for (i = 0; i < S.fired_count; i++) switch (S.fired[i]) {",
            *(f"      {case}" for case in self.state.cases),
            "    }",
            "    S.fired_count = 0;",
            "  }",
        ]
        if not self.state.loads:
            return lines
        return [
            *lines,
            "  if (S.any_fires) {",
            "    u i;",
            *(f"    {text}" for text in self.state.loads),
            f"    for (i = 0; i < {len(self.schedule.groups)}; i++) S.fires[i] = 0;",
            "    S.any_fires = 0;",
            "  }",
        ]

    def _step(self, compute: list[str], sample: str, level: str, loads: list[str]) -> list[str]:
        """The function that runs the edges of one moment: what they load is what was there before any of them."""
        changes = [
            f"  if (S.edges & {1 << index}UL) {{ S.clk[{clock}] = {0 if falling else 1}; MARK_clk_{clock}; }}"
            for index, (clock, falling) in enumerate(self.edges)
            if clock in self.levels
        ]
        head = ["static void step(void) {", f"  w allowed[{self.writer.word_count}];", *compute]
        observe = f"  if (S.edges & {self._reference_bit()}UL) {{ {sample} S.level = {level}; }}"
        return [*head, observe, *loads, *changes, "}"]

    def _event_loop(self, receive: list[str]) -> list[str]:
        """The function that runs all moments from one rising edge of the reference clock until before the next."""
        periods = ",".join(str(period) for _, period in self._times())
        reference = self.edges.index((self.schedule.reference, False))
        derived = self.schedule.derived
        followed = [
            f"  if (S.edges & {1 << index}UL) S.now_clk[{clock}] = {0 if falling else 1};"
            for index, (clock, falling) in enumerate(self.free)
        ]
        settle = [*followed, "  S.edges |= derived();", "  step();", "  settle();"] if derived else ["  step();"]
        several = len({clock for clock, _ in self.free}) > 1
        # Only differences of times matter, so that they may begin anew before they overflow.
        anew = [
            f"  if (S.at[{reference}] >> {TIME_BITS}) {{",
            "    w past = earliest(); int i;",
            f"    for (i = 0; i < {len(self.free)}; i++) S.at[i] -= past;",
            "  }",
        ]
        return [
            *(detector(self.netlist, self.schedule, self.values) if derived else ()),
            f"static const w periods[{len(self.free)}] = {{{periods}}};",
            "static w earliest(void) {",
            "  w next = S.at[0]; int i;",
            f"  for (i = 1; i < {len(self.free)}; i++) if (S.at[i] < next) next = S.at[i];",
            "  return next;",
            "}",
            "static void moment(w now) {",
            "  int i;",
            "  S.edges = 0;",
            f"  for (i = 0; i < {len(self.free)}; i++)",
            "    if (S.at[i] == now) { S.edges |= 1UL << i; S.at[i] += periods[i]; }",
            *settle,
            "}",
            "static u cycle(u line) {",
            # A clock that is read as data makes the design's answer depend on when it comes.
            f"  S.changed = {int(several and bool(self.levels or derived))};",
            *receive,
            *anew,
            # What is high from the start has had no rising edge.
            *(["  if (!S.primed) { S.primed = 1; derived(); }", "  settle();"] if derived else []),
            f"  do moment(earliest()); while (!(S.edges & {self._reference_bit()}UL));",
            "  {",
            "    w now;",
            f"    while ((now = earliest()) < S.at[{reference}]) moment(now);",
            "  }",
            "  return S.level;",
            "}",
        ]

    def _reference_bit(self) -> int:
        return 1 << self.edges.index((self.schedule.reference, False))

    def _times(self) -> list[tuple[int, int]]:
        """For each edge the time of its first occurrence and its period, in the largest unit that makes all whole.

        Raises: UnsupportedConfiguration: that unit is so small that a period cannot be counted in it.
        """
        times: list[tuple[Fraction, Fraction]] = []
        for number, falling in self.free:
            clock = clock_of(self.netlist, number)
            first = clock.fall_s if falling else clock.first_s
            times.append((first, clock.period_s))
        parts = [part for pair in times for part in pair]
        scale = math.lcm(*(part.denominator for part in parts))
        unit = math.gcd(*(int(part * scale) for part in parts)) or 1
        counted = [(int(first * scale) // unit, int(period * scale) // unit) for first, period in times]
        if any(each >> TIME_BITS for pair in counted for each in pair):
            names = ", ".join(sorted({clock_of(self.netlist, number).name for number, _ in self.free}))
            raise UnsupportedConfiguration(f"the periods of {names} have no common unit that {TIME_BITS} bits count")
        return counted

    def _still_cycles(self) -> int:
        """Cycles without any change after which nothing can change: every clock has had an edge of each kind."""
        if len(self.edges) == 1:
            return 1
        reference = clock_of(self.netlist, self.schedule.reference).period_s
        longest = max(clock_of(self.netlist, number).period_s for number, _ in self.free)
        return math.ceil(longest / reference) + 1


def _both(first: str, second: str) -> str:
    """A condition that holds where two do; an empty one always does."""
    return f"({first}) && {second}" if first else second
