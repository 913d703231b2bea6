"""The bulk of a translation in C: what is done for each wire, net and function of a chip that is full.

`bulk_graph.c` does what `simplify` and `schedule` do in Python for ordinary functions and registers, and asks Python
about everything else, so that the result is the same to the last number of a net; `bulk_chip` and `bulk_design` come
before it. Where there is no compiler, Python does all of it.
"""

from __future__ import annotations

import ctypes
import functools
import os
from array import array
from collections.abc import Callable, MutableSequence
from importlib import resources
from itertools import accumulate, chain
from typing import Literal, NamedTuple

from lutlab_virtual_board.compiler import compile_now, find_gcc, find_tcc
from lutlab_virtual_board.errors import CompilerError
from lutlab_virtual_board.netlist import Driver, Function, Net, Netlist, Register, RegisterOutput, function_of

FUNCTION, REGISTER, OTHER = range(3)
"""Kinds of drivers in a `Graph`, as in C."""

INPUTS_MAX = 6
_SOURCES = ("bulk_graph.c", "bulk_chip.c", "bulk_design.c", "bulk_text.c")
"""Parts of one translation unit, in their order."""

_LOOPS = -2


class GraphStruct(ctypes.Structure):
    _fields_ = (
        ("nets", ctypes.c_int),
        *((name, ctypes.c_void_p) for name in ("table", "kind", "count", "first", "inputs")),
    )


class Graph:
    """A netlist's drivers as arrays.

    Args:
        nets: most nets it will have.
        inputs: most inputs that all of them have together.

    Attributes:
        table: of each net the truth table, or the register's index.
        kind: of each net's driver.
        count: how many nets each net follows without a clock.
        first: where these are in `inputs`, and one more for the end.
        inputs: nets that nets follow.
        registers: of each register REGISTER_WORDS, see `register_words`; None where they are only kept as objects.
        place: gives a register's place in messages.
    """

    def __init__(self, nets: int, inputs: int) -> None:
        self.table = array("Q", bytes(8 * nets))
        self.kind, self.count = bytearray(nets), bytearray(nets)
        self.first, self.inputs = zeros(nets + 1), zeros(inputs)
        self.registers: array[int] | None = None
        self.place: Callable[[int], str] | None = None
        self.point()

    def point(self) -> None:
        """Let C know the arrays, which must keep their lengths from now on."""
        buffers = (self.table, self.kind, self.count, self.first, self.inputs)
        self.struct = GraphStruct(len(self.table), *map(address, buffers))

    @property
    def nets(self) -> int:
        """How many nets there are."""
        return int(self.struct.nets)

    def follow(self, sources: dict[Net, tuple[Net, ...]]) -> None:
        """Say what nets follow without a clock whose drivers are neither functions nor registers."""
        at = self.first[self.nets]
        for net, nets in sources.items():
            self.count[net], self.first[net] = len(nets), at
            self.inputs[at : at + len(nets)] = array("i", nets)
            at += len(nets)

    def drivers(self, others: dict[Net, Driver | None]) -> list[Driver | None]:
        """The drivers as objects; `others` are those that are neither functions nor registers."""
        inputs, nets = self.inputs.tolist(), self.nets
        columns = zip(self.kind[:nets], self.table[:nets], self.first[:nets], self.count[:nets], strict=True)
        return [
            function_of(table, tuple(inputs[start : start + count]))
            if kind == FUNCTION
            else RegisterOutput(table)
            if kind == REGISTER
            else others[net]
            for net, (kind, table, start, count) in enumerate(columns)
        ]


