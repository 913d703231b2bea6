"""State in C: where it is stored, what each group prepares before a clock edge, and what the edge loads."""

from __future__ import annotations

from collections import defaultdict

from lutlab_virtual_board.device import BRAM_WORDS
from lutlab_virtual_board.netlist import ZERO, Netlist, RamPort
from lutlab_virtual_board.schedule import Group, Schedule, is_plain
from lutlab_virtual_board.values import Values
from lutlab_virtual_board.writer import Statement


class State:
    """The C of a netlist's state.

    Args:
        netlist: that is generated.
        schedule: of it.
        values: of it.
    """

    def __init__(self, netlist: Netlist, schedule: Schedule, values: Values) -> None:
        self.netlist = netlist
        self.schedule = schedule
        self.values = values
        self.loads: list[str] = []
        """What a step does last for state other than registers; `S.fires` says which groups change in it."""
        self.cases: list[str] = []
        """What it does for each group of registers in the list `S.fired`."""
        self.several_edges = len(schedule.edges) > 1
        self._clears: list[str] = []
        self._accesses: dict[int, list[tuple[int, Group]]] = defaultdict(list)

    def structure(self) -> list[str]:
        """Fields of the state structure."""
        registers = max(1, len(self.netlist.registers))
        groups = max(1, len(self.schedule.groups))
        return [
            f"  unsigned char q[{registers}], n[{registers}], fires[{groups}];",
            f"  unsigned short fired[{groups}]; u fired_count, any_fires;",
            f"  unsigned char address[{groups}];",
            f"  unsigned short ram[{max(1, len(self.netlist.rams))}];",
            f"  unsigned char data[{max(1, len(self.netlist.rams))}];",
            f"  struct block block[{max(1, len(self.netlist.block_rams))}];",
            f"  struct mul mul[{max(1, len(self.netlist.multipliers))}];",
        ]

    def pieces(self) -> set[str]:
        """Names of all state, as in `MARK_<name>`."""
        names = {f"q_{number}" for number, group in enumerate(self.schedule.groups) if group.kind == "registers"}
        names |= {f"ram_{index}" for index in range(len(self.netlist.rams))}
        names |= {f"block_{index}_{port}" for index in range(len(self.netlist.block_rams)) for port in (0, 1)}
        names |= {f"memory_{index}" for index in range(len(self.netlist.block_rams))}
        stages = ("a", "b", "product", "output", "now")
        return names | {f"mul_{index}_{stage}" for index in range(len(self.netlist.multipliers)) for stage in stages}

    def initial(self) -> list[str]:
        """Designated initialisers of the state after configuration."""
        places = self.values.register_place
        order = sorted(places, key=lambda index: places[index])
        values = ",".join(str(self.netlist.registers[index].value) for index in order) or "0"
        lines = [f"  .q = {{{values}}},", f"  .n = {{{values}}},"]
        if self.netlist.rams:
            lines.append(f"  .ram = {{{','.join(str(ram.value) for ram in self.netlist.rams)}}},")
        for index, block in enumerate(self.netlist.block_rams):
            if any(block.words):
                assert len(block.words) == BRAM_WORDS
                lines.append(f"  .block[{index}].m = {{{','.join(map(str, block.words))}}},")
        return lines

    # -- preparation ----------------------------------------------------------------------------------------------

    def prepare(self, number: int, group: Group) -> list[Statement]:
        """What a group stores before its edge when it is enabled, and note what the edge does with it."""
        kinds = {
            "registers": self._registers,
            "ram": self._ram,
            "force": self._force,
            "clear": self._clear,
            "clear_stage": self._clear_stage,
            "port": self._port,
            "output": self._output,
            "stage": self._stage,
        }
        return [Statement(text) for text in kinds[group.kind](number, group)]

    def reset(self, group: Group) -> list[Statement]:
        """What a group stores before its edge when it is reset."""
        if group.kind == "stage":
            return [Statement(f"S.mul[{group.index[0]}].next_{group.stage} = 0;")]
        return [Statement(self._next(m, str(self.netlist.registers[m].value))) for m in group.members]

    def finish(self) -> None:
        """Note what the edges do with block RAMs, all of whose ports read before any of them writes."""
        for index, accesses in self._accesses.items():
            self._block_ram_edge(index, accesses)
        self.loads += self._clears

    def add_case(self, unit: list[int]) -> set[str]:
        """Turn what was noted for a unit's groups into its case; the names of the state it depends on besides.

        Args:
            unit: numbers of the groups; they are named by the first of them.
        """
        blocks = list(self._accesses)
        self.finish()
        self._accesses.clear()
        reset = f"{' = '.join(f'S.fires[{number}]' for number in unit)} = 0;"
        self.cases.append(f"case {unit[0]}: {' '.join(self.loads)} {reset} break;")
        self.loads = []
        return {name for block in blocks for name in (f"memory_{block}", f"block_{block}_0", f"block_{block}_1")}

    def _registers(self, number: int, group: Group) -> list[str]:
        first = self.values.register_place[group.members[0]]
        count = len(group.members)
        mark = f"MARK_q_{number}"
        # Where only registers that change come this far, they need not be compared.
        load = "LOAD" if self._compared(number) else "TAKE"
        call = f"{load}({first}, {count}, {mark})" if count > 1 else f"{load}1({first}, {mark})"
        self.cases.append(f"case {number}: {call}; break;")
        return [self._next(m, self.values.read(self.netlist.registers[m].d)) for m in group.members]

    def _next(self, register: int, value: str) -> str:
        """Prepare what a register loads."""
        place = self.values.register_place[register]
        compared = self._compared(self.values.register_group[place])
        return f"S.n[{place}] = {value};" if compared else f"NEXT({place}, {value});"

    def _compared(self, number: int) -> bool:
        """Whether a group of registers is compared with what it loads at the edge: not if it is a block."""
        return self.several_edges and not is_plain(self.netlist, self.schedule.groups[number])

    def _force(self, number: int, group: Group) -> list[str]:
        places = {m: self.values.register_place[m] for m in group.members}
        self.loads.append(f"if (S.fires[{number}]) {{")
        self.loads += [f"  LOAD1({place}, MARK_q_{self.values.register_group[place]});" for place in places.values()]
        self.loads.append("}")
        return [f"S.n[{place}] = {self.netlist.registers[m].value};" for m, place in places.items()]

    def _clear(self, number: int, group: Group) -> list[str]:
        block, index = group.index
        self._clears.append(f"if (S.fires[{number}]) CLEAR(S.block[{block}], {index}, MARK_block_{block}_{index});")
        return []

    def _clear_stage(self, number: int, group: Group) -> list[str]:
        self.loads.append(f"if (S.fires[{number}]) SETM({_stage(group)}, 0, MARK_mul_{group.index[0]}_{group.stage});")
        return []

    def _ram(self, number: int, group: Group) -> list[str]:
        write = self.netlist.rams[group.members[0]].write
        edge = self.loads
        edge.append(f"if (S.fires[{number}]) {{")
        edge += [f"  WRITE_RAM({m}, S.address[{number}], MARK_ram_{m});" for m in group.members]
        edge.append("}")
        return [
            f"S.address[{number}] = {self.values.gather(write)};",
            *(f"S.data[{m}] = {self.values.read(self.netlist.rams[m].data)};" for m in group.members),
        ]

    def _port(self, number: int, group: Group) -> list[str]:
        block, index = group.index
        port = self.netlist.block_rams[block].ports[index]
        self._accesses[block].append((number, group))
        access = f"S.block[{block}].port[{index}]"
        lines = [f"{access}.address = {self.values.gather(port.address)};"]
        if port.write == ZERO:
            return lines
        stop = f" & ({self.values.read(port.reset)} ^ 1)" if port.reset_stops_writes and port.reset != ZERO else ""
        return [
            *lines,
            f"{access}.write = {self.values.read(port.write)}{stop};",
            f"{access}.data = {self.values.gather(port.data)};",
        ]

    def _output(self, number: int, group: Group) -> list[str]:
        block, index = group.index
        port = self.netlist.block_rams[block].ports[index]
        self._accesses[block].append((number, group))
        access = f"S.block[{block}].port[{index}]"
        return [
            f"{access}.reset = {self.values.read(port.reset)};",
            f"{access}.load = {self.values.read(port.register_enable)};",
        ]

    def _stage(self, number: int, group: Group) -> list[str]:
        index, stage = group.index[0], group.stage
        place = f"S.mul[{index}]"
        mark = f"MARK_mul_{index}_{stage}"
        self.loads.append(f"if (S.fires[{number}]) SETM({place}.{stage}, {place}.next_{stage}, {mark});")
        multiplier = self.netlist.multipliers[index]
        if stage == "a":
            value = self.values.gather(multiplier.a)
        elif stage == "b":
            value = self.values.gather(multiplier.b)
        elif stage == "output" and multiplier.stage_product:
            value = self.values.held(index, "product", multiplier.stage_product)
        else:
            value = self.values.product(index, *self.values.factors(index))
        return [f"{place}.next_{stage} = {value};"]

    # -- block RAM edges --------------------------------------------------------------------------------------------

    def _block_ram_edge(self, block: int, groups: list[tuple[int, Group]]) -> None:
        edge = self.loads
        accesses = [(number, group) for number, group in groups if group.kind == "port"]
        outputs = [(number, group) for number, group in groups if group.kind == "output"]
        ports = self.netlist.block_rams[block].ports
        place = f"S.block[{block}]"
        for number, group in outputs:
            index = group.index[1]
            if ports[index].register:
                edge += _register_load(number, block, index, ports[index])
        for number, group in accesses:
            port, index = ports[group.index[1]], group.index[1]
            if port.outputs[1]:
                hold = f" && !{place}.port[{index}].write" if port.write != ZERO and port.write_mode == "NORMAL" else ""
                edge.append(f"if (S.fires[{number}]{hold}) {place}.next[{index}] = {_read(place, index, port)};")
        for number, group in accesses:
            port, index = ports[group.index[1]], group.index[1]
            if port.write != ZERO:
                edge.append(f"if (S.fires[{number}] && {place}.port[{index}].write) {{ {_write(block, index, port)} }}")
        for number, group in accesses:
            port, index = ports[group.index[1]], group.index[1]
            if port.outputs[1] and port.write != ZERO and port.write_mode == "WRITETHROUGH":
                writes = f"S.fires[{number}] && {place}.port[{index}].write"
                edge.append(f"if ({writes}) {place}.next[{index}] = {_read(place, index, port)};")
        for number, group in outputs:
            index = group.index[1]
            if ports[index].reset != ZERO:
                edge.append(f"if (S.fires[{number}] && {place}.port[{index}].reset) {place}.next[{index}] = 0;")
        for index in {group.index[1] for _, group in groups}:
            if ports[index].outputs[1]:
                edge.append(f"SETM({place}.latch[{index}], {place}.next[{index}], MARK_block_{block}_{index});")


