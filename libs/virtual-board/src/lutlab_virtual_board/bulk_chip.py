"""Configuration, routing and extraction in bulk: the part in C that knows tiles and wires.

What a setting's bits mean, where the clock network leads and every cell but the slices' is found out in Python, by the
same code that does it without a compiler; C asks once for each thing, keeps the answer, and uses it for all tiles.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lutlab_virtual_board.bulk import address, copied, zeros
from lutlab_virtual_board.errors import DatabaseError, UnsupportedConfiguration
from lutlab_virtual_board.tile_kind import TileKind
from lutlab_virtual_board.trellis import STRIDE, Database, Setting, Tile
from lutlab_virtual_board.wires import place_key, relative, wire_of

_ROWS_MAX, _PLACES = 128, 1 << 16
_VALUE_BITS = 48
_ROW_SHIFTS = [0, STRIDE, 2 * STRIDE]
"""Of few rows, which cannot overlap then."""

_LANES_MAX = 31
_UNKNOWN_ROW = 0xFFFF
_MUX, _CHOICE, _WORD = range(3)
_SAYS_ARC, _SAYS, _SINK_ONCE, _SOURCE_ONCE, _CARRY = (1 << bit for bit in range(5))
CLEARED = -4
"""What `bulk_link` gives for a wire whose multiplexer is not set."""

FAILED, CIRCLE = -9, -10
"""What goes wrong on the way to a driver; see `Routing`."""

_SLICES = "ABCD"


def _fields() -> dict[str, tuple[int, dict[str, int]]]:
    """For each setting of a slice its field in a place's record, and what its values are there; others are zero."""
    found: dict[str, tuple[int, dict[str, int]]] = {}
    for lut in range(8):
        name, half = f"SLICE{_SLICES[lut // 2]}", lut % 2
        found[f"{name}.K{half}.INIT"] = (lut, {})
        for number, letter in enumerate("ABCDM"):
            found[f"{name}.{letter}{half}MUX"] = (12 + 5 * lut + number, {"1": 1})
        found[f"{name}.CCU2.INJECT1_{half}"] = (52 + lut, {"NO": 1})
        found[f"{name}.REG{half}.LSRMODE"] = (60 + lut, {"PRLD": 1})
        found[f"{name}.REG{half}.REGSET"] = (68 + lut, {"RESET": 1})
        found[f"{name}.REG{half}.SD"] = (76 + lut, {"0": 1})
    for number, letter in enumerate(_SLICES):
        name = f"SLICE{letter}"
        found[f"{name}.MODE"] = (_MODE + number, {"CCU2": _CCU2, "DPRAM": 2, "RAMW": 2})
        found[f"{name}.CEMUX"] = (84 + number, {"0": 1, "1": 2, "INV": 3})
        found[f"{name}.GSR"] = (88 + number, {"DISABLED": 1})
    for number in range(2):
        found[f"CLK{number}.CLKMUX"] = (92 + number, {"INV": 1})
        found[f"LSR{number}.LSRMUX"] = (94 + number, {"INV": 1})
        found[f"LSR{number}.SRMODE"] = (96 + number, {"ASYNC": 1})
    return found


_MODE, _CCU2, _FIELD_COUNT = 8, 1, 98
FIELDS = _fields()
_ERASED = array("H", [0xFFFF] * 8 + [0] * (_FIELD_COUNT - 8))
_CARRY_SINKS = array("i", [relative(f"F{lut}").key for lut in range(8)])
"""Where a carry cell's bit looks like an arc, by LUT."""


class Map(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("mask", ctypes.c_ulong),
        ("used", ctypes.c_ulong),
    )


_STEP = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
_NOBODY = _STEP(lambda _wire: FAILED)


class _ChipStruct(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("settings", "rows", "lanes", "kind_first", "kind_rows")),
        *((name, ctypes.c_void_p) for name in ("word_rows", "tiles")),
        ("frames", ctypes.c_void_p),
        ("frame_stride", ctypes.c_int),
        ("entries", ctypes.c_void_p),
        ("entry_count", ctypes.c_int),
        ("entry_max", ctypes.c_int),
        ("said", ctypes.c_void_p),
        ("said_count", ctypes.c_int),
        ("said_max", ctypes.c_int),
        ("said_first", ctypes.c_void_p),
        ("state", ctypes.c_void_p),
        ("left", ctypes.c_ushort * _ROWS_MAX),
        ("found", ctypes.c_ushort * _ROWS_MAX),
        ("tile", ctypes.c_int),
        ("setting", ctypes.c_int),
        ("value", ctypes.c_ulong),
        ("carry", ctypes.c_void_p),
        ("carry_count", ctypes.c_int),
        ("carry_max", ctypes.c_int),
        ("carry_sinks", ctypes.c_void_p),
        ("records", ctypes.c_void_p),
        ("record_count", ctypes.c_int),
        ("record_max", ctypes.c_int),
        ("fields", ctypes.c_int),
        ("erased", ctypes.c_void_p),
        ("record_of", ctypes.c_void_p),
        *((name, Map) for name in ("links", "known", "tile_steps", "column_steps", "wire_steps")),
        ("set_of", ctypes.c_void_p),
        ("circle", ctypes.c_int),
        ("step", _STEP),
    )