def graph_of(netlist: Netlist, sources: Callable[[Netlist, Driver | None], tuple[Net, ...]]) -> Graph | None:
    """A netlist's drivers as arrays; None where a function has too many inputs.

    Args:
        netlist: of which.
        sources: gives what a driver that is no function follows without a clock.
    """
    drivers = netlist.drivers
    followed = [driver.inputs if type(driver) is Function else sources(netlist, driver) for driver in drivers]
    graph = Graph(len(drivers), sum(map(len, followed)))
    table, kind = graph.table, graph.kind
    for net, driver in enumerate(drivers):
        if type(driver) is Function:
            table[net] = driver.table
            if len(driver.inputs) > INPUTS_MAX:
                return None
        elif type(driver) is RegisterOutput:
            kind[net] = REGISTER
            table[net] = driver.index
        else:
            kind[net] = OTHER
    graph.count[:] = bytes(map(len, followed))
    graph.first[1:] = array("i", accumulate(graph.count))
    graph.registers = array("i", chain.from_iterable(map(register_words, netlist.registers)))
    graph.place = lambda index: netlist.registers[index].place
    graph.inputs[:] = array("i", chain.from_iterable(followed))
    return graph


REGISTER_WORDS = 8


def register_words(r: Register) -> array[int]:
    """A register's data, enable and reset, start, whether it is falling, its clock and `force`; no wire."""
    return array("i", (r.d, r.enable, r.reset, r.value, r.falling, r.clock, r.force, 0))


def zeros(count: int) -> array[int]:
    """So many integers for C."""
    return array("i", bytes(4 * count))


def minus_ones(count: int) -> array[int]:
    """So many integers of which each is minus one."""
    return array("i", b"\xff" * (4 * count))


def address(buffer: MutableSequence[int]) -> int:
    """Where a buffer is; it must be kept, and keep its length, as long as C uses it."""
    if isinstance(buffer, array):
        return buffer.buffer_info()[0]
    assert isinstance(buffer, bytearray)
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer)) if buffer else 0


