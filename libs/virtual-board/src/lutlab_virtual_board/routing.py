"""Walk the chip's wires from a sink to what drives it.

A wire is driven by a configured multiplexer, by a connection without bits, by a constant tie of a CIB tile, or by the
clock network, whose rows, taps and spines the database describes by their places only. A wire without any driver
floats, and reads as one.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from dataclasses import dataclass

from lutlab_virtual_board.configuration import Configuration
from lutlab_virtual_board.dsp import alu_is_used
from lutlab_virtual_board.errors import UnsupportedCell, UnsupportedConfiguration
from lutlab_virtual_board.trellis import Tile
from lutlab_virtual_board.wires import (
    NAME_SHIFT,
    PLACE_MASK,
    Wire,
    absolute,
    place_key,
    relative,
    wire_key,
    wire_of,
)

PATH_WIRES_MAX = 400
"""More hops than any route on the largest die; a longer walk means that the configuration routes in circles."""

_CELL_OUTPUT = re.compile(
    r"F[0-7]_SLICE|Q[0-7]_SLICE|F5[A-D]_SLICE|FX[A-D]_SLICE|FCO[ABC]?_SLICE"
    r"|JPADDI[A-D]_PIO|JDO[AB]\d+_EBR|J(P\d+|RO[AB]\d+|SIGNEDP)_MULT18|G_CLKO_[LRTB]DCC\d+|JCLK(OP|OS|OS2|OS3)_PLL|JLOCK_PLL|G_JOSC_OSC"
    r"|J(R\d+|CO\d+|SIGNEDR|EQ\w+|OVER|UNDER|OVERUNDER)_ALU54"
    r"|(INDD|JINFF|JRXDATA\d)[A-D]_S?IOLOGIC|G_DCSOUT_DCS\d|JCDIVX_CLKDIV\d"
)
_ROW = re.compile(r"G_HPBX(\d\d)00")
_SPINE_ROW = re.compile(r"G_HPRX(\d\d)00")
_FABRIC = re.compile(r"[HV]\d\d[NSEW]\d{4}|J?(A|B|C|D|M|CE|CLK|LSR|F|Q|DI|OFX)\d|[HV](L|F)\w*|[FX]?FC[IO]|\w*_SLICE")
_CELL_SUFFIX = re.compile(r".*_([A-Z][A-Z0-9]*)")
_RARE_DRIVER = re.compile(r".*_(MULT9|ALU54|ALU24|PRADD9|PRADD18)|JRXDATA[2-6].*|J[PR]\d+|JMS?RO\w+")
_DSP_PIN = re.compile(r"J[FQR]\d+")
_RESULT = re.compile(r"JP\d+")
_WIDE_DATA = re.compile(r"JRXDATA[2-6][A-D]_IOLOGIC")
_PAD_LOGIC = re.compile(r".*_S?IOLOGIC")


@dataclass(frozen=True, slots=True)
class Tie:
    """A constant that a tile ties a wire to."""

    value: int


Source = Wire | Tie | None
"""What drives a wire: a cell's output, a constant, or nothing."""

FLOATING, TIED_LOW, TIED_HIGH = -1, -2, -3
"""What `Routing.source_key` gives for a sink that no wire drives."""

IN_TILES, IN_COLUMN, FOR_WIRE = range(3)
"""Where else a wire of the same name has the same driver: where the same kinds of tiles are, in its column, nowhere."""

_ENDS: dict[int, Source] = {FLOATING: None, TIED_LOW: Tie(0), TIED_HIGH: Tie(1)}


@functools.lru_cache(maxsize=1 << 16)
def _is_cell_output(name: str) -> bool:
    return _CELL_OUTPUT.fullmatch(name) is not None


