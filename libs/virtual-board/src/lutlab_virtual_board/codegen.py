"""Turn a netlist into C.

The program is one state structure `S` and a function `cycle` that computes what follows the state, prepares what the
clock edge will load, and then loads it. The serial line and the entry points are in `runtime.c`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from lutlab_virtual_board.netlist import ONE, ZERO, ClockLevel, Netlist, PinInput
from lutlab_virtual_board.schedule import ALWAYS, Group, plan, reachable
from lutlab_virtual_board.state import State
from lutlab_virtual_board.values import Values
from lutlab_virtual_board.writer import Statement, Writer

QUEUE_BYTES = 65536
"""Bytes that wait on their way into, and out of, the design; a power of two."""

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


def generate(
    netlist: Netlist, rx_pin: str, tx_pin: str, clock_hz: float, pulls: dict[str, int] | None = None
) -> Program:
    """The C program of a simplified netlist.

    Args:
        netlist: see `simplify`.
        rx_pin: where the host's serial line enters.
        tx_pin: where it leaves; a design that does not drive it is silent.
        clock_hz: frequency of the design's clock.
        pulls: level of open input pins; zero where not named.
    """
    schedule = plan(netlist)
    nets = reachable(netlist, schedule)
    drivers = [netlist.drivers[net] for net in nets]
    inputs = sorted({driver.pin for driver in drivers if isinstance(driver, PinInput)})
    both_edges = any(group.falling for group in schedule.groups) or any(isinstance(d, ClockLevel) for d in drivers)
    values = Values(netlist, schedule, inputs)
    state = State(netlist, schedule, values)
    writer = Writer()
    writer.add(values.compute(ALWAYS))
    for number, group in enumerate(schedule.groups):
        _add_group(writer, values, state, number, group)
    state.finish()
    outputs = list(netlist.outputs)
    sample = writer.outline(
        [Statement(f"S.out[{i}] = {values.read(netlist.outputs[pin])};") for i, pin in enumerate(outputs)]
    )
    functions, calls = writer.finish()
    struct = [
        *state.structure(),
        f"  unsigned char in[{max(1, len(inputs))}], out[{max(1, len(outputs))}], t[{max(1, writer.field_count)}];",
        "};",
    ]
    rx = inputs.index(rx_pin) if rx_pin in inputs else -1
    level = f"S.out[{outputs.index(tx_pin)}]" if tx_pin in outputs else "1"
    initial = [
        "static struct state S = {",
        f"  .bit = {4 << 16}, .host_bit = -1, .line = 1,",
        f"  .in = {{{','.join(str((pulls or {}).get(pin, 0)) for pin in inputs) or '0'}}},",
        *state.initial(),
        "};",
    ]
    fires = max(1, len(schedule.groups))
    layout = hashlib.sha256("\n".join([_PRELUDE, *struct, *functions]).encode()).hexdigest()[:16]
    runtime = resources.files("lutlab_virtual_board").joinpath("runtime.c").read_text()
    source = "\n".join(
        [
            f"#define QUEUE {QUEUE_BYTES}u",
            f"#define INPUTS {len(inputs)}",
            f"#define OUTPUTS {len(outputs)}",
            f"#define RX_INPUT {rx}",
            f"#define CLOCK_HZ {clock_hz!r}",
            f'#define LAYOUT "{layout}"',
            _PRELUDE,
            *struct,
            *initial,
            _MACROS,
            *functions,
            *_cycle(calls, sample, state, level, rx, both_edges, fires),
            runtime,
        ]
    )
    return Program(source, inputs, outputs)


def _add_group(writer: Writer, values: Values, state: State, number: int, group: Group) -> None:
    """Preparation of one group, under the condition that makes it change."""
    statements = [*values.compute(number), *state.prepare(number, group)]
    if group.enable == ONE and group.reset == ZERO:
        if group.kind != "registers":
            statements.append(Statement(f"S.fires[{number}] = 1;"))
        writer.add(statements)
        return
    statements.append(Statement(f"S.fires[{number}] = 1;"))
    if group.reset == ZERO:
        writer.add_guarded(values.read(group.enable), statements)
        return
    reset = [*state.reset(group), Statement(f"S.fires[{number}] = 1;")]
    writer.add_choice(values.read(group.reset), reset, values.read(group.enable), statements)


def _cycle(
    calls: list[str], sample: str, state: State, level: str, rx: int, both_edges: bool, fires: int
) -> list[str]:
    """The function that runs one clock cycle and gives the level of the serial output before its edge."""
    clear = [f"  {{ int i; for (i = 0; i < {fires}; i++) S.fires[i] = 0; }}"] if fires > 1 else ["  S.fires[0] = 0;"]
    lines = ["static u cycle(u line) {", "  u level;", "  S.changed = 0;"]
    if rx >= 0:
        lines.append(f"  S.in[{rx}] = line;")
    if both_edges:
        lines.append("  S.clk = 0;")
    lines += [*(f"  {call}" for call in calls), f"  {sample}();", f"  level = {level};"]
    lines += [*(f"  {text}" for text in state.edges.rising), *clear]
    if both_edges:
        lines += ["  S.clk = 1;", *(f"  {call}" for call in calls)]
        lines += [*(f"  {text}" for text in state.edges.falling), *clear]
    return [*lines, "  return level;", "}"]