def copied(code: Literal["i", "Q"], at: int | None, count: int) -> array[int]:
    """An array that C owns."""
    found = array(code)
    found.frombytes(ctypes.string_at(at, found.itemsize * count) if at and count else b"")
    return found


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled C, or None where there is no compiler."""
    compiler = find_tcc() or find_gcc()
    if compiler is None:
        return None
    package = resources.files("lutlab_virtual_board")
    source = b"\n".join(package.joinpath(name).read_bytes() for name in _SOURCES)
    # The file stays open: the loader tells objects apart by their paths, and a closed one gives its path to others.
    descriptor = os.memfd_create("lutlab-bulk", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(compile_now(compiler, source))
        return declared(ctypes.CDLL(f"/proc/self/fd/{descriptor}"))
    except (CompilerError, OSError):
        os.close(descriptor)
        return None


_POINTER, _INT, _WORD = ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong
_SIGNATURES: dict[str, tuple[object, ...]] = {
    "bulk_frames": (_POINTER, _INT),
    "bulk_write": (_POINTER,),
    "bulk_text_free": (_POINTER,),
    "bulk_net": (_POINTER,),
    "bulk_wait": (_POINTER, _INT, _INT),
    "bulk_clock": (_POINTER, _INT),
    "bulk_get": (_POINTER, _INT),
    "bulk_run": (_POINTER,),
    "bulk_order": (_POINTER, _POINTER, _INT, _POINTER, _POINTER, _POINTER, _POINTER),
    "bulk_forms": (_POINTER, _POINTER, _INT, _POINTER, _POINTER, _POINTER, _INT),
    "bulk_owners": (_POINTER,),
    "bulk_inlined": (_POINTER,),
    "bulk_chip_make": (_POINTER,),
    "bulk_chip_free": (_POINTER,),
    "bulk_scan": (_POINTER, _INT),
    "bulk_decode": (_POINTER, _INT),
    "bulk_learn": (_POINTER, _INT, _WORD, _INT, _INT, _INT, _WORD, _WORD),
    "bulk_link": (_POINTER, _INT),
    "bulk_set_link": (_POINTER, _INT, _INT),
    "bulk_links": (_POINTER, _POINTER),
    "bulk_know_step": (_POINTER, _INT, _INT, _INT),
    "bulk_source": (_POINTER, _INT),
    "bulk_design_make": (_POINTER,),
    "bulk_design_free": (_POINTER,),
    "bulk_new_net": (_POINTER,),
    "bulk_drive": (_POINTER, _INT, _WORD, _POINTER, _INT),
    "bulk_drive_register": (_POINTER, _INT, _INT),
    "bulk_drive_other": (_POINTER, _INT),
    "bulk_is_driven": (_POINTER, _INT),
    "bulk_function": (_POINTER, _WORD, _POINTER, _INT),
    "bulk_net_from": (_POINTER, _INT),
    "bulk_net_at": (_POINTER, _INT),
    "bulk_add_register": (_POINTER, _POINTER),
    "bulk_extract": (_POINTER,),
    "bulk_sources": (_POINTER, _INT, _POINTER, _INT),
}
"""Arguments of the C functions; each gives an integer or nothing."""


def declared(lib: ctypes.CDLL) -> ctypes.CDLL:
    """The library, whose functions know their arguments."""
    for name, arguments in _SIGNATURES.items():
        getattr(lib, name).argtypes = arguments
    return lib


# -- bitstream --------------------------------------------------------------------------------------------------------


class _StreamStruct(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_char_p),
        ("size", ctypes.c_ulong),
        ("at", ctypes.c_ulong),
        ("dictionary", ctypes.c_char_p),
        ("frame_bytes", ctypes.c_int),
        ("dummies", ctypes.c_int),
        ("crc", ctypes.c_uint),
        ("out", ctypes.c_void_p),
    )


class Frames(NamedTuple):
    """Compressed frames that are well.

    Attributes:
        frames: each expanded.
        at: where the stream goes on.
        crc: of what has been read since the last frame's CRC.
    """

    frames: list[bytes]
    at: int
    crc: int


class Compressed(NamedTuple):
    """How the frames of a stream are compressed.

    Attributes:
        dictionary: eight bytes, entry seven first.
        frame_bytes: of a frame when expanded.
        dummies: bytes after each frame and its CRC.
    """

    dictionary: bytes
    frame_bytes: int
    dummies: int


def frames(lib: ctypes.CDLL, data: bytes, before: tuple[int, int], form: Compressed, count: int) -> Frames:
    """Expand compressed frames, each of which is followed by its CRC, until one is damaged or cut short.

    Args:
        lib: of `library`.
        data: the stream.
        before: where the first begins, and the CRC of what came before it.
        form: how they are compressed.
        count: most frames.
    """
    out = bytearray(form.frame_bytes * count)
    stream = _StreamStruct(
        data, len(data), before[0], form.dictionary, form.frame_bytes, form.dummies, before[1], address(out)
    )
    done = lib.bulk_frames(ctypes.byref(stream), count)
    size, whole = form.frame_bytes, bytes(out)
    return Frames([whole[at : at + size] for at in range(0, done * size, size)], stream.at, stream.crc)


# -- simplification ---------------------------------------------------------------------------------------------------

_COPY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
_STATE_WORDS, _COPIED_WORDS = 5, 6
KINDS = ("register", "ram", "block_ram", "multiplier", "clock")
"""Kinds of state that wait to be copied; their numbers in C."""


class _SimplifierStruct(ctypes.Structure):
    _fields_ = (
        ("old", GraphStruct),
        ("new", GraphStruct),
        ("map", ctypes.c_void_p),
        ("behind", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("slot_mask", ctypes.c_int),
        ("stack", ctypes.c_void_p),
        ("opened", ctypes.c_void_p),
        ("registers", ctypes.c_void_p),
        ("register_count", ctypes.c_int),
        ("register_net", ctypes.c_void_p),
        ("copied", ctypes.c_void_p),
        ("waiting", ctypes.c_void_p),
        ("waiting_count", ctypes.c_int),
        ("clock_seen", ctypes.c_void_p),
        ("copy", _COPY),
        ("clock_kind", ctypes.c_int),
    )


class Looped(Exception):
    """A net follows itself without a clock."""


class BulkSimplifier:
    """The copying of functions and registers for `simplify`.

    Args:
        lib: of `library`.
        netlist: to be copied.
        graph: of it.
        copy: copies a driver that is neither function nor register, and gives its new net.
    """

    def __init__(self, lib: ctypes.CDLL, netlist: Netlist, graph: Graph, copy: Callable[[Driver | None], Net]) -> None:
        self._lib, self._driver, self._copy = lib, netlist.driver, copy
        self._error: BaseException | None = None
        words = graph.registers
        assert words is not None
        nets, registers = graph.nets, len(words) // REGISTER_WORDS
        self.new = Graph(nets + 2, len(graph.inputs))
        mask = (1 << (2 * nets + 1).bit_length()) - 1
        clocks = 1 + max([len(netlist.clocks), *words[5::REGISTER_WORDS]])
        state = zeros(_STATE_WORDS * registers)
        for to, column in enumerate((0, 1, 2, 5, 6)):
            state[to::_STATE_WORDS] = words[column::REGISTER_WORDS]
        others = len(netlist.rams) + len(netlist.block_rams) + len(netlist.multipliers) + clocks
        self._map, self._copied = minus_ones(nets), zeros(_COPIED_WORDS * registers)
        self._waiting = zeros(2 * (registers + others))
        self._seen = bytearray(clocks)
        buffers = (
            self._map,
            minus_ones(nets + 2),
            zeros(mask + 1),
            zeros(nets + len(graph.inputs) + 1),
            bytearray(nets),
            state,
            minus_ones(registers),
        )
        self._buffers = (graph, *buffers)  # they must live as long as this
        old_map, behind, slots, stack, opened, state_at, register_net = map(address, buffers)
        self._struct = _SimplifierStruct(
            old=graph.struct, new=self.new.struct, map=old_map, behind=behind, slots=slots, slot_mask=mask,
            stack=stack, opened=opened, registers=state_at, register_count=0, register_net=register_net,
            copied=address(self._copied), waiting=address(self._waiting), waiting_count=0,
            clock_seen=address(self._seen), copy=_COPY(self._copy_safely), clock_kind=KINDS.index("clock"),
        )  # fmt: skip
        self._self = ctypes.byref(self._struct)
        self._struct.new.nets = 0
        for constant in (0, 1):
            self._map[constant] = lib.bulk_net(self._self)

    def _copy_safely(self, net: Net) -> int:
        """No exception may pass through C."""
        try:
            return self._copy(self._driver(net))
        except BaseException as error:
            self._error = error
            return -1

    def get(self, net: Net) -> Net:
        """The new net of an old one.

        Raises:
            Looped: it follows itself without a clock.
        """
        found = self._map[net]
        return found if found >= 0 else self._checked(self._lib.bulk_get(self._self, net))

    def add(self) -> Net:
        """A new net of a driver that the caller keeps."""
        return int(self._lib.bulk_net(self._self))

    def wait(self, kind: str, index: int) -> None:
        """Put state of another kind on the stack of what waits to be copied."""
        self._lib.bulk_wait(self._self, KINDS.index(kind), index)

    def clock(self, number: int) -> None:
        """Put a clock there when it is met for the first time."""
        self._lib.bulk_clock(self._self, number)

    def run(self) -> tuple[str, int] | None:
        """Copy registers; the kind and index of other state that is to be copied next, or None at the end.

        Raises:
            Looped: a net follows itself without a clock.
        """
        at = self._lib.bulk_run(self._self)
        if at == -1:
            return None
        if at < 0:
            self._checked(at + 10)
        return KINDS[self._waiting[2 * at]], self._waiting[2 * at + 1]

    def registers(self) -> list[tuple[int, int, int, int, int, int]]:
        """Of each new register its old index, the nets of data, enable and reset, its clock, and the net `force`."""
        words = self._copied[: _COPIED_WORDS * self._struct.register_count].tolist()
        return list(zip(*(words[start::_COPIED_WORDS] for start in range(_COPIED_WORDS)), strict=True))

    def result(self) -> Graph:
        """The new nets; nothing may be copied afterwards."""
        self._struct.copy = _COPY()  # which refers to this
        self.new.struct.nets = self._struct.new.nets
        return self.new

    def _checked(self, net: int) -> Net:
        if net == _LOOPS:
            raise Looped
        if net < 0:
            assert self._error is not None
            raise self._error
        return net


# -- planning ---------------------------------------------------------------------------------------------------------


class _ReadingStruct(ctypes.Structure):
    _fields_ = (
        ("graph", ctypes.c_void_p),
        ("groups", ctypes.c_int),
        ("group_first", ctypes.c_void_p),
        ("group_nets", ctypes.c_void_p),
        ("always_count", ctypes.c_int),
        ("always", ctypes.c_void_p),
        ("order_count", ctypes.c_int),
        ("order", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("owner", "form", "cost", "use_first", "uses")),
        *((name, ctypes.c_void_p) for name in ("reads", "net_cost", "inlined")),
        ("cost_max", ctypes.c_int),
    )


class Forms(NamedTuple):
    """What is known of the expressions of a netlist's functions, by the numbers of their forms.

    Attributes:
        cost: operations of each.
        use_first: where its pairs in `uses` begin, and one more for the end.
        uses: which input it writes, and how often.
    """

    cost: array[int]
    use_first: array[int]
    uses: array[int]


class BulkPlan:
    """The order of a netlist's nets, and who computes which, for `schedule`.

    Args:
        lib: of `library`.
        graph: of the netlist.
        roots: nets that are needed.

    Attributes:
        reached: nets that the roots follow without a clock, each after the nets it follows itself.
        form: by net, the number of its function's truth table; less than zero where it has none.
        examples: of each form a net.
        owner: by net the group it is for, once `own` was called; see `Schedule`.

    Raises:
        Looped: a net follows itself without a clock.
    """

    def __init__(self, lib: ctypes.CDLL, graph: Graph, roots: list[Net]) -> None:
        self._lib, self._graph, nets = lib, graph, graph.nets
        order, stack = zeros(nets), zeros(nets + len(graph.inputs) + 1)
        done, opened, wanted = bytearray(nets), bytearray(nets), array("i", roots)
        at, *rest = map(address, (wanted, order, stack, done, opened))
        count = self._call("bulk_order", at, len(wanted), *rest)
        if count == _LOOPS:
            raise Looped
        self.reached = order[:count]
        mask = (1 << (2 * count + 1).bit_length()) - 1
        self.form, examples, slots = zeros(nets), zeros(count), zeros(mask + 1)
        forms = self._call(
            "bulk_forms", address(self.reached), count, *map(address, (self.form, examples, slots)), mask
        )
        self.examples = examples[:forms]
        self.owner = zeros(nets)

    def own(self, groups: list[list[Net]], always: list[Net], forms: Forms, cost_max: int) -> None:
        """Find the owners, with what each group needs, and what is needed every cycle."""
        nets = self._graph.nets
        self._inlined = bytearray(nets)
        self._buffers = (
            array("i", accumulate(map(len, groups), initial=0)),
            array("i", chain.from_iterable(groups)),
            array("i", always),
            self.reached,
            self.owner,
            self.form,
            *forms,
            zeros(nets),
            zeros(nets),
            self._inlined,
        )
        first, grouped, constant, order, *rest = map(address, self._buffers)
        self._reading = _ReadingStruct(
            ctypes.addressof(self._graph.struct),
            len(groups), first, grouped, len(always), constant, len(self.reached), order, *rest, cost_max,
        )  # fmt: skip
        self._lib.bulk_owners(ctypes.byref(self._reading))

    def inlined(self) -> bytearray:
        """By net, whether it is written out inside its reader, once owners are known."""
        self._lib.bulk_inlined(ctypes.byref(self._reading))
        return self._inlined

    def _call(self, name: str, *arguments: int) -> int:
        return int(getattr(self._lib, name)(ctypes.byref(self._graph.struct), *arguments))
