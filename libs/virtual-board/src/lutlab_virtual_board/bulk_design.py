"""Extraction in bulk: nets and the cells of slices in C, every other cell in Python; see `bulk_chip`."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable
from dataclasses import fields

from lutlab_virtual_board.bulk import REGISTER_WORDS, Graph, GraphStruct, address, copied, register_words, zeros
from lutlab_virtual_board.bulk_chip import BulkChip, Map
from lutlab_virtual_board.netlist import Driver, Function, Net, Netlist, Register, RegisterOutput
from lutlab_virtual_board.wires import wire_of

NET_LUT, NET_REGISTER, NET_MUX5, NET_MUX6, NET_CARRY = range(1, 6)
"""Which cell a wire's name belongs to."""

_EXPAND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)
_ASK = ctypes.CFUNCTYPE(ctypes.c_int)
FAILED = -9


class _DesignStruct(ctypes.Structure):
    _fields_ = (
        ("chip", ctypes.c_void_p),
        ("names", ctypes.c_void_p),
        ("cell", ctypes.c_void_p),
        ("index", ctypes.c_void_p),
        ("name_count", ctypes.c_int),
        ("graph", GraphStruct),
        *((name, ctypes.c_int) for name in ("nets_max", "inputs_count", "inputs_max")),
        ("driven", ctypes.c_void_p),
        ("wire", ctypes.c_void_p),
        ("nets", Map),
        ("clocks", Map),
        ("carried", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("slot_mask", "functions")),
        ("pending", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("pending_count", "pending_max")),
        ("registers", ctypes.c_void_p),
        *((name, ctypes.c_int) for name in ("register_count", "register_max", "chip_reset", "failed")),
        ("expand", _EXPAND),
        ("clock", _EXPAND),
        ("find_chip_reset", _ASK),
    )


class BulkDesign:
    """The nets of a design while it is extracted.

    Args:
        chip: that is configured.
        names: of wires, as C has them.
        cells: by the number of a wire's name: which cell of slices it belongs to, and which of those.
        expand: builds a cell of another kind by its output wire and net.
        clock: gives the number of a register's clock, by the register's output and its clock line.
        chip_reset: gives the net of the chip-wide reset, or None.
    """

    def __init__(
        self,
        chip: BulkChip,
        names: array[int],
        cells: dict[int, tuple[int, int]],
        *,
        expand: Callable[[int, Net], None],
        clock: Callable[[int, int], int],
        chip_reset: Callable[[], Net | None],
    ) -> None:
        self.chip, self._lib = chip, chip.lib
        self.others: dict[Net, Driver | None] = {0: None, 1: None}
        self.kept: dict[int, Register] = {}
        """Registers that Python has built, by their index."""
        count = 1 + max(cells)
        cell, index = bytearray(count), bytearray(count)
        for number, (kind, which) in cells.items():
            cell[number], index[number] = kind, which
        self._buffers = (names, cell, index)

        def expand_other(wire: int, net: Net) -> int:
            expand(wire, net)
            return 0

        def find_chip_reset() -> int:
            net = chip_reset()
            return -1 if net is None else net

        self.struct = _DesignStruct(
            chip=ctypes.addressof(chip.struct), names=address(names), cell=address(cell), index=address(index),
            name_count=count, expand=_EXPAND(self._safely(expand_other)), clock=_EXPAND(self._safely(clock)),
            find_chip_reset=_ASK(self._safely(find_chip_reset)),
        )  # fmt: skip
        self.self = ctypes.byref(self.struct)
        self._lib.bulk_design_make(self.self)
        for constant in (0, 1):
            self._lib.bulk_drive_other(self.self, self._lib.bulk_new_net(self.self))
            assert self.struct.graph.nets == constant + 1

    def close(self) -> None:
        """Free what is in C, and forget whom it asks; see `finish`."""
        self._lib.bulk_design_free(self.self)
        self.struct = _DesignStruct()
        self.self = ctypes.byref(self.struct)
        self.chip.forget_route()

    def _safely(self, function: Callable[..., int]) -> Callable[..., int]:
        """No exception may pass through C."""

        def call(*arguments: int) -> int:
            try:
                return function(*arguments)
            except BaseException as error:
                self.chip.error = error
                return FAILED

        return call

    def extract(self) -> None:
        """Expand cells until every net has a driver.

        Raises:
            VirtualBoardError: one cannot be expanded.
        """
        failed = self._lib.bulk_extract(self.self)
        if failed:
            self.chip.check(failed)

    def net_from(self, source: int) -> Net:
        """See `Context.net_from`."""
        return int(self._lib.bulk_net_from(self.self, source))

    def function(self, table: int, inputs: tuple[Net, ...]) -> Net:
        """See `Context.function`."""
        nets = array("i", inputs)
        return int(self._lib.bulk_function(self.self, table, address(nets), len(nets)))

    def add(self, driver: Driver | None) -> Net:
        """A new net."""
        net = int(self._lib.bulk_new_net(self.self))
        if driver is not None:
            self.drive(net, driver)
        return net

    def drive(self, net: Net, driver: Driver) -> None:
        """Let something drive a net."""
        if isinstance(driver, Function):
            inputs = array("i", driver.inputs)
            self._lib.bulk_drive(self.self, net, driver.table, address(inputs), len(inputs))
        elif isinstance(driver, RegisterOutput):
            self._lib.bulk_drive_register(self.self, net, driver.index)
        else:
            self.others[net] = driver
            self._lib.bulk_drive_other(self.self, net)

    def add_register(self, register: Register) -> int:
        """Another register, which may change until the end; its index."""
        words = zeros(REGISTER_WORDS)
        index = int(self._lib.bulk_add_register(self.self, address(words)))
        self.kept[index] = register
        return index

    def finish(self, sources: Callable[[Driver | None], tuple[Net, ...]], place: Callable[[int], str]) -> Graph:
        """All nets and registers; nothing may be added afterwards.

        Args:
            sources: gives what a driver that is no function follows without a clock.
            place: gives the place of a slice's register by its output, for messages.
        """
        for net, driver in self.others.items():
            inputs = array("i", sources(driver))
            if inputs:
                self._lib.bulk_sources(self.self, net, address(inputs), len(inputs))
        struct, flat = self.struct, self.struct.graph
        graph = Graph(0, 0)
        graph.table = copied("Q", flat.table, struct.graph.nets)
        graph.kind = bytearray(ctypes.string_at(flat.kind, flat.nets))
        graph.count = bytearray(ctypes.string_at(flat.count, flat.nets))
        graph.first = copied("i", flat.first, flat.nets)
        graph.inputs = copied("i", flat.inputs, struct.inputs_count)
        graph.point()
        words = copied("i", struct.registers, REGISTER_WORDS * struct.register_count)
        for index, register in self.kept.items():
            words[REGISTER_WORDS * index : REGISTER_WORDS * (index + 1)] = register_words(register)
        kept, wires = self.kept, words[REGISTER_WORDS - 1 :: REGISTER_WORDS]
        graph.registers = words
        graph.place = lambda index: kept[index].place if index in kept else place(wires[index])
        self.wires = copied("i", struct.wire, flat.nets)
        return graph