def _stage(group: Group) -> str:
    return f"S.mul[{group.index[0]}].{group.stage}"


def _register_load(number: int, block: int, index: int, port: RamPort) -> list[str]:
    """What the output register takes: the word before this edge, or zero under a reset.

    A synchronous reset waits for the register's enable (as in the vendor's simulation model of the cell).
    """
    place, mark = f"S.block[{block}]", f"MARK_block_{block}_{index}"
    access, word, out = f"{place}.port[{index}]", f"{place}.latch[{index}]", f"{place}.out[{index}]"
    if port.reset == ZERO:
        return [f"if (S.fires[{number}] && {access}.load) SETM({out}, {word}, {mark});"]
    condition = f"{access}.load" if port.reset_stops_writes else f"({access}.load || {access}.reset)"
    return [f"if (S.fires[{number}] && {condition}) SETM({out}, {access}.reset ? 0 : {word}, {mark});"]


def _read(place: str, index: int, port: RamPort) -> str:
    """The word at a port's address. Words narrower than nine bits use the low eight of every nine."""
    address = f"{place}.port[{index}].address"
    if port.width == 36:
        return f"READ36({place}.m, {address})"
    if port.width == 18:
        return f"READ18({place}.m, {address})"
    if port.width == 9:
        return f"{place}.m[{address} >> 3]"
    align = {1: 7, 2: 6, 4: 4}[port.width]
    return f"({place}.m[{address} >> 3] >> ({address} & {align}) & {(1 << port.width) - 1})"


def _write(block: int, index: int, port: RamPort) -> str:
    """Statements that write a port's data; the lowest address bits enable the bytes of words of two or four."""
    place, mark = f"S.block[{block}]", f"MARK_memory_{block}"
    access = f"{place}.port[{index}]"
    address, data = f"{access}.address", f"{access}.data"
    if port.width >= 18:
        size = port.width // 9
        word = f"({address} >> 5 << 2)" if port.width == 36 else f"({address} >> 4 << 1)"
        return " ".join(
            f"if ({address} >> {byte} & 1) SETM({place}.m[{word} + {byte}], {data} >> {9 * byte} & 511, {mark});"
            for byte in range(size)
        )
    if port.width == 9:
        return f"SETM({place}.m[{address} >> 3], {data} & 511, {mark});"
    align = {1: 7, 2: 6, 4: 4}[port.width]
    mask = (1 << port.width) - 1
    word = f"{place}.m[{address} >> 3]"
    lane = f"({address} & {align})"
    return f"SETM({word}, ({word} & ~({mask} << {lane})) | ({data} & {mask}) << {lane}, {mark});"