class _Tables:
    """The settings of the kinds of tiles that occur, as C has them."""

    def __init__(self, kinds: dict[str, TileKind | None]) -> None:
        self.settings, self.rows, self.lanes = array("i"), array("i"), array("i")
        self.first, self.explained, self.words = array("i", [0]), array("H"), array("H")
        self.shifts: list[list[int]] = []
        """Of each setting how its rows are packed, see `_pack`."""
        self.kinds: list[str] = []
        """Of each setting its tile's kind."""
        self.numbers: list[int] = []
        """Of each setting its number there."""
        for name, kind in kinds.items():
            self._add(name, kind)

    def _add(self, name: str, kind: TileKind | None) -> None:
        explained, words = array("H", bytes(2 * _ROWS_MAX)), array("H", bytes(2 * _ROWS_MAX))
        packed = [_pack(kind.settings[number]) for number in kind.numbers] if kind else []
        if kind is None or any(shifts is None for shifts in packed):
            self.explained += array("H", [_UNKNOWN_ROW] * _ROWS_MAX)
            self.words += words
            self.first.append(self.first[-1])
            return
        for number, shifts in zip(kind.numbers, packed, strict=True):
            setting, what = kind.settings[number], kind.what(number)
            lanes = _lanes(setting) if what == _WORD else None
            if what == _WORD and lanes is None:
                what = _CHOICE
            field = FIELDS.get(setting.name, (-1, {}))[0]
            initial = int(setting.default, 2) if what == _WORD else 0
            self.settings += array(
                "i",
                [what, len(self.rows) // 3, len(setting.rows), setting.always, len(self.lanes) // 3,
                 len(lanes or ()) // 3, initial, field],
            )  # fmt: skip
            for (frame, mask), shift in zip(setting.rows, shifts or (), strict=True):
                self.rows += array("i", [frame, mask, shift])
                explained[frame] |= mask
                words[frame] |= mask if kind.what(number) == _WORD else 0
            self.lanes += lanes or array("i")
            self.shifts.append(shifts or [])
            self.kinds.append(name)
            self.numbers.append(number)
        self.explained += explained
        self.words += words
        self.first.append(len(self.kinds))


def _pack(setting: Setting) -> list[int] | None:
    """By how much each row of a setting is shifted so that all of them fit into one number; None where they do not."""
    if len(setting.rows) <= len(_ROW_SHIFTS):
        return None if any(frame >= _ROWS_MAX for frame, _ in setting.rows) else _ROW_SHIFTS[: len(setting.rows)]
    used, shifts = 0, []
    for frame, mask in setting.rows:
        shift = next((n for n in range(_VALUE_BITS) if not mask << n & used), _VALUE_BITS)
        if frame >= _ROWS_MAX or (mask << shift).bit_length() > _VALUE_BITS:
            return None
        used |= mask << shift
        shifts.append(shift)
    return shifts


def _packed(bits: int, rows: list[tuple[int, int]], shifts: list[int]) -> int:
    """A setting's bits of a tile in one number."""
    return sum((bits >> STRIDE * frame & mask) << shift for (frame, mask), shift in zip(rows, shifts, strict=True))


def _lanes(setting: Setting) -> array[int] | None:
    """Frame, mask and level of each bit of a word; None where that is not all there is to it."""
    lanes = array("i")
    options = setting.options()
    if len(options) > _LANES_MAX:
        return None
    for option in options:
        if len(option.bits) > 1:
            return None
        frame, bit = divmod((option.bits[0] if option.bits else 0) >> 1, STRIDE)
        lanes += array("i", [frame, 1 << bit if option.bits else 0, option.bits[0] & 1 if option.bits else 0])
    return lanes


class _Lesson(NamedTuple):
    """What bits of a setting say.

    Attributes:
        says: flags, as C has them.
        first, second: sink and source of an arc, or field of a place's record and the value there.
        left: bits that this does not explain.
        explained: bits that it does.
        name, value: of a choice or a word.
    """

    says: int
    first: int = -1
    second: int = 0
    left: int = 0
    explained: int = 0
    name: str = ""
    value: str | int = ""


def _arc(kind: TileKind, number: int, bits: int) -> _Lesson:
    matcher = kind.matcher_at(number)
    option, left = matcher.match(bits), bits & matcher.mask
    if option is None:
        return _Lesson(0, left=left)
    says = _SAYS_ARC | matcher.sink.once * _SINK_ONCE | option.wire.once * _SOURCE_ONCE
    return _Lesson(says, matcher.sink.key, option.wire.key, left & ~option.ones, option.ones)


def _choice(kind: TileKind, number: int, bits: int) -> _Lesson:
    name, value, left = kind.said(number, bits)
    option = kind.matcher_at(number).match(bits)
    explained = option.ones if option else 0
    field, values = FIELDS.get(name, (-1, {}))
    says, code = _SAYS if name else 0, values.get(value, 0)
    if _MODE <= field < _MODE + len(_SLICES) and code == _CCU2:
        says |= _CARRY
    return _Lesson(says, field, code, left, explained, name, value)


def _word(kind: TileKind, number: int, bits: int) -> _Lesson:
    """A word that C cannot read by itself."""
    word = kind.word_at(number)
    value = word.value(bits)
    field = FIELDS.get(word.name, (-1, {}))[0]
    says, code = _SAYS if value != word.default else 0, value if field >= 0 else 0
    return _Lesson(says, field, code, name=word.name, value=value)


class BulkChip:
    """A configured chip in C.

    Args:
        lib: of `bulk.library`.
        database: of the device.
        frames: of the bitstream.
        kind: gives the meaning of a kind of tile.
        bits: gives all of a tile's bits.

    Attributes:
        carry: arcs that are really bits of carry cells.
    """

    def __init__(
        self,
        lib: ctypes.CDLL,
        database: Database,
        frames: list[int],
        kind: Callable[[str], TileKind],
        bits: Callable[[Tile], int],
    ) -> None:
        self.lib, self._database, self._kind, self._bits = lib, database, kind, bits
        self._payload: list[tuple[str, str | int]] = []
        self._read: dict[int, tuple[dict[str, str], dict[str, int], int]] = {}
        self.error: BaseException | None = None
        tiles = database.tiles
        if any(tile.frames > _ROWS_MAX or tile.bits > STRIDE for tile in tiles):
            raise DatabaseError(f"{database.device.name} has larger tiles than this board was written for")
        width = database.device.frame_bits // 8 + 4
        names = list(dict.fromkeys(tile.kind for tile in tiles))
        number = {name: index for index, name in enumerate(names)}
        flat = array(
            "i",
            [w for t in tiles for w in (number[t.kind], place_key(t.x, t.y), t.frame, t.frames, t.bit, t.bits)],
        )
        data = bytearray(b"".join([frame.to_bytes(width, "little") for frame in frames]))
        self._first, self._state = zeros(len(tiles) + 1), bytearray(len(tiles))
        self._record_of = zeros(_PLACES)
        self.struct = _ChipStruct(
            tiles=address(flat), frames=address(data), frame_stride=width, said_first=address(self._first),
            state=address(self._state), setting=-1, fields=_FIELD_COUNT, erased=address(_ERASED),
            record_of=address(self._record_of), carry_sinks=address(_CARRY_SINKS),
        )  # fmt: skip
        self.self = ctypes.byref(self.struct)
        lib.bulk_chip_make(self.self)
        lib.bulk_scan(self.self, len(tiles))
        used = {tile.kind for tile, state in zip(tiles, self._state, strict=True) if state}
        tables = self._tables = _Tables({name: kind(name) if name in used else None for name in names})
        struct = self.struct
        struct.settings, struct.rows, struct.lanes = map(address, (tables.settings, tables.rows, tables.lanes))
        struct.kind_first, struct.kind_rows = address(tables.first), address(tables.explained)
        struct.word_rows = address(tables.words)
        self._buffers = [flat, data]
        self._decode()

    def __del__(self) -> None:
        self.lib.bulk_chip_free(self.self)

    def _decode(self) -> None:
        while state := self.lib.bulk_decode(self.self, len(self._database.tiles)):
            tile = self._database.tiles[self.struct.tile]
            if state == 1:
                self._learn(tile)
                continue
            links: dict[int, int] = {}
            self._read[self.struct.tile] = self._kind(tile.kind).read(
                self._bits(tile), place_key(tile.x, tile.y), links
            )
            for sink, source in links.items():
                self.lib.bulk_set_link(self.self, sink, source)

    def _learn(self, tile: Tile) -> None:
        """Find out what bits of a setting say that C has not met before."""
        setting, bits = self.struct.setting, self._bits(tile)
        kind, number = self._kind(tile.kind), self._tables.numbers[setting]
        lesson = (_arc, _choice, _word)[kind.what(number)](kind, number, bits)
        rows, shifts = kind.settings[number].rows, self._tables.shifts[setting]
        left, found = (_packed(each, rows, shifts) for each in (lesson.left, lesson.explained))
        self.lib.bulk_learn(
            self.self, setting, self.struct.value, lesson.says, lesson.first, lesson.second, left, found
        )
        self._payload.append((lesson.name, lesson.value))

    def tiles(self) -> Iterator[tuple[Tile, dict[str, str], dict[str, int], int]]:
        """Each tile that is not clear, with its choices and words that differ from an erased chip's, and bits that no
        setting explains."""
        words = copied("i", self.struct.said, self.struct.said_count)
        settings, whats = words[::2].tolist(), words[1::2].tolist()
        names = [
            self._kind(kind).settings[number].name
            for kind, number in zip(self._tables.kinds, self._tables.numbers, strict=True)
        ]
        is_word = self._tables.settings[::8].tolist()
        payload = self._payload
        for index, (tile, state) in enumerate(zip(self._database.tiles, self._state, strict=True)):
            if not state:
                continue
            if index in self._read:
                yield (tile, *self._read[index])
                continue
            choices: dict[str, str] = {}
            numbers: dict[str, int] = {}
            for at in range(self._first[index] // 2, self._first[index + 1] // 2):
                setting, what = settings[at], whats[at]
                if is_word[setting] == _WORD:
                    numbers[names[setting]] = what
                else:
                    name, value = payload[what]
                    if isinstance(value, str):
                        choices[name] = value
                    else:
                        numbers[name] = value
            unexplained = 0
            if state > 1:
                unexplained = self._kind(tile.kind).read(self._bits(tile), place_key(tile.x, tile.y), {})[2]
            yield tile, choices, numbers, unexplained

    def check(self, found: int) -> None:
        """Raise what has gone wrong on the way to a driver."""
        if found == FAILED:
            raise self.error or AssertionError("routes are only looked for while a design is extracted")
        if found == CIRCLE:
            raise UnsupportedConfiguration(f"wire {wire_of(self.struct.circle)} is routed in a circle")

    def route(self, sets: dict[int, int], step: Callable[[int], tuple[int, int]]) -> None:
        """Get ready to walk from sinks to drivers.

        Args:
            sets: by place a number for the kinds of tiles that are there.
            step: gives the next wire from one towards its driver, and where else it is the same; see `Routing`.
        """
        set_of = self._set_of = zeros(_PLACES)
        for place, number in sets.items():
            set_of[place] = number

        def ask(wire: int) -> int:
            try:
                driver, scope = step(wire)
            except BaseException as error:
                self.error = error
                return FAILED
            self.lib.bulk_know_step(self.self, wire, driver, scope)
            return driver

        self.error = None
        self.struct.set_of, self.struct.step = address(set_of), _STEP(ask)

    def forget_route(self) -> None:
        """Ask nobody about steps any more: whoever was asked may refer to this, and both are large."""
        self.struct.step = _NOBODY

    def source(self, sink: int) -> int:
        """See `Routing.source_key`."""
        found = int(self.lib.bulk_source(self.self, sink))
        if found <= FAILED:
            self.check(found)
        return found

    def forget_tiles(self) -> None:
        """Ask nobody about tiles any more: whoever was asked refers to this."""
        del self._kind, self._bits

    # -- links ----------------------------------------------------------------------------------------------------

    @property
    def carry(self) -> dict[int, int]:
        """Arcs that are really bits of carry cells."""
        return _pairs(self.struct.carry, self.struct.carry_count // 2)

    def get(self, sink: int) -> int | None:
        """The driver of a wire whose multiplexer is set, by their numbers."""
        found = self.lib.bulk_link(self.self, sink)
        return None if found == CLEARED else int(found)

    def all_links(self) -> dict[int, int]:
        """Driver of every wire whose multiplexer is set."""
        pairs = zeros(2 * self.struct.links.used)
        count = self.lib.bulk_links(self.self, address(pairs))
        return dict(zip(pairs[: 2 * count : 2].tolist(), pairs[1 : 2 * count : 2].tolist(), strict=True))


def _pairs(at: int | None, count: int) -> dict[int, int]:
    words = copied("i", at, 2 * count)
    return dict(zip(words[::2].tolist(), words[1::2].tolist(), strict=True))