class BulkNetlist(Netlist):
    """A netlist that is kept in C while it is extracted, and made into objects where somebody looks at them.

    Whoever looks at them may change them: from then on they count, and `graph` is none.

    Args:
        design: where it is kept.
    """

    __slots__ = ("_extracted", "_names", "design")

    def __init__(self, design: BulkDesign) -> None:
        self.design = design
        self._names: dict[Net, str] = {}
        self.outputs, self.rams, self.block_rams, self.multipliers, self.clocks = {}, [], [], [], []
        self.graph = None
        self._extracted: Graph | None = None

    def finish(self, graph: Graph) -> None:
        """Everything has been extracted."""
        self.graph = self._extracted = graph

    def __repr__(self) -> str:
        return Netlist(**{each.name: getattr(self, each.name) for each in fields(self)}).__repr__()

    def __getattr__(self, name: str) -> object:
        """What has not been made into objects yet."""
        if name not in ("drivers", "registers", "names") or self._extracted is None:
            raise AttributeError(name)
        if name == "names":
            wires = {net: str(wire_of(wire)) for net, wire in enumerate(self.design.wires) if wire}
            self.names = dict(sorted((wires | self._names).items()))
            return self.names
        self.graph = None
        if name == "drivers":
            self.drivers = self._extracted.drivers(self.design.others)
            return self.drivers
        self.registers = self._made_registers(self._extracted)
        return self.registers

    def _made_registers(self, graph: Graph) -> list[Register]:
        assert graph.registers is not None and graph.place is not None
        words, found = graph.registers, []
        for index in range(len(words) // REGISTER_WORDS):
            d, enable, reset, value, falling, clock, force, _ = words[REGISTER_WORDS * index :][:REGISTER_WORDS]
            found.append(Register(d, enable, reset, value, bool(falling), graph.place(index), clock, force))
        return found

    def driver(self, net: Net) -> Driver | None:
        return self.design.others[net] if self.graph else self.drivers[net]

    def add(self, driver: Driver | None) -> Net:
        return self.design.add(driver)

    def drive(self, net: Net, driver: Driver) -> None:
        self.design.drive(net, driver)

    def add_register(self, register: Register) -> int:
        return self.design.add_register(register)

    def name(self, net: Net, text: str) -> None:
        self._names[net] = text