class Routing:
    """The drivers of a configured chip's wires.

    Args:
        configuration: of the chip.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self._database = configuration.database
        self._known: dict[int, int] = {}
        self._alus: dict[tuple[int, int], bool] = {}
        self._places: dict[str, list[Tile]] = defaultdict(list)
        self._kinds_at: dict[tuple[int, int], set[str]] = defaultdict(set)
        for tile in self._database.tiles:
            self._places[tile.kind].append(tile)
            self._kinds_at[tile.x, tile.y].add(tile.kind)
        # Tiles at places with the same kinds of tiles have the same connections within themselves.
        numbers: dict[frozenset[str], int] = {frozenset(): 0}
        self._sets = {
            place_key(x, y): numbers.setdefault(frozenset(kinds), len(numbers)) << NAME_SHIFT
            for (x, y), kinds in self._kinds_at.items()
        }
        # What drives a wire, less its place, by the number of its name and the tiles' kinds; and by the wire's number.
        self._steps: dict[int, int] = {}
        self._known_steps: dict[int, int] = {}
        self._chip = configuration.bulk
        if self._chip:
            self._chip.route({place: number >> NAME_SHIFT for place, number in self._sets.items()}, self._bulk_step)

    def source(self, sink: Wire) -> Source:
        """The cell output, tie or nothing at the other end of a wire; see `source_key`."""
        found = self.source_key(wire_key(sink))
        return _ENDS[found] if found < 0 else wire_of(found)

    def source_key(self, sink: int) -> int:
        """The cell output at the other end of a wire, both by their numbers; or FLOATING, TIED_LOW or TIED_HIGH.

        Raises:
            UnsupportedCell: the wire is driven by a cell this board does not execute.
            UnsupportedConfiguration: the wire is routed in a circle, or has several drivers.
        """
        known = self._known
        found = known.get(sink)
        if found is not None:
            return found
        if self._chip:
            return self._chip.source(sink)
        links, steps, sets, wire = self.configuration.links.get, self._steps.get, self._sets.get, sink
        for _ in range(PATH_WIRES_MAX):
            # No multiplexer's sink is a cell's output.
            driver = links(wire)
            if driver is None:
                place = wire & PLACE_MASK
                step = steps((wire >> NAME_SHIFT) + sets(place, 0))
                driver = self._step(wire) if step is None else step + place
                if driver == wire or driver < 0:
                    known[sink] = driver
                    return driver
            wire = driver
        raise UnsupportedConfiguration(f"wire {wire_of(sink)} is routed in a circle")

    def _step(self, key: int) -> int:
        """The next wire towards the driver, the wire itself where it is a cell's output, or that nothing drives it."""
        found = self._known_steps.get(key)
        if found is None:
            found = self._known_steps[key] = self._search_step(key)
            place = key & PLACE_MASK
            if place in self._sets and self._is_within_tile(wire_of(key), found):
                self._steps[(key >> NAME_SHIFT) + self._sets[place]] = found - place
        return found

    def _bulk_step(self, key: int) -> tuple[int, int]:
        """The next wire towards the driver, and where it is the same: IN_TILES, IN_COLUMN, or only for this wire."""
        found, wire = self._search_step(key), wire_of(key)
        if key & PLACE_MASK in self._sets and self._is_within_tile(wire, found):
            return found, IN_TILES
        # A row's tap is in its row.
        if _ROW.fullmatch(wire.name) and found >= 0 and wire.name not in self._database.fixed:
            return found, IN_COLUMN
        return found, FOR_WIRE

    def _search_step(self, key: int) -> int:
        wire = wire_of(key)
        if _is_cell_output(wire.name):
            return key
        driver = self.driver(wire)
        if driver is not None:
            return wire_key(driver)
        tie = self._tie(wire)
        return FLOATING if tie is None else TIED_HIGH if tie.value else TIED_LOW

    def _is_within_tile(self, wire: Wire, found: int) -> bool:
        """Whether what drives a wire follows from the kinds of the tiles at its place."""
        if found < 0 or wire.name.startswith("G_"):
            return False
        if found == wire_key(wire):
            return True
        arcs = self._database.fixed.get(wire.name, ())
        sources = {arc.source for arc in arcs if arc.kind in self._kinds_at[wire.x, wire.y]}
        within = all(arc.dx == 0 and arc.dy == 0 for arc in arcs)
        return within and len(sources) == 1 and not relative(*sources).once

    def driver(self, wire: Wire) -> Wire | None:
        """The next wire towards the driver, or None at the end of the walk."""
        driver = self.configuration.driver(wire)
        if driver is not None:
            return driver
        candidates = self._fixed(wire)
        if candidates:
            return self._choose(wire, candidates)
        return self._clock_network(wire)

    def _fixed(self, wire: Wire) -> list[Wire]:
        arcs = self._database.fixed.get(wire.name)
        if not arcs:
            return []
        found = []
        column, row, name = wire
        once = (column, row) == (0, 0) and name.startswith("G_")
        for arc in arcs:
            if once:
                found += [absolute(tile.x, tile.y, arc.source) for tile in self._places[arc.kind]]
                continue
            x, y = column - arc.dx, row - arc.dy
            if arc.kind in self._kinds_at.get((x, y), ()):
                found.append(absolute(x, y, arc.source))
        return list(dict.fromkeys(found)) if len(found) > 1 else found

    def _choose(self, wire: Wire, candidates: list[Wire]) -> Wire:
        """Of several cells on one fabric input, the ones whose use would have been refused are not it."""
        if len(candidates) > 1:
            alu = self._alu_output(wire, candidates)
            if alu is not None:
                return alu
            if all(_WIDE_DATA.fullmatch(c.name) for c in candidates):
                place = f"R{candidates[0].y}C{candidates[0].x}"
                raise UnsupportedCell("IOLOGIC", place, "wider gearing (IDDRX2F, IDDR71B ...) is used")
            likely = [c for c in candidates if not _RARE_DRIVER.fullmatch(c.name)]
            if len(likely) > 1:
                likely = [c for c in likely if not _PAD_LOGIC.fullmatch(c.name)]
            if len(likely) != 1:
                raise UnsupportedConfiguration(f"wire {wire} has several drivers: {', '.join(map(str, candidates))}")
            return likely[0]
        return candidates[0]

    def _alu_output(self, wire: Wire, candidates: list[Wire]) -> Wire | None:
        """Of several cells on one fabric input, the ALU of a DSP block if that is switched on.

        Raises:
            UnsupportedCell: it is, but only a multiplier beside it can reach this input.
        """
        if not _DSP_PIN.fullmatch(wire.name):
            return None
        found = None
        for each in candidates:
            # The result's bits come by a wire of the tile before.
            place = Wire(each.x + 1, each.y, each.name) if _RESULT.fullmatch(each.name) else each
            if place is not each or each.name.endswith("_ALU54"):
                found = each if self._alu_is_used(place) else found
        multipliers = [each for each in candidates if each.name.endswith("_MULT18")]
        if found is None and any(map(self._alu_is_used, multipliers)):
            raise UnsupportedCell("MULT18X18D", f"R{wire.y}C{wire.x}", "its product is used beside that of its ALU54B")
        return found

    def _alu_is_used(self, wire: Wire) -> bool:
        place = wire.x, wire.y
        if place not in self._alus:
            self._alus[place] = alu_is_used(self.configuration, wire)
        return self._alus[place]

    def _clock_network(self, wire: Wire) -> Wire | None:
        if match := _ROW.fullmatch(wire.name):
            column, side = self._tap(wire.x)
            return Wire(column, wire.y, f"{side}_HPBX{match[1]}00")
        if wire.name.startswith("G_VPTX"):
            column, _ = self._tap(wire.x)
            spine = self._database.spines[f"{self._quadrant(wire.x, wire.y)}{column}"]
            return Wire(spine.x, spine.y, wire.name) if (spine.x, spine.y) != (wire.x, wire.y) else None
        if match := _SPINE_ROW.fullmatch(wire.name):
            return Wire(0, 0, f"G_{self._quadrant(wire.x, wire.y)}PCLK{int(match[1])}")
        return None

    def _tap(self, x: int) -> tuple[int, str]:
        for column, side, first, last in self._database.taps:
            if first <= x <= last:
                return column, side
        raise UnsupportedConfiguration(f"column {x} has no clock tap")

    def _quadrant(self, x: int, y: int) -> str:
        for name, (x0, y0, x1, y1) in self._database.quadrants.items():
            if x0 <= x <= x1 and y0 <= y <= y1:
                return name
        raise UnsupportedConfiguration(f"R{y}C{x} lies in no clock quadrant")

    def _tie(self, wire: Wire) -> Tie | None:
        """What an undriven wire reads: its CIB tie if it has one."""
        tie = self.configuration.choices(wire.x, wire.y).get(f"CIB.{wire.name}MUX")
        if tie is None:
            if not _FABRIC.fullmatch(wire.name):
                suffix = _CELL_SUFFIX.fullmatch(wire.name)
                raise UnsupportedCell(suffix[1] if suffix else wire.name, f"R{wire.y}C{wire.x}", f"it drives {wire}")
            return None
        # Ties of clock and reset wires come out inverted (nextpnr: `tie_cib_signal`).
        if wire.name.startswith(("JLSR", "JCLK")):
            return Tie(1)
        return Tie(int(tie))
